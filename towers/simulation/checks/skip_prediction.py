"""Quality of a simulator's skip predictions, compared with a classifier that simulates nothing.

The classifier is gradient-boosted trees (scikit-learn, in the extra `train`), fitted to the plays that the simulator
was fitted to and evaluated on the same plays as the simulator: those of other listeners, in a later period.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.errors import UserError
from towers.simulation.checks.auc import weighted_auc
from towers.simulation.checks.resampling import Draws, bounds

BINS = 10
DRAWS = 100
"""Maximum number of draws that are evaluated, since each sorts all plays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipData:
    """Plays of a check with the simulator's chance of a skip, each from what was known before the play.

    Args:
        predicted: `[plays]`, chance of a skip, 0 to 1.
        features: `[plays, features]`, features of each play for a classifier; NaN where unknown.
        is_skip: `[plays]`, whether the play was skipped.
        listener: `[plays]`, row of the listener.
        fit_features: `[fit_plays, features]`, features of the plays that the simulator was fitted to.
        fit_is_skip: `[fit_plays]`, whether these were skipped.
    """

    predicted: Float[np.ndarray, " plays"]
    features: Float[np.ndarray, "plays features"]
    is_skip: Bool[np.ndarray, " plays"]
    listener: Int[np.ndarray, " plays"]
    fit_features: Float[np.ndarray, "fit_plays features"]
    fit_is_skip: Bool[np.ndarray, " fit_plays"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipPrediction:
    """Quality of predicted skips.

    Args:
        calibration_error: mean distance of predicted and observed share in `BINS` bins of equally many plays.
        calibration_bounds: its 95 % bounds over listeners.
        expected: `[bins]`, mean predicted chance.
        observed: `[bins]`, share of skipped plays.
        auc: AUC of the simulator's chances.
        peer_auc: AUC of the classifier.
        behind_bounds: 95 % bounds of `behind`.
    """

    calibration_error: float
    calibration_bounds: tuple[float, float]
    expected: tuple[float, ...]
    observed: tuple[float, ...]
    auc: float
    peer_auc: float
    behind_bounds: tuple[float, float]

    @property
    def behind(self) -> float:
        """AUC of the classifier minus the simulator's; negative where the simulator is better."""
        return self.peer_auc - self.auc


def skip_prediction(data: SkipData, draws: Draws, seed: int, progress: Callable[[str], None]) -> SkipPrediction:
    """Evaluates predicted chances, and fits the classifier to compare with.

    Raises:
        UserError: of the plays of the fit, or of the check, all or none were skipped.
    """
    for name, came in (("fit", data.fit_is_skip), ("check", data.is_skip)):
        if not len(came) or came.all() or not came.any():
            raise UserError(f"all or none of the plays of the {name} were skipped: skips cannot be judged")
    progress("predicting skips without simulating")
    peer = _trees(seed).fit(data.fit_features, data.fit_is_skip).decision_function(data.features)
    each = np.array([
        [weighted_auc(score, data.is_skip, weights[data.listener]) for score in (data.predicted, peer)]
        for weights in draws.listeners[: 1 + DRAWS]
    ])  # fmt: skip
    behind = bounds(each[:, 1] - each[:, 0])
    plays, chances, skips = _binned(data, draws)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected, observed = chances / plays, skips / plays
    errors = np.abs(chances - skips).sum(axis=1) / plays.sum(axis=1)
    low, high = bounds(errors)
    return SkipPrediction(
        calibration_error=float(errors[0]),
        calibration_bounds=(max(float(low), 0.0), float(high)),
        expected=tuple(expected[0].tolist()),
        observed=tuple(observed[0].tolist()),
        auc=float(each[0, 0]),
        peer_auc=float(each[0, 1]),
        behind_bounds=(float(behind[0]), float(behind[1])),
    )


def _binned(data: SkipData, draws: Draws) -> tuple[Float[np.ndarray, "draws bins"], ...]:
    """Returns plays, expected and observed skips of each bin; bins are those of the sample in every draw."""
    order = np.argsort(data.predicted, kind="stable")
    bin_of = np.empty(len(order), np.int64)
    bin_of[order] = np.arange(len(order)) * BINS // len(order)
    cell = data.listener * BINS + bin_of
    size = draws.listeners.shape[1] * BINS
    return tuple(
        draws.listeners @ np.bincount(cell, values, minlength=size).reshape(-1, BINS)
        for values in (np.ones(len(cell)), data.predicted.astype(np.float64), data.is_skip.astype(np.float64))
    )


def _trees(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        learning_rate=0.08, max_iter=400, max_leaf_nodes=31, min_samples_leaf=50, l2_regularization=1.0,
        early_stopping=True, n_iter_no_change=15, random_state=seed,  # pyright: ignore[reportArgumentType]
    )  # fmt: skip
