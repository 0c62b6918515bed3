"""Teaches a policy what a log says, one day after the other, so that forgetting has a meaning."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from towers.contract.policy import Policy
from towers.policies.bandit.features import DAY_US
from towers.policies.bandit.home_cards import HomeCards
from towers.policies.bandit.log_outcomes import Attention, outcomes_of
from towers.policies.bandit.reward import Reactions, Reward, summed
from towers.publishing.sinks.sink import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a policy was taught.

    Args:
        rows: of the log, that it learned from.
        left_out: by reason, how many rows it did not learn from.
        first_us: time of the first row that it learned from, in microseconds since 1970, UTC; null: there was none.
        last_us: time of the last one.
        batches: in how many updates.
        figures: means over these rows (`reward.summed`), beside one another: reward, streams, clicks, skips, saves.
    """

    rows: int
    left_out: Mapping[str, int]
    first_us: int | None
    last_us: int | None
    batches: int
    figures: Mapping[str, float]


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
        UserError: the policy cannot learn from these vectors, or from what is known of pairs.
    """
    learned = outcomes_of(cards, impressions, reward, attention, after_us)
    outcomes, rows = learned.outcomes, len(learned.rows)
    times_us = outcomes.context.times_us
    days = np.split(np.arange(rows), np.flatnonzero(np.diff(times_us // DAY_US)) + 1) if rows else []
    for day in days:
        policy.update(outcomes.of(slice(int(day[0]), int(day[-1]) + 1)))
        on_progress("learn", int(day[-1]) + 1, rows)
    return Lesson(
        rows=rows,
        left_out=learned.left_out,
        first_us=int(times_us[0]) if rows else None,
        last_us=int(times_us[-1]) if rows else None,
        batches=len(days),
        figures=summed(Reactions.of(impressions.take(pa.array(learned.rows))), reward),
    )
