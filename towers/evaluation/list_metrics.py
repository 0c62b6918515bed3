"""Metrics of lists beyond hits: novelty, popularity, serendipity, diversity, calibration and coverage."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.evaluation.attributes import GENRES, merged_attributes, single_codes
from towers.evaluation.calibration import Calibration
from towers.evaluation.diversity import intra_list_diversity
from towers.evaluation.slices import popularity_parts
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged

POPULARITY_PARTS = 3
NAMES = (
    "novelty", "popularity", "popularity_lift", "serendipity", "diversity", "calibration_genre", "calibration_kind",
    "calibration_popularity", "coverage", "gini", "popularity_bias",
)  # fmt: skip
"""Names of all metrics that `ListMetrics` computes."""


class ListMetrics:
    """List metrics of the harness (a `ListJudge`).

    Metrics of each listener's list, which may be shorter than k if fewer candidates could be ranked; NaN for an empty
    list:

    - `novelty`: mean self-information, -log2 of the share of the training period's listeners who played the content. A
      content without a listener counts as if one listener had played it. RecTools: `MeanInvUserFreq`.
    - `popularity`: mean training plays. RecTools: `AvgRecPopularity`.
    - `popularity_lift`: (popularity of the list - that of the history) / that of the history; 0 for a list as popular
      as the listener's history (Abdollahpouri et al. 2020, "The connection between popularity bias, calibration, and
      fairness in recommendation"). NaN if the history has no training plays.
    - `serendipity`: mean of `max(p - q, 0)` for hits and 0 for other contents: p = (n + 1 - rank) / n for n candidates,
      and q the same for the content's rank among candidates by training plays, where equal plays share a rank and the
      next rank follows without a gap; q = 0 without a play. RecTools: `Serendipity`.
    - `diversity`: `intra_list_diversity` of all attributes together. RecTools: `IntraListDiversity` with that
      distance, except for a list of one content, which is NaN here and 0 there.
    - `calibration_genre` (absent without an attribute `genres`), `calibration_kind`, and `calibration_popularity` by
      thirds of popularity (`slices.popularity_parts`) with candidates without training plays as a fourth class: see
      `Calibration`. Lower is better.

    Histories are those of the task, repeats included, without contents that are no candidates.

    Metrics of all lists together, absent if nothing was shown:

    - `coverage`: share of the candidates that are in any list. RecTools: `CatalogCoverage`, normalised.
    - `gini`: Gini coefficient of exposure over candidates; 0 for equal exposure, close to 1 if only one is shown.
    - `popularity_bias`: mean training plays of the shown contents over that of the contents that listeners chose (the
      task's targets that are candidates); 1 is no bias. Absent if no chosen content has a training play.

    A content that occurs twice in a list, which the harness never allows, counts twice everywhere.

    Args:
        task: listeners, candidates and targets.
        train_histories: content rows of positive events in the training period, for all listeners, including those
            without a target (`from_store.all_histories(store, "validation")`).
        attributes: attributes of each content by name, such as genres and artists (`attributes.content_attributes`).
        k: length of the lists that are measured, at least 1.
    """

    def __init__(self, task: EvaluationTask, train_histories: Ragged, attributes: Mapping[str, Ragged], *, k: int = 20):
        self._k = k
        self._is_candidate = task.is_candidate
        self._plays = task.train_counts.astype(np.float64)
        self._plays_of_chosen = self._plays[task.ranked_targets.values]
        self._information = _self_information(train_histories, task.num_contents)
        self._chance_for_anyone = _chance_for_anyone(task)
        self._tags = merged_attributes(attributes, task.num_contents)
        histories = task.histories.where(task.is_candidate[task.histories.values])
        self._plays_of_history = _means(histories, self._plays)
        thirds = popularity_parts(task, POPULARITY_PARTS)
        thirds = np.where(task.is_candidate & (thirds < 0), POPULARITY_PARTS, thirds)
        classes = {"kind": single_codes(task.kind_codes), "popularity": single_codes(thirds)}
        if GENRES in attributes:
            classes["genre"] = attributes[GENRES]
        self._calibrations = {f"calibration_{name}": Calibration(histories, codes) for name, codes in classes.items()}

    @property
    def k(self) -> int:
        """Length of the lists that are measured."""
        return self._k

    def per_listener(
        self,
        positions: Int[np.ndarray, " users"],
        rows: Int[np.ndarray, "users ranks"],
        hits: Bool[np.ndarray, "users ranks"],
    ) -> dict[str, Float[np.ndarray, " users"]]:
        """See `ListJudge`."""
        popularity = _list_means(rows, self._plays[rows])
        before = self._plays_of_history[positions]
        found = {
            "novelty": _list_means(rows, self._information[rows]),
            "popularity": popularity,
            # A history without training plays gives NaN.
            "popularity_lift": popularity / np.where(before > 0, before, np.nan) - 1,
            "serendipity": self._serendipity(rows, hits),
            "diversity": intra_list_diversity(self._tags, rows),
        }
        found |= {name: one.divergence(positions, rows) for name, one in self._calibrations.items()}
        return {f"{name}@{self._k}": figures for name, figures in found.items()}

    def catalogue(self, exposure: Int[np.ndarray, " contents"]) -> dict[str, float]:
        """See `ListJudge`."""
        shown = exposure[self._is_candidate]
        if not shown.sum():
            return {}
        found = {"coverage": float(np.mean(shown > 0)), "gini": gini(shown)}
        if self._plays_of_chosen.sum() > 0:
            plays_of_shown = np.average(self._plays[self._is_candidate], weights=shown)
            found["popularity_bias"] = float(plays_of_shown / self._plays_of_chosen.mean())
        return {f"{name}@{self._k}": figure for name, figure in found.items()}

    def _serendipity(
        self, rows: Int[np.ndarray, "users ranks"], hits: Bool[np.ndarray, "users ranks"]
    ) -> Float[np.ndarray, " users"]:
        candidates = max(int(self._is_candidate.sum()), 1)
        chance = (candidates - np.arange(rows.shape[1])) / candidates
        return _list_means(rows, hits * np.maximum(chance - self._chance_for_anyone[rows], 0))


def gini(amounts: Int[np.ndarray, " contents"]) -> float:
    """Returns the Gini coefficient: half the mean absolute difference of all pairs, over the mean.

    It is 0 if all amounts are equal and (n - 1) / n if one of n has everything; the amounts must not all be 0.

    >>> gini(np.array([0, 0, 0, 5]))
    0.75
    """
    n = len(amounts)
    return float((2 * np.arange(1, n + 1) - n - 1) @ np.sort(amounts) / (n * amounts.sum()))


def _self_information(train_histories: Ragged, num_contents: int) -> Float[np.ndarray, " contents"]:
    listeners = np.bincount(train_histories.unique().values, minlength=num_contents)
    everybody = max(int((train_histories.lengths > 0).sum()), 1)
    # Subtracted in this order, so that a content that all listeners played has 0 and not -0.
    return np.log2(everybody) - np.log2(np.maximum(listeners, 1))


def _chance_for_anyone(task: EvaluationTask) -> Float[np.ndarray, " contents"]:
    """Returns the q of serendipity; see `ListMetrics`."""
    candidates = max(int(task.is_candidate.sum()), 1)
    is_played = task.is_candidate & (task.train_counts > 0)
    _, ranks = np.unique(-task.train_counts[is_played], return_inverse=True)
    chance = np.zeros(task.num_contents)
    chance[is_played] = (candidates - ranks) / candidates
    return chance


def _list_means(
    rows: Int[np.ndarray, "users ranks"], figures: Float[np.ndarray, "users ranks"]
) -> Float[np.ndarray, " users"]:
    """Returns means over the filled places of each list; NaN for an empty list."""
    is_filled = rows >= 0
    filled = is_filled.sum(axis=1)
    return np.where(is_filled, figures, 0.0).sum(axis=1) / np.where(filled > 0, filled, np.nan)


def _means(lists: Ragged, figures: Float[np.ndarray, " contents"]) -> Float[np.ndarray, " lists"]:
    """Returns means over the contents of each list; NaN for an empty list."""
    sums = np.bincount(lists.list_of_value, weights=figures[lists.values], minlength=len(lists))
    return sums / np.where(lists.lengths > 0, lists.lengths, np.nan)
