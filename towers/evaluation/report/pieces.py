"""Content of a report as plain values, which other modules draw and write."""

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
    """Report of one model and its baselines.

    Args:
        title: title of the page.
        period: period of the targets.
        main_metric: metric without a slice, such as `recall@20`.
        evaluations: evaluations, the model first.
        intervals: 95 % intervals of the main metric by ranker and key, for slices with enough listeners.
        differences: model minus baseline by baseline and key, for the headline slices, with simultaneous bounds.
        task_counts: numbers of listeners, targets and candidates, by name.
        training: rows of the run's metrics by column; a metric that was not computed at a step is absent.
        calibration: groups of the model's recommended contents by score.
        space: map of the contents.
        neighbourhoods: nearest contents of a few contents.
        listeners: example listeners.
        checks: checks of the evaluation.
        tuning: trials and choice by baseline (`choice.Choice.as_dict`).
        profile: profile of the data.
        config: resolved configuration, as YAML.
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
        """Evaluation of the model."""
        return self.evaluations[0]

    @property
    def headlines(self) -> tuple[str, ...]:
        """Headline slices in which the model has a mean."""
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
    """Builds a report; the map takes most of the time.

    Args:
        title: title of the page.
        period: period of the targets.
        task: listeners, candidates and targets.
        evaluations: evaluations of the task with their lists, the model first.
        contents: contents table of the store.
        content_vectors: the model's content vectors, of unit length, or zeros for contents without one.
        user_ids: raw ids of listeners by row of the store.
        profile: profile of the data.
        config: resolved configuration, as YAML.
        environment: libraries and machine.
        training: rows of the run's metrics (`training_rows`); none for an export.
        checks: checks of the evaluation.
        tuning: trials and choice by baseline (`choice.Choice.as_dict`); null: none.
        main_metric: metric without a slice.
        seed: seed of intervals, samples and the map.

    Raises:
        ValueError: there is no evaluation, two rankers have the same name, or the model has no lists.
    """
    names = [evaluation.ranker for evaluation in evaluations]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"a report needs rankers of different names, got {names}")
    model = evaluations[0]
    if "unseen" not in model.lists:
        raise ValueError(f"the evaluation of {model.ranker!r} has no lists, as there were no listeners to rank for")
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
    """Returns each ranker's mean by slice and metric, for metrics that are not about hits (novelty, coverage)."""
    means = [evaluation.means() for evaluation in report.evaluations]
    found: dict[str, dict[str, list[float | None]]] = {}
    for key in dict.fromkeys(key for figures in means for key in figures):
        metric, slice_name = split_key(key)
        if metric.partition("@")[0] not in METRICS:
            found.setdefault(slice_name, {})[metric] = [figures.get(key) for figures in means]
    return found


def strongest(report: Report, limit: int = 5) -> tuple[str, ...]:
    """Returns the names of the baselines that are first or second in a headline slice, in the report's order."""
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
