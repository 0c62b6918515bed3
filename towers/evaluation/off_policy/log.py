"""What a policy has shown and what came of it, beside what another policy would have done: what judging it rests on."""

from dataclasses import dataclass, field, fields, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

Weighting = Literal["cascade", "slate", "slot"]
"""How far a reward depends on what else is shown (see `Slates.weights`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedBandit:
    """A row for each slot shown by the policy that logged, with the chances of two policies and, where there is one,
    what a direct model expects.

    Nothing of it may have taught the policy that is judged: a policy looks too good on what it has learned from.

    Args:
        requests: `[rows]`, the answer that the row belongs to, as any whole number.
        listeners: `[rows]`, who was asked for; one a request. Intervals are over listeners.
        slots: `[rows]`, from 0 without a gap in each request.
        propensities: `[rows]`, chance with which the policy that logged chose the card for the slot, given the cards in
            the slots before; in (0, 1] (`Slate.propensities`).
        new_propensities: `[rows]`, chance with which the new policy chooses the same card for the slot, given the same
            cards in the slots before; 0 to 1.
        rewards: `[rows]`, of the slot; 0 where nobody looked.
        estimates: `[rows]`, the reward from this slot to the slate's end that a direct model expects after the card
            shown and those before (Q of Kiyohara et al. 2022); null: there is no model.
        new_estimates: `[rows]`, the mean of the same over the cards that the new policy chooses from, given the cards
            in the slots before.
        slot_propensities: `[rows]`, chance with which the policy that logged shows the card in this slot whatever
            stands before; null: not known. Where a slate has one slot it is `propensities`.
        new_slot_propensities: `[rows]`, the same of the new policy.
        guards: by name what else is counted, each `[rows]`: `skips`, `new_cards`.
        kinds: `[rows]`, kind of the card, from 0; null: not known.

    Raises:
        ValueError: a propensity outside its range, a number that is not finite, a slot that is missing or stands twice,
            a request of two listeners, or one of two columns that belong together.
    """

    requests: Int[np.ndarray, " rows"]
    listeners: Int[np.ndarray, " rows"]
    slots: Int[np.ndarray, " rows"]
    propensities: Float[np.ndarray, " rows"]
    new_propensities: Float[np.ndarray, " rows"]
    rewards: Float[np.ndarray, " rows"]
    estimates: Float[np.ndarray, " rows"] | None = None
    new_estimates: Float[np.ndarray, " rows"] | None = None
    slot_propensities: Float[np.ndarray, " rows"] | None = None
    new_slot_propensities: Float[np.ndarray, " rows"] | None = None
    guards: dict[str, Float[np.ndarray, " rows"]] = field(default_factory=dict)
    kinds: Int[np.ndarray, " rows"] | None = None

    def __post_init__(self):
        for one, other in (("estimates", "new_estimates"), ("slot_propensities", "new_slot_propensities")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise ValueError(f"{one} and {other} belong together, and one of them is missing")
        for name in ("propensities", "slot_propensities"):
            _check_chances(name, getattr(self, name), may_be_zero=False)
        for name in ("new_propensities", "new_slot_propensities"):
            _check_chances(name, getattr(self, name), may_be_zero=True)
        numbers = {"rewards": self.rewards, "estimates": self.estimates, "new_estimates": self.new_estimates}
        for name, values in {**numbers, **self.guards}.items():
            if values is not None and not np.isfinite(values).all():
                raise ValueError(f"{name} must be finite, and {(~np.isfinite(values)).sum():,} rows are not")

    def __len__(self) -> int:
        return len(self.requests)

    def of(self, chosen: Bool[np.ndarray, " rows"]) -> "LoggedBandit":
        """Keeps some of the rows, chosen by a mask."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        kept = {name: None if array is None else array[chosen] for name, array in columns.items() if name != "guards"}
        return replace(self, **kept, guards={name: array[chosen] for name, array in self.guards.items()})

    def slates(self, slots: int | None = None) -> "Slates":
        """The rows as slates.

        Args:
            slots: only so many of the first slots; null: all.

        Raises:
            ValueError: a slot of a request is missing or stands twice, or a request names two listeners.
        """
        if not len(self):
            raise ValueError("nothing was logged")
        order = np.lexsort((self.slots, self.requests))
        names, first, request, sizes = np.unique(
            self.requests[order], return_index=True, return_inverse=True, return_counts=True
        )
        place = np.arange(len(order)) - first[request]
        if (odd := self.slots[order] != place).any():
            at = int(odd.argmax())
            raise ValueError(f"request {names[request[at]]}: slot {place[at]} is missing, or one stands twice")
        if (self.listeners[order] != self.listeners[order][first][request]).any():
            raise ValueError("a request names two listeners")
        depth = int(sizes.max()) if slots is None else min(slots, int(sizes.max()))
        kept = place < depth
        row, column, rows = request[kept], place[kept], order[kept]

        def laid(values: Float[np.ndarray, " rows"], empty: float) -> Float[np.ndarray, "requests slots"]:
            table = np.full((len(names), depth), empty)
            table[row, column] = values[rows]
            return table

        def laid_ratio(
            new: Float[np.ndarray, " rows"] | None, old: Float[np.ndarray, " rows"] | None
        ) -> Float[np.ndarray, "requests slots"] | None:
            return None if new is None or old is None else laid(new / old, 1.0)

        is_shown = np.zeros((len(names), depth), dtype=bool)
        is_shown[row, column] = True
        kinds = None
        if self.kinds is not None:
            kinds = np.full((len(names), depth), -1)
            kinds[row, column] = self.kinds[rows]
        slot_ratios = laid_ratio(self.new_slot_propensities, self.slot_propensities)
        ratios = laid(self.new_propensities / self.propensities, 1.0)
        return Slates(
            listeners=self.listeners[order][first],
            is_shown=is_shown,
            ratios=ratios,
            slot_ratios=ratios if slot_ratios is None and depth == 1 else slot_ratios,
            rewards=laid(self.rewards, 0.0),
            estimates=None if self.estimates is None else laid(self.estimates, 0.0),
            new_estimates=None if self.new_estimates is None else laid(self.new_estimates, 0.0),
            guards={name: laid(values, 0.0) for name, values in self.guards.items()},
            kinds=kinds,
        )


