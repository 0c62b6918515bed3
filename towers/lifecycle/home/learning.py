"""Training of a policy by a log, one day after the other, so that forgetting takes effect."""

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
    """What a policy learned from.

    Args:
        rows: number of rows of the log that it learned from.
        left_out: number of rows that it did not learn from, by reason.
        first_us: time of the first row that it learned from, in microseconds since 1970, UTC; null: none.
        last_us: time of the last one.
        batches: number of updates.
        figures: means over these rows (`reward.summed`): reward, streams, clicks, skips, saves.
        predicted: rewards that the policy predicted for the rows that were seen, each before its batch was learned;
            empty where the policy does not predict (`Predicts`).
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
    """Updates a policy by all rows of a log, one day at a time.

    Args:
        policy: policy to update; changed in place.
        cards: cards as the policy numbers them.
        impressions: table of `IMPRESSION_SCHEMA`, in time order, with outcomes.
        reward: values of outcomes.
        attention: rule for which slots were seen.
        on_progress: called with the progress in rows.
        after_us: rows up to this time were learned before: they only give satiation; null: there are none.

    Raises:
        ValueError: the policy cannot learn from these vectors, or from these features of pairs.
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
