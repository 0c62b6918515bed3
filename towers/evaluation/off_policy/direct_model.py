"""Direct model: the expected reward from a card's slot on, by ridge regressions cross-fitted over listeners."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.evaluation.off_policy.log import LoggedBandit

_NO_PENALTY = 1e-9
"""Penalty on the constant, which keeps the system solvable if one fold has all rows of a slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectModel:
    """Cross-fitted ridge regressions, one per slot, in closed form.

    The mean of a linear model over cards is its value at the cards' mean features. So the new policy enters only by the
    mean of its features, and cards that were not shown need not be scored. Slots are fitted from last to first: the
    target of a slot is its reward plus the next slot's model value of the new policy (Kiyohara et al. 2022, section
    3.1).

    Args:
        folds: number of folds of the listeners; a fold is predicted by a model of the others (Chernozhukov et al.
            2018).
        penalty: penalty on squared weights of standardised features, in rows.
        seed: seed of the folds.
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
        """Returns the log with the model's `estimates` and `new_estimates`.

        Args:
            log: log whose estimates are replaced.
            features: features of the listener and the shown card.
            new_features: mean of these features over the new policy's choice for the slot, weighted by its
                probabilities, given the cards in the slots before.
            slots: number of first slots that count; later slots get estimates of 0; null: all.

        Raises:
            ValueError: there are fewer listeners than folds.
        """
        part = parts_of(log.listeners, self.folds, self.seed)
        after = row_after(log.requests, log.slots)
        last = int(log.slots.max()) if slots is None else min(int(log.slots.max()), slots - 1)
        estimates, new_estimates = np.zeros(len(log)), np.zeros(len(log))
        # Expected reward of the new policy from a row on, by the model of each fold; 0 after the last slot.
        to_come = np.zeros((self.folds, len(log) + 1))
        for slot in range(last, -1, -1):
            rows = np.flatnonzero(log.slots == slot)
            regressions = Regressions.of(features[rows], new_features[rows], part[rows], self.folds, self.penalty)
            for fold in range(self.folds):
                is_own = part[rows] == fold
                weights = regressions.weights(fold, log.rewards[rows] + to_come[fold, after[rows]])
                expected = regressions.new @ weights
                estimates[rows[is_own]] = regressions.shown[is_own] @ weights
                new_estimates[rows[is_own]] = expected[is_own]
                to_come[fold, rows] = expected
        return replace(log, estimates=estimates, new_estimates=new_estimates)


def parts_of(listeners: Int[np.ndarray, " rows"], folds: int, seed: int) -> Int[np.ndarray, " rows"]:
    """Returns the fold of each row; all rows of a listener are in one fold.

    Raises:
        ValueError: there are fewer listeners than folds.
    """
    names, listener = np.unique(listeners, return_inverse=True)
    if len(names) < folds:
        raise ValueError(f"{len(names)} listeners are fewer than {folds} folds")
    return (np.random.default_rng(seed).permutation(len(names)) % folds)[listener]


def row_after(requests: Int[np.ndarray, " rows"], slots: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    """Returns the row of the next slot of the same request; the number of rows if there is none."""
    order = np.lexsort((slots, requests))
    after = np.full(len(order), len(order))
    has_one = requests[order][1:] == requests[order][:-1]
    after[order[:-1][has_one]] = order[1:][has_one]
    return after


@dataclass(frozen=True, slots=True, kw_only=True)
class Regressions:
    """One regression per fold, on the rows of all other folds, with an unpenalised constant in the first column.

    Products of rows are computed once; those of a fold are subtracted from the sum over all.
    """

    shown: Float[np.ndarray, "rows columns"]
    new: Float[np.ndarray, "rows columns"]
    part: Int[np.ndarray, " rows"]
    products: Float[np.ndarray, "folds columns columns"]
    penalty: float

    @classmethod
    def of(
        cls,
        features: Float[np.ndarray, "rows features"],
        new_features: Float[np.ndarray, "rows features"],
        part: Int[np.ndarray, " rows"],
        folds: int,
        penalty: float,
    ) -> "Regressions":
        """Standardises all features by the shown ones; this uses no rewards, so all folds share it."""
        middle, deviation = features.mean(axis=0), features.std(axis=0)
        deviation = np.where(deviation > 0, deviation, 1.0)
        ones = np.ones(len(features))
        shown = np.column_stack([ones, (features - middle) / deviation])
        new = np.column_stack([ones, (new_features - middle) / deviation])
        parts = [shown[part == fold] for fold in range(folds)]
        products = np.stack([rows.T @ rows for rows in parts])
        return cls(shown=shown, new=new, part=part, products=products, penalty=penalty)

    def products_of(self, chosen: Bool[np.ndarray, " rows"]) -> Float[np.ndarray, "folds columns columns"]:
        """Returns `products` of some of the rows, selected by a mask."""
        parts = [self.shown[chosen & (self.part == fold)] for fold in range(len(self.products))]
        return np.stack([rows.T @ rows for rows in parts])

    def weights(self, fold: int, targets: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " columns"]:
        """Solves the ridge regression of all folds but one; the coefficients are 0 if there are no other rows."""
        shrinking = np.full(self.shown.shape[1], self.penalty)
        shrinking[0] = _NO_PENALTY
        left = self.products.sum(axis=0) - self.products[fold] + np.diag(shrinking)
        return np.linalg.solve(left, self.shown.T @ np.where(self.part == fold, 0.0, targets))
