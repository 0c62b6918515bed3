"""The protocol of a policy, which chooses what listeners are shown: its inputs, and what it learns from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.contract.slate import Slate


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The listeners of a request and its time: one listener or many at once.

    Args:
        user_vectors: `[listeners, dim]`, the listeners in the space of the cards.
        segments: `[listeners]`, the group that each belongs to, from 0; -1: not known.
        times_us: `[listeners]`, in microseconds since 1970, UTC.
    """

    user_vectors: Float[np.ndarray, "listeners dim"]
    segments: Int[np.ndarray, " listeners"]
    times_us: Int[np.ndarray, " listeners"]

    def __len__(self) -> int:
        return len(self.user_vectors)

    def of(self, chosen: slice | Int[np.ndarray, " some"] | Bool[np.ndarray, " listeners"]) -> "Context":
        """Keeps some of the listeners, chosen by rows or by a mask."""
        return Context(
            user_vectors=self.user_vectors[chosen], segments=self.segments[chosen], times_us=self.times_us[chosen]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Cards that may be shown: contents, the same for all listeners of a context.

    Args:
        content_rows: `[cards]`, rows of the store, the export or the world, all different.
        vectors: `[cards, dim]`, the cards in the space of the listeners; without columns where nothing is known.
        kinds: `[cards]`, index into `schema.KINDS`.
        is_allowed: `[listeners, cards]`, which card may be shown to whom; null: all to all.
        pairs: features of each listener and card (familiarity, satiation, recency), by name, each
            `[listeners, cards]`.

    Raises:
        ValueError: a card that stands twice, or arrays that do not fit one another.
    """

    content_rows: Int[np.ndarray, " cards"]
    vectors: Float[np.ndarray, "cards dim"]
    kinds: Int[np.ndarray, " cards"]
    is_allowed: Bool[np.ndarray, "listeners cards"] | None = None
    pairs: Mapping[str, Float[np.ndarray, "listeners cards"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        cards = len(self.content_rows)
        for name, array in (("vectors", self.vectors), ("kinds", self.kinds)):
            if len(array) != cards:
                raise ValueError(f"{cards} content_rows have {len(array)} {name}")
        per_pair = {**self.pairs} if self.is_allowed is None else {**self.pairs, "is_allowed": self.is_allowed}
        for name, array in per_pair.items():
            if array.ndim != 2 or array.shape[1] != cards:
                raise ValueError(f"{name} must be [listeners, {cards}], got {list(array.shape)}")
        if len(np.unique(self.content_rows)) < cards:
            raise ValueError("content_rows must differ, and one stands twice")

    def __len__(self) -> int:
        return len(self.content_rows)

    def for_(self, chosen: slice | Int[np.ndarray, " some"] | Bool[np.ndarray, " listeners"]) -> "Candidates":
        """Keeps all cards, and what is known of them for some of the listeners, chosen by rows or by a mask."""
        return Candidates(
            content_rows=self.content_rows,
            vectors=self.vectors,
            kinds=self.kinds,
            is_allowed=None if self.is_allowed is None else self.is_allowed[chosen],
            pairs={name: array[chosen] for name, array in self.pairs.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Outcomes of what listeners were shown: a row for each slot.

    Args:
        context: `[rows]`, the listener of each row, as it was told to the policy.
        content_rows: `[rows]`, the card in the slot.
        vectors: `[rows, dim]`, of the card.
        kinds: `[rows]`, index into `schema.KINDS`.
        slots: `[rows]`, from 0.
        propensities: `[rows]`, as `Slate` has them.
        is_seen: `[rows]`, whether the listener looked at the slot at all; one that was not seen says nothing.
        rewards: `[rows]`, 0 to 1.
        pairs: features of the listener and the card, by name, each `[rows]`.
    """

    context: Context
    content_rows: Int[np.ndarray, " rows"]
    vectors: Float[np.ndarray, "rows dim"]
    kinds: Int[np.ndarray, " rows"]
    slots: Int[np.ndarray, " rows"]
    propensities: Float[np.ndarray, " rows"]
    is_seen: Bool[np.ndarray, " rows"]
    rewards: Float[np.ndarray, " rows"]
    pairs: Mapping[str, Float[np.ndarray, " rows"]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.content_rows)

    def of(self, chosen: slice | Int[np.ndarray, " some"] | Bool[np.ndarray, " rows"]) -> "Outcomes":
        """Keeps some of the rows, chosen by number or by a mask."""
        return Outcomes(
            context=self.context.of(chosen),
            content_rows=self.content_rows[chosen],
            vectors=self.vectors[chosen],
            kinds=self.kinds[chosen],
            slots=self.slots[chosen],
            propensities=self.propensities[chosen],
            is_seen=self.is_seen[chosen],
            rewards=self.rewards[chosen],
            pairs={name: array[chosen] for name, array in self.pairs.items()},
        )


@runtime_checkable  # for the tests, which check annotations at run time
class Policy(Protocol):
    """Chooses slates from candidates, and learns from what came of them.

    A policy draws from the generator it is given and from nothing else, so the same generator and the same state give
    the same slate again, bit for bit. It logs the chance of every choice in `Slate.propensities`: 1 where nothing was
    drawn. Both are what judging another policy by its log (off-policy evaluation) rests on.

    Attributes:
        policy_id: the name in `Impression.policy_id`; another for every other behaviour.
        slots: cards in a slate; fewer where fewer are allowed.
    """

    policy_id: str
    slots: int

    def select(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        """Returns one slate for each listener, as long as the candidates allow."""
        ...

    def chances(
        self, context: Context, candidates: Candidates, shown: Int[np.ndarray, "listeners slots"]
    ) -> Float[np.ndarray, "listeners slots cards"]:
        """Returns the chance of choosing each candidate for each slot, given the cards in the slots before.

        Args:
            context: the listeners and the time of the request.
            candidates: the cards, as `select` takes them.
            shown: rows of the cards that were shown, by any policy, in at most `slots` slots.

        Returns:
            Chances that sum to 1 in each slot for which a candidate is left; with `shown` of its own slates those of
            `Slate.propensities`.
        """
        ...

    def update(self, outcomes: Outcomes) -> None:
        """Learns from outcomes, of this policy or of another, in batches of any size and however late."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Returns what the policy has learned, as arrays by name; later updates do not change them."""
        ...

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes what `state` gave, of the same policy with the same settings.

        Raises:
            ValueError: an array is missing, or has another shape.
        """
        ...


@runtime_checkable  # reports ask whether a policy predicts at all
class Predicts(Protocol):
    """A policy that says beforehand what reward it expects, so that its predictions can be held against what came."""

    def expected(self, outcomes: Outcomes) -> Float[np.ndarray, " rows"]:
        """Returns the mean reward that it expects of each row, by what it has learned so far; learns nothing.

        Args:
            outcomes: the rows to predict; their cards, listeners and slots are read, their rewards are not.

        Returns:
            Rewards of slots that are seen, in [0, 1].
        """
        ...
