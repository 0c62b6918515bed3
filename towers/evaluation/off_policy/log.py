"""Log of a policy's slates with their rewards, and with the probabilities of another policy that is evaluated by it."""

from dataclasses import dataclass, field, fields, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

Weighting = Literal["cascade", "slate", "slot"]
"""Assumption about which shown cards a reward depends on (see `Slates.weights`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedBandit:
    """A row for each slot that the logging policy showed, with the probabilities of two policies and, optionally, the
    estimates of a direct model.

    The evaluated policy must not have been trained on any of it, because it would look too good on its training data.

    Args:
        requests: `[rows]`, id of the row's request, any integer.
        listeners: `[rows]`, listener of the request, one per request. Intervals are over listeners.
        slots: `[rows]`, slot, numbered from 0 without gaps in each request.
        propensities: `[rows]`, probability with which the logging policy chose the card for the slot, given the cards
            in the slots before; in (0, 1] (`Slate.propensities`).
        new_propensities: `[rows]`, probability with which the new policy chooses the same card for the slot, given the
            same cards in the slots before; 0 to 1.
        rewards: `[rows]`, reward of the slot; 0 if the listener did not look at it.
        estimates: `[rows]`, direct model's expected reward from this slot to the slate's end, given the shown card and
            those before (Q of Kiyohara et al. 2022); null: there is no model.
        new_estimates: `[rows]`, mean of that over the new policy's choice, given the cards in the slots before.
        slot_propensities: `[rows]`, marginal probability with which the logging policy shows the card in this slot, for
            any cards before; null: unknown. For slates of one slot it is `propensities`.
        new_slot_propensities: `[rows]`, marginal probability of the new policy.
        guards: guardrail metrics by name, such as `skips` or `new_cards`, each `[rows]`.
        kinds: `[rows]`, kind of the card, from 0; null: unknown.

    Raises:
        ValueError: a propensity is out of range, a number is not finite, a slot is missing or occurs twice, a request
            has two listeners, or only one of two columns that belong together is given.
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
        """Returns the rows that a mask selects."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        kept = {name: None if array is None else array[chosen] for name, array in columns.items() if name != "guards"}
        return replace(self, **kept, guards={name: array[chosen] for name, array in self.guards.items()})

    def slates(self, slots: int | None = None) -> "Slates":
        """Arranges the rows as slates.

        Args:
            slots: number of first slots to keep; null: all.

        Raises:
            ValueError: a slot of a request is missing or occurs twice, or a request has two listeners.
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
    """A log arranged with one row per request and one column per slot; an empty slot has ratio 1 and reward 0.

    Args:
        listeners: listener of each request.
        is_shown: whether each slot has a card.
        ratios: ratio of the conditional probabilities, new over logging policy; 1 in an empty slot.
        slot_ratios: ratio of the marginal probabilities; null: unknown.
        rewards: reward of each slot.
        estimates: see `LoggedBandit`.
        new_estimates: see `LoggedBandit`.
        guards: see `LoggedBandit`.
        kinds: kind of each card, -1 in an empty slot; null: unknown.
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
        """Number of slots of the longest slate."""
        return self.rewards.shape[1]

    def weights(self, weighting: Weighting = "cascade") -> Float[np.ndarray, "requests slots"]:
        """Returns the importance weight of each slot's reward; all three weightings are the same for one slot.

        Args:
            weighting: `cascade`: a reward depends on the cards up to its slot, `prod_{j <= k} ratio_j` (McInerney et
                al. 2020). `slate`: it depends on all cards, `prod_j ratio_j`. `slot`: it depends only on the slot's own
                card, by the ratio of marginal probabilities (Li et al. 2018).

        Raises:
            ValueError: the weighting is `slot` and marginal probabilities are unknown.
        """
        if weighting == "slot":
            if self.slot_ratios is None:
                raise ValueError("slot_propensities are not known")
            return self.slot_ratios
        products = np.cumprod(self.ratios, axis=1)
        return products if weighting == "cascade" else np.broadcast_to(products[:, -1:], products.shape).copy()

    def on_policy(self) -> "Slates":
        """Returns the slates with all importance weights 1, so that estimators give the logging policy's own reward."""
        ones = np.ones_like(self.ratios)
        return replace(self, ratios=ones, slot_ratios=ones, estimates=None, new_estimates=None)

    def of(self, rewards: Float[np.ndarray, "requests slots"]) -> "Slates":
        """Returns the slates with another quantity (skips, exposure) as reward, without the estimates of a direct
        model, which are for the original reward."""
        return replace(self, rewards=rewards, estimates=None, new_estimates=None)
