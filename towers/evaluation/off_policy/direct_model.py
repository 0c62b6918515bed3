"""The direct model: what a card earns from its slot on, by ridge regressions that never saw the listener they judge."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.evaluation.off_policy.log import LoggedBandit

_NO_PENALTY = 1e-9
"""On the constant: enough to be solved where a fold holds all rows of a slot."""


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
        part = parts_of(log.listeners, self.folds, self.seed)
        after = row_after(log.requests, log.slots)
        last = int(log.slots.max()) if slots is None else min(int(log.slots.max()), slots - 1)
        estimates, new_estimates = np.zeros(len(log)), np.zeros(len(log))
        # What each fold's model expects of the new policy from a row on; 0 behind the last.
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
    """The fold of each row; all rows of a listener are in one.

    Raises:
        ValueError: fewer listeners than folds.
    """
    names, listener = np.unique(listeners, return_inverse=True)
    if len(names) < folds:
        raise ValueError(f"{len(names)} listeners are fewer than {folds} folds")
    return (np.random.default_rng(seed).permutation(len(names)) % folds)[listener]


def row_after(requests: Int[np.ndarray, " rows"], slots: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    """The row of the next slot of the same request; one behind the last row where there is none."""
    order = np.lexsort((slots, requests))
    after = np.full(len(order), len(order))
    has_one = requests[order][1:] == requests[order][:-1]
    after[order[:-1][has_one]] = order[1:][has_one]
    return after


@dataclass(frozen=True, slots=True, kw_only=True)
class Regressions:
    """One regression a fold on the rows of all others, with a constant in the first column that is not shrunk.

    Rows are multiplied once: what a fold leaves out is taken away from the sum over all.
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
        """Standardises features by those shown; rewards play no part in it, so that all folds share it."""
        middle, deviation = features.mean(axis=0), features.std(axis=0)
        deviation = np.where(deviation > 0, deviation, 1.0)
        ones = np.ones(len(features))
        shown = np.column_stack([ones, (features - middle) / deviation])
        new = np.column_stack([ones, (new_features - middle) / deviation])
        parts = [shown[part == fold] for fold in range(folds)]
        products = np.stack([rows.T @ rows for rows in parts])
        return cls(shown=shown, new=new, part=part, products=products, penalty=penalty)

    def products_of(self, chosen: Bool[np.ndarray, " rows"]) -> Float[np.ndarray, "folds columns columns"]:
        """`products` of some of the rows, chosen by a mask."""
        parts = [self.shown[chosen & (self.part == fold)] for fold in range(len(self.products))]
        return np.stack([rows.T @ rows for rows in parts])

    def weights(self, fold: int, targets: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " columns"]:
        """Solves the ridge regression of all folds but one; gives its coefficients, 0 where there is no other row."""
        shrinking = np.full(self.shown.shape[1], self.penalty)
        shrinking[0] = _NO_PENALTY
        left = self.products.sum(axis=0) - self.products[fold] + np.diag(shrinking)
        return np.linalg.solve(left, self.shown.T @ np.where(self.part == fold, 0.0, targets))
