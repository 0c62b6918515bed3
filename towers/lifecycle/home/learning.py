"""Teaches a policy what a log says, one day after the other, so that forgetting has a meaning."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from towers.contract.durations import DAY_US
from towers.contract.policy import Policy, Predicts
from towers.policies.bandit.home_cards import HomeCards
from towers.policies.bandit.log_outcomes import Attention, outcomes_of
from towers.policies.bandit.reward import Reactions, Reward, summed
from towers.publishing.sinks.sink import Progress


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """What a policy was taught.

    Args:
        rows: of the log, that it learned from.
        left_out: by reason, how many rows it did not learn from.
        first_us: time of the first row that it learned from, in microseconds since 1970, UTC; null: there was none.
        last_us: time of the last one.
        batches: in how many updates.
        figures: means over these rows (`reward.summed`), beside one another: reward, streams, clicks, skips, saves.
        predicted: what the policy expected of each row that was seen, just before the batch that it is in was learned;
            empty where it does not say (`Predicts`).
        observed: rewards of the same rows.
    """

    rows: int
    left_out: Mapping[str, int]
    first_us: int | None
    last_us: int | None
    batches: int
    figures: Mapping[str, float]
    predicted: Float[np.ndarray, " seen"]
    observed: Float[np.ndarray, " seen"]


def learn(
    policy: Policy,
    cards: HomeCards,
    impressions: pa.Table,
    reward: Reward,
    attention: Attention,
    on_progress: Progress,
    *,
    after_us: int | None = None,
) -> Lesson:
    """Updates a policy by all rows of a log, one day of it at a time.

    Args:
        policy: is changed.
        cards: numbered as the policy knows them.
        impressions: of `IMPRESSION_SCHEMA`, in time order, with outcomes.
        reward: what outcomes are worth.
        attention: which slots were looked at.
        on_progress: told of rows.
        after_us: earlier rows, and those of this time, were learned before: they say how tired listeners are and
            nothing else; null: there are none.

    Raises:
        ValueError: the policy cannot learn from these vectors, or from what is known of pairs.
    """
    learned = outcomes_of(cards, impressions, reward, attention, after_us)
    outcomes, rows = learned.outcomes, len(learned.rows)
    times_us = outcomes.context.times_us
    days = np.split(np.arange(rows), np.flatnonzero(np.diff(times_us // DAY_US)) + 1) if rows else []
    predicted, observed = [np.zeros(0)], [np.zeros(0)]
    for day in days:
        batch = outcomes.of(slice(int(day[0]), int(day[-1]) + 1))
        seen = batch.of(batch.is_seen)
        if isinstance(policy, Predicts) and len(seen):
            predicted.append(policy.expected(seen))
            observed.append(seen.rewards)
        policy.update(batch)
        on_progress("learn", int(day[-1]) + 1, rows)
    return Lesson(
        rows=rows,
        left_out=learned.left_out,
        first_us=int(times_us[0]) if rows else None,
        last_us=int(times_us[-1]) if rows else None,
        batches=len(days),
        figures=summed(Reactions.of(impressions.take(pa.array(learned.rows))), reward),
        predicted=np.concatenate(predicted),
        observed=np.concatenate(observed),
    )