def _check_chances(name: str, chances: Float[np.ndarray, " rows"] | None, may_be_zero: bool) -> None:
    if chances is None:
        return
    is_chance = (chances >= 0 if may_be_zero else chances > 0) & (chances <= 1)
    if not is_chance.all():
        least = "at least 0" if may_be_zero else "above 0"
        raise ValueError(f"{name} must be {least} and at most 1, got {chances[~is_chance][0]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slates:
    """The same, one row a request and one column a slot; a slot that stays empty weighs nothing and gives nothing.

    Args:
        listeners: of each request.
        is_shown: whether the slot holds a card.
        ratios: of the chances given the slots before, new over old; 1 in an empty slot.
        slot_ratios: of the chances whatever stands before; null: not known.
        rewards: of each slot.
        estimates: see `LoggedBandit`.
        new_estimates: see `LoggedBandit`.
        guards: see `LoggedBandit`.
        kinds: of the cards, -1 in an empty slot; null: not known.
    """

    listeners: Int[np.ndarray, " requests"]
    is_shown: Bool[np.ndarray, "requests slots"]
    ratios: Float[np.ndarray, "requests slots"]
    slot_ratios: Float[np.ndarray, "requests slots"] | None
    rewards: Float[np.ndarray, "requests slots"]
    estimates: Float[np.ndarray, "requests slots"] | None
    new_estimates: Float[np.ndarray, "requests slots"] | None
    guards: dict[str, Float[np.ndarray, "requests slots"]]
    kinds: Int[np.ndarray, "requests slots"] | None

    def __len__(self) -> int:
        return len(self.listeners)

    @property
    def depth(self) -> int:
        """Slots of the longest slate."""
        return self.rewards.shape[1]

    def weights(self, weighting: Weighting = "cascade") -> Float[np.ndarray, "requests slots"]:
        """Importance weights of the reward of each slot; all three are one where a slate has one slot.

        Args:
            weighting: `cascade`: a reward depends on the cards down to its slot, `prod_{j <= k} ratio_j` (McInerney et
                al. 2020). `slate`: on all cards, `prod_j ratio_j`. `slot`: on the card of its slot alone, the
                ratio of the slot's chances whatever stands before (Li et al. 2018).

        Raises:
            ValueError: `slot`, and those chances are not known.
        """
        if weighting == "slot":
            if self.slot_ratios is None:
                raise ValueError("slot_propensities are not known")
            return self.slot_ratios
        products = np.cumprod(self.ratios, axis=1)
        return products if weighting == "cascade" else np.broadcast_to(products[:, -1:], products.shape).copy()

    def on_policy(self) -> "Slates":
        """Sets all importance weights to 1, so that estimators give the logging policy's own mean reward."""
        ones = np.ones_like(self.ratios)
        return replace(self, ratios=ones, slot_ratios=ones, estimates=None, new_estimates=None)

    def of(self, rewards: Float[np.ndarray, "requests slots"]) -> "Slates":
        """Gives the slates with another figure in the place of the reward (skips, exposure), without a direct model's
        estimates, which are of the reward."""
        return replace(self, rewards=rewards, estimates=None, new_estimates=None)
