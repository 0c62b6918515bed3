"""The direct model: what a card earns from its slot on, by ridge regressions that never saw the listener they judge."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.evaluation.off_policy.log import LoggedBandit


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectModel:
    """Cross-fitted ridge regressions, one a slot, in closed form.

    As a linear model's mean over cards is the model of the cards' mean features, the new policy enters by the mean of
    its features alone, and no card that was not shown has to be scored. Slots are fitted from the last to the first:
    the target of a slot is its reward and what the model of the next slot expects of the new policy (Kiyohara et al.
    2022, section 3.1).

    Args:
        folds: parts of the listeners; each is judged by a model of the others (Chernozhukov et al. 2018).
        penalty: on squared weights of features of deviation 1, in rows.
        seed: of the folds.
    """

    folds: int = 5
    penalty: float = 10.0
    seed: int = 0

    def __post_init__(self):
        if self.folds < 2:
            raise ValueError(f"folds must be at least 2, got {self.folds}")
        if not self.penalty > 0:
            raise ValueError(f"penalty must be above 0, got {self.penalty}")

    def estimated(
        self,
        log: LoggedBandit,
        features: Float[np.ndarray, "rows features"],
        new_features: Float[np.ndarray, "rows features"],
        slots: int | None = None,
    ) -> LoggedBandit:
        """The log with `estimates` and `new_estimates`.

        Args:
            log: whose are replaced.
            features: of the listener and the card shown.
            new_features: mean of the same over the cards that the new policy chooses from for the slot, each by its
                chance, given the cards in the slots before.
            slots: how many of the first slots count as what is to come; those behind get 0; null: all.

        Raises:
            ValueError: fewer listeners than folds.
        """
        estimates, new_estimates = np.zeros(len(log)), np.zeros(len(log))
        after = _row_after(log.requests, log.slots)
        last = int(log.slots.max()) if slots is None else min(int(log.slots.max()), slots - 1)
        for is_judged in self._parts(log.listeners):
            # What the new policy is expected to earn from the row after this one on; 0 behind the last.
            to_come = np.zeros(len(log))
            for slot in range(last, -1, -1):
                is_slot = log.slots == slot
                fitted = is_slot & ~is_judged
                model = _Ridge.of(features[fitted], (log.rewards + to_come)[fitted], self.penalty)
                is_own = is_slot & is_judged
                estimates[is_own] = model.of_rows(features[is_own])
                expected = np.zeros(len(log) + 1)
                expected[:-1][is_slot] = model.of_rows(new_features[is_slot])
                new_estimates[is_own] = expected[:-1][is_own]
                to_come = expected[after]
        return replace(log, estimates=estimates, new_estimates=new_estimates)

    def _parts(self, listeners: Int[np.ndarray, " rows"]) -> Iterator[Bool[np.ndarray, " rows"]]:
        names, listener = np.unique(listeners, return_inverse=True)
        if len(names) < self.folds:
            raise ValueError(f"{len(names)} listeners are fewer than {self.folds} folds")
        part = np.random.default_rng(self.seed).permutation(len(names)) % self.folds
        for fold in range(self.folds):
            yield part[listener] == fold


def _row_after(requests: Int[np.ndarray, " rows"], slots: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    """The row of the next slot of the same request; one behind the last row where there is none."""
    order = np.lexsort((slots, requests))
    after = np.full(len(order), len(order))
    has_one = requests[order][1:] == requests[order][:-1]
    after[order[:-1][has_one]] = order[1:][has_one]
    return after


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ridge:
    """A regression on standardised features; the constant is not shrunk."""

    middle: Float[np.ndarray, " features"]
    weights: Float[np.ndarray, " features"]
    constant: float

    @classmethod
    def of(
        cls, features: Float[np.ndarray, "rows features"], targets: Float[np.ndarray, " rows"], penalty: float
    ) -> "_Ridge":
        """Fits it; 0 where there is no row."""
        if not len(targets):
            nothing = np.zeros(features.shape[1])
            return cls(middle=nothing, weights=nothing, constant=0.0)
        middle, constant = features.mean(axis=0), float(targets.mean())
        deviation = features.std(axis=0)
        deviation = np.where(deviation > 0, deviation, 1.0)
        scaled = (features - middle) / deviation
        gram = scaled.T @ scaled + penalty * np.eye(features.shape[1])
        weights = np.linalg.solve(gram, scaled.T @ (targets - constant)) / deviation
        return cls(middle=middle, weights=weights, constant=constant)

    def of_rows(self, features: Float[np.ndarray, "rows features"]) -> Float[np.ndarray, " rows"]:
        """What it expects."""
        return (features - self.middle) @ self.weights + self.constant
