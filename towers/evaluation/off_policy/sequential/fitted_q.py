"""Fitted Q evaluation: values of states and slates under the new policy, by ridge regressions cross-fitted over
listeners."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from towers.evaluation.off_policy.direct_model import DirectModel, Regressions, parts_of, row_after
from towers.evaluation.off_policy.sequential.log import SequentialLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """Values of a model, in rewards discounted to the first step.

    Args:
        shown: `[rows]`, value of the shown slate followed by the new policy (Q).
        new: `[rows]`, value of the new policy from this step on (V).
    """

    shown: Float[np.ndarray, " rows"]
    new: Float[np.ndarray, " rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedQ:
    """Cross-fitted fitted Q evaluation with linear models (Le, Voloshin and Yue 2019; Duan, Jia and Wang 2020).

    A model's features are those of the state, those of the slate, and their products. It is linear in the slate's
    features, so that the new policy enters by the mean of its slates' features.

    There is a model for each number of remaining steps. By default it is fitted to the steps of one time only, and is
    then `DirectModel`'s for a slate whose slots are steps. If `pooled`, it is fitted to the steps of all times, which
    assumes that transitions do not depend on time, and needs fewer listeners.

    Args:
        folds: number of folds of the listeners; a fold is predicted by a model of the others.
        penalty: penalty on squared weights of standardised features, in rows.
        pooled: whether steps of all times are fitted together; see above.
        most_products: largest number of products of state and slate features; if there are more, none is used.
        seed: seed of the folds.
    """

    folds: int = 5
    penalty: float = 10.0
    pooled: bool = False
    most_products: int = 200
    seed: int = 0

    def __post_init__(self):
        if self.folds < 2:
            raise ValueError(f"folds must be at least 2, got {self.folds}")
        if not self.penalty > 0:
            raise ValueError(f"penalty must be above 0, got {self.penalty}")

    def worth(self, log: SequentialLog) -> Worth:
        """Fits models to a log and returns their values at its steps.

        Raises:
            ValueError: there are fewer listeners than folds, or the log has no actions.
        """
        if log.actions is None or log.new_actions is None:
            raise ValueError("the log has no actions, which fitted Q evaluation needs")
        shown, new = self._features(log, log.actions), self._features(log, log.new_actions)
        if self.pooled:
            return self._pooled(log, shown, new)
        model = DirectModel(folds=self.folds, penalty=self.penalty, seed=self.seed)
        found = model.estimated(log.bandit(), shown, new)
        if found.estimates is None or found.new_estimates is None:
            raise AssertionError("DirectModel.estimated gives both")
        return Worth(shown=found.estimates, new=found.new_estimates)

    def _features(
        self, log: SequentialLog, actions: Float[np.ndarray, "rows actions"]
    ) -> Float[np.ndarray, "rows features"]:
        if log.states is None:
            return actions
        pieces = [log.states, actions]
        if log.states.shape[1] * actions.shape[1] <= self.most_products:
            pieces.append((log.states[:, :, None] * actions[:, None]).reshape(len(log), -1))
        return np.concatenate(pieces, axis=1)

    def _pooled(
        self, log: SequentialLog, shown: Float[np.ndarray, "rows features"], new: Float[np.ndarray, "rows features"]
    ) -> Worth:
        part = parts_of(log.listeners, self.folds, self.seed)
        after = row_after(log.listeners, log.steps)
        # The state after the last step is not in the log; a model of one remaining step does not need it.
        is_open = log.steps == log.horizon - 1
        every = Regressions.of(shown, new, part, self.folds, self.penalty)
        closed = replace(every, products=every.products_of(~is_open))
        found, found_new = np.zeros(len(log)), np.zeros(len(log))
        to_come = np.zeros((self.folds, len(log) + 1))
        for left in range(1, log.horizon + 1):
            rows = log.steps == log.horizon - left
            for fold in range(self.folds):
                targets = log.rewards + log.discount * to_come[fold, after]
                fitted = every if left == 1 else closed
                weights = fitted.weights(fold, targets if left == 1 else np.where(is_open, 0.0, targets))
                to_come[fold, :-1] = every.new @ weights
                own = rows & (part == fold)
                found[own], found_new[own] = every.shown[own] @ weights, to_come[fold, :-1][own]
        return Worth(shown=found * log.discounts, new=found_new * log.discounts)
