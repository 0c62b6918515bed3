"""Settings of baselines chosen on the validation period, within a stated budget, so that no baseline is a straw man."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from towers.evaluation.harness import evaluate
from towers.evaluation.known import Known
from towers.evaluation.metrics import METRICS
from towers.evaluation.ranking.rankers import DenseRanker, Scorer
from towers.evaluation.result import split_key

Build = Callable[[Mapping[str, Any]], Callable[..., Scorer]]
"""Settings to the constructor with them filled in, which then asks for facts (`Known.give`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One setting and its mean on the validation period."""

    settings: Mapping[str, Any]
    figure: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was chosen for a baseline, and from what.

    Args:
        settings: the best; empty where nothing was tried, and the baseline stays as it is configured.
        metric: that decided; null where nothing was tried.
        trials: all that were tried.
        is_on_evaluated_period: whether the period chosen on is the one that is reported, which flatters the baseline.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    metric: str | None = None
    trials: tuple[Trial, ...] = ()
    is_on_evaluated_period: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "trials": [asdict(trial) for trial in self.trials]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How settings are chosen.

    Args:
        metric: highest wins, such as `recall@20/discovery`. Without its slice where validation has too few listeners
            for a figure; where it has too few of any, nothing is chosen.
        max_trials: settings tried of each baseline; a grid that holds more is drawn from at random, without
            repeats. 0 tries nothing.
        grid: per baseline and setting the values to try; all combinations of them.
        seed: of the draw.

    Raises:
        ValueError: an unknown metric, a negative number of trials, a setting without values.
    """

    metric: str
    max_trials: int
    grid: dict[str, dict[str, list[Any]]]
    seed: int = 0

    def __post_init__(self):
        name, _, k = split_key(self.metric)[0].partition("@")
        if name not in METRICS or not k.isdigit() or int(k) < 1:
            raise ValueError(f"metric={self.metric}: must be one of {', '.join(METRICS)}, then @k and perhaps /slice")
        if self.max_trials < 0:
            raise ValueError(f"max_trials must be at least 0, got {self.max_trials}")
        for baseline, settings in self.grid.items():
            for setting, values in settings.items():
                if not values:
                    raise ValueError(f"grid.{baseline}.{setting}: needs a value to try")

    def settings_of(self, baseline: str) -> list[dict[str, Any]]:
        """What is tried of a baseline, in the order of its grid; empty where it has none."""
        grid = self.grid.get(baseline)
        if not grid or not self.max_trials:
            return []
        everything = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
        if len(everything) <= self.max_trials:
            return everything
        drawn = np.random.default_rng(self.seed).choice(len(everything), self.max_trials, replace=False)
        return [everything[place] for place in np.sort(drawn)]

    def choose(self, baseline: str, build: Build, validation: Known, *, filter_seen: bool, min_users: int) -> Choice:
        """Fits on what lies before validation, judges there, and takes the best; the first of equals.

        Args:
            baseline: its name in the grid.
            build: takes the settings tried.
            validation: the facts before validation.
            filter_seen: see `harness.evaluate`, and so the following.
            min_users: slices with fewer listeners get no figure.

        Raises:
            DataLacks: the baseline cannot be fitted on this data.
            ValueError: a setting outside its range.
        """
        metric, k = self.metric, int(split_key(self.metric)[0].partition("@")[2])
        trials = []
        for settings in self.settings_of(baseline):
            ranker = DenseRanker(validation.task, validation.give(build(settings)))
            means = evaluate(validation.task, ranker, filter_seen=filter_seen, ks=(k,), min_users=min_users).means()
            # Slices depend on the listeners alone: what the first trial has no figure of, none has.
            metric = metric if metric in means else split_key(metric)[0]
            if metric not in means:
                return Choice()
            trials.append(Trial(settings=settings, figure=means[metric]))
        if not trials:
            return Choice()
        best = max(trials, key=lambda trial: trial.figure)
        return Choice(settings=best.settings, metric=metric, trials=tuple(trials))

    def fit(
        self, baseline: str, build: Build, known: Known, validation: Known, *, filter_seen: bool, min_users: int
    ) -> tuple[Scorer, Choice]:
        """The baseline with the settings chosen on validation, fitted on everything before the evaluated period.

        Args:
            baseline: its name in the grid.
            build: takes the settings chosen.
            known: the facts before the evaluated period.
            validation: the facts before validation; where that is the evaluated period, the choice says so.
            filter_seen: see `harness.evaluate`, and so the following.
            min_users: slices with fewer listeners get no figure.

        Raises:
            DataLacks: the baseline cannot be fitted on this data.
            ValueError: a setting outside its range.
        """
        choice = self.choose(baseline, build, validation, filter_seen=filter_seen, min_users=min_users)
        if choice.trials and known.period == validation.period:
            choice = replace(choice, is_on_evaluated_period=True)
        return known.give(build(choice.settings)), choice
