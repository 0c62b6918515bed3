"""What a log says of a policy: what it would have chosen instead, in the same slots, from the same cards.

Each shelf of each request is a slate of its own, as a policy draws one shelf without looking at the others. A policy is
asked with what it would have been told then: the listener's vector in the export, the time, their events before it, how
tired they were of every card by the log, and exactly the cards that the shelf could have shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from towers.contract.policy import Policy
from towers.evaluation.off_policy.log import LoggedBandit
from towers.policies.bandit.home_cards import HomeCards
from towers.policies.bandit.reward import Reward
from towers.publishing.sinks.sink import Progress

NEW_DAYS: Final = 7
"""A card is new for so many days after a page could first show it."""
WIDE: Final = 64
"""Vectors of more directions than these enter the direct model by their inner product alone."""
AT_ONCE: Final = 8_000_000
"""Numbers of slates, cards and features that are held at once: 64 MB."""
SKIPS, NEW_CARDS = "skips", "new_cards"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What `OffPolicyJudge.judge` is given.

    Args:
        log: a row for each of the first slots of each slate.
        features: `[rows, features]`, of the listener and the card shown; zeros where the export has no such card.
        new_features: `[rows, features]`, their mean over what the policy chooses from.
        production: the rows of the policy in production; null: none of the rows is its own, or it is not known.
        left_out: by reason, how many rows of these slots are not among them.
    """

    log: LoggedBandit
    features: Float[np.ndarray, "rows features"]
    new_features: Float[np.ndarray, "rows features"]
    production: LoggedBandit | None
    left_out: Mapping[str, int]


def choices_of(
    cards: HomeCards,
    impressions: pa.Table,
    policy: Policy,
    reward: Reward,
    on_progress: Progress,
    *,
    slots: int | None = 3,
    after_us: int | None = None,
    production: str | None = None,
) -> Choices:
    """Asks a policy what it would have chosen.

    A card that is none of `cards` by now has no chance; a slate that shows one weighs nothing from there on.

    Args:
        cards: numbered as the policy knows them.
        impressions: of `LOGGED_SCHEMA` or `IMPRESSION_SCHEMA`, in time order, with outcomes.
        policy: is not changed.
        reward: what outcomes are worth.
        on_progress: told of slates.
        slots: of a slate that are judged (`OffPolicyJudge.slots`); null: all.
        after_us: only later rows are judged; earlier ones say how tired listeners are and how new cards are; null: all.
        production: `Impression.policy_id` of what is in production; null: not known.

    Raises:
        UserError: no row is left, or one does not say which cards it was chosen from.
    """
    raise NotImplementedError


def ids_of(impressions: pa.Table) -> list[str]:
    """Ids of all contents that were shown or could have been."""
    raise NotImplementedError
