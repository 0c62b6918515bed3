"""All that a page shows, as plain values: what is made here once is drawn and written by others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from towers.evaluation.checks.honesty import Check
from towers.evaluation.intervals import Difference, Interval, differences_to_each
from towers.evaluation.metrics import METRICS
from towers.evaluation.report.content_cards import ContentCards
from towers.evaluation.report.data_profile import DataProfile
from towers.evaluation.report.listener_examples import ListenerExample, listener_examples
from towers.evaluation.report.score_calibration import ScoreGroup, score_groups
from towers.evaluation.report.space import Neighbourhood, ProjectedContents, neighbourhoods, projected_contents
from towers.evaluation.report.table import MAIN_METRIC, main_intervals
from towers.evaluation.result import ALL, Evaluation, metric_key, split_key
from towers.evaluation.task import EvaluationTask

HEADLINES = (ALL, "familiar", "discovery")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One model beside its baselines, and what they were measured on.

    Args:
        title: of the page.
        period: of the targets.
        main_metric: without a slice, such as `recall@20`.
        evaluations: the model's first.
        intervals: 95 % intervals of the main metric by ranker and key, of the slices large enough for a figure.
        differences: model minus baseline by baseline and key, of the headline slices; corrected for all together.
        task_counts: by what is counted: listeners, targets, candidates.
        training: rows of the run's metrics, by column; a figure that was not taken at a step is absent.
        calibration: recommended contents of the model by score.
        space: the map.
        neighbourhoods: of a few contents.
        listeners: a few.
        checks: of the evaluation itself.
        tuning: by baseline what was tried and chosen (`choice.Choice.as_dict`).
        profile: of the data.
        config: resolved, as YAML.
        environment: libraries and machine, as JSON-like values.
    """

    title: str
    period: str
    main_metric: str
    evaluations: tuple[Evaluation, ...]
    intervals: Mapping[str, Mapping[str, Interval]]
    differences: Mapping[str, Mapping[str, Difference]]
    task_counts: Mapping[str, int]
    training: tuple[Mapping[str, float], ...]
    calibration: tuple[ScoreGroup, ...]
    space: ProjectedContents
    neighbourhoods: tuple[Neighbourhood, ...]
    listeners: tuple[ListenerExample, ...]
    checks: tuple[Check, ...]
    tuning: Mapping[str, Mapping[str, Any]]
    profile: DataProfile
    config: str
    environment: Mapping[str, Any]

    @property
    def model(self) -> Evaluation:
        """Whom the page is about."""
        return self.evaluations[0]

    @property
    def headlines(self) -> tuple[str, ...]:
        """The slices that come first, as far as the model has a figure in them."""
        return tuple(
            name for name in HEADLINES if metric_key(self.main_metric, name) in self.intervals[self.model.ranker]
        )


def build_report(
    *,
    title: str,
    period: Literal["validation", "test"],
    task: EvaluationTask,
    evaluations: Sequence[Evaluation],
    contents: pa.Table,
    content_vectors: Float[np.ndarray, "contents dim"],
    user_ids: Sequence[str] | np.ndarray,
    profile: DataProfile,
    config: str,
    environment: Mapping[str, Any],
    training: Sequence[Mapping[str, float]] = (),
    checks: Sequence[Check] = (),
    tuning: Mapping[str, Mapping[str, Any]] | None = None,
    main_metric: str = MAIN_METRIC,
    seed: int = 0,
) -> Report:
    """Makes all pieces; the map takes most of the time.

    Args:
        title: of the page.
        period: of the targets.
        task: what was ranked for whom.
        evaluations: of the task, the model's first; they hold their lists.
        contents: the store's table, a row a content.
        content_vectors: of the model, unit length, or zeros where it has none.
        user_ids: raw, by row of the store.
        profile: of the data.
        config: resolved, as YAML.
        environment: libraries and machine.
        training: rows of the run's metrics (`training_rows`); none for an export.
        checks: of the evaluation itself.
        tuning: by baseline what was tried and chosen (`choice.Choice.as_dict`); of none where null.
        main_metric: without a slice.
        seed: of intervals, samples and the map.

    Raises:
        ValueError: no evaluation, two rankers of one name, or a model without lists.
    """
    names = [evaluation.ranker for evaluation in evaluations]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"a report needs rankers of different names, got {names}")
    model = evaluations[0]
    if "unseen" not in model.lists:
        raise ValueError(f"the evaluation of {model.ranker!r} holds no lists; nobody was ranked for")
    unseen, cards = model.lists["unseen"], ContentCards(contents, task)
    return Report(
        title=title,
        period=period,
        main_metric=main_metric,
        evaluations=tuple(evaluations),
        intervals=main_intervals(evaluations, main_metric, seed=seed),
        differences=_differences(evaluations, main_metric, seed),
        task_counts={
            "listeners": len(task.user_rows),
            "targets": len(task.ranked_targets.values),
            "candidates": int(task.is_candidate.sum()),
            "cold candidates": int((task.is_candidate & task.is_cold).sum()),
        },
        training=tuple(training),
        calibration=score_groups(task, unseen),
        space=projected_contents(content_vectors, cards, seed=seed),
        neighbourhoods=neighbourhoods(task, content_vectors, cards),
        listeners=listener_examples(task, unseen, cards, user_ids, seed=seed),
        checks=tuple(checks),
        tuning=tuning or {},
        profile=profile,
        config=config,
        environment=environment,
    )


def list_metrics(report: Report) -> dict[str, dict[str, list[float | None]]]:
    """By slice and metric the figure of each ranker, of the metrics that are not about hits (novelty, coverage)."""
    means = [evaluation.means() for evaluation in report.evaluations]
    found: dict[str, dict[str, list[float | None]]] = {}
    for key in dict.fromkeys(key for figures in means for key in figures):
        metric, slice_name = split_key(key)
        if metric.partition("@")[0] not in METRICS:
            found.setdefault(slice_name, {})[metric] = [figures.get(key) for figures in means]
    return found


def strongest(report: Report, limit: int = 5) -> tuple[str, ...]:
    """The names of the baselines that are first or second in a headline slice, in the report's order."""
    names = [evaluation.ranker for evaluation in report.evaluations[1:]]
    places: dict[str, int] = {}
    for slice_name in report.headlines:
        key = metric_key(report.main_metric, slice_name)
        ranked = sorted(
            (name for name in names if key in report.intervals[name]),
            key=lambda name: -report.intervals[name][key].mean,
        )
        for place, name in enumerate(ranked[:2]):
            places[name] = min(place, places.get(name, place))
    best = sorted(places, key=lambda name: (places[name], names.index(name)))[:limit]
    return tuple(name for name in names if name in best)


def _differences(evaluations: Sequence[Evaluation], metric: str, seed: int) -> dict[str, dict[str, Difference]]:
    shared = set.intersection(*(set(evaluation.means()) for evaluation in evaluations))
    keys = [key for name in HEADLINES if (key := metric_key(metric, name)) in shared]
    return differences_to_each(evaluations[0], evaluations[1:], keys, seed=seed)
