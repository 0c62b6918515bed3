"""Tuning of baselines on the validation period within a given budget, so that comparisons with them are fair."""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from towers.evaluation.choice import Choice, CoreSeconds, Trial
from towers.evaluation.harness import evaluate
from towers.evaluation.known import Known
from towers.evaluation.metrics import METRICS
from towers.evaluation.ranking.choosing import ranker_of
from towers.evaluation.ranking.rankers import Scorer
from towers.evaluation.result import split_key
from towers.evaluation.slices import Slice, slices_of

Build = Callable[[Mapping[str, Any]], Callable[..., Scorer]]
"""Function from settings to a constructor with these settings filled in, to which `Known.give` passes facts."""

_CLOSE, _LOOKS = 3.0, (1, 3, 10)
"""Distance from the best, in standard errors, within which a trial is evaluated on more listeners, and the numbers of
listeners as multiples of `max_listeners`."""


class Budget:
    """Budget of core-seconds for tuning; each remaining baseline has an equal share of the remaining seconds.

    Args:
        seconds: seconds for all baselines together; null: unlimited.
    """

    def __init__(self, seconds: float | None):
        self._left = math.inf if seconds is None else seconds

    def share(self, baselines: int) -> float:
        """Returns the seconds that the next baseline may spend, if `baselines` are left."""
        return self._left / max(baselines, 1)

    def spend(self, seconds: float) -> None:
        """Subtracts the seconds that a baseline spent; the rest of its share goes to the others."""
        self._left = max(self._left - seconds, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """The metric that decides between settings, and the targets of the whole task that it counts.

    Args:
        metric: key of the metric.
        kept: slice of the metric, over the whole task's `ranked_targets`.
        user_of_target: `[targets]`, position of each target's listener.
        drawn: positions of the listeners with a counted target, in random order.
    """

    metric: str
    kept: Slice
    user_of_target: Int[np.ndarray, " targets"]
    drawn: Int[np.ndarray, " counted"]

    def slices(self, positions: Int[np.ndarray, " some"]) -> dict[str, Slice]:
        """Returns the slice by its name, over the targets of the listeners at `positions`, which are ascending.

        It is cut out of the whole task's slice, because the slices of a smaller task could differ.
        """
        is_judged = np.isin(self.user_of_target, positions)
        return {split_key(self.metric)[1]: replace(self.kept, keep=self.kept.keep[is_judged])}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """A trial with the metric of each evaluated listener.

    Args:
        settings: settings that were tried.
        figures: metric of each evaluated listener.
        core_seconds: processor seconds of the fit and the evaluation.
        judging_seconds: processor seconds of the evaluation alone.
        refit_seconds: expected processor seconds of another fit: those of the last one, without the cached part.
    """

    settings: Mapping[str, Any]
    figures: Float[np.ndarray, " listeners"]
    core_seconds: float
    judging_seconds: float
    refit_seconds: float

    @classmethod
    def on(
        cls,
        known: Known,
        build: Build,
        settings: Mapping[str, Any],
        metric: str,
        slices: Mapping[str, Slice],
        filter_seen: bool,
    ) -> "_Tried":
        """Fits the baseline with these settings and evaluates it on the listeners of the task."""
        k, kept = int(split_key(metric)[0].partition("@")[2]), known.shared.kept_seconds
        began = time.process_time()
        scorer = known.give(build(settings))
        fitted, ranker = time.process_time(), ranker_of(known.task, scorer)
        judged = evaluate(
            known.task, ranker, filter_seen=filter_seen, ks=(k,), min_users=1, list_length=k, slices=slices
        )
        ended = time.process_time()
        return cls(
            settings=settings,
            figures=judged.figures(metric),
            core_seconds=ended - began,
            judging_seconds=ended - fitted,
            refit_seconds=max(fitted - began - (known.shared.kept_seconds - kept), 0.0),
        )

    @property
    def mean(self) -> float:
        """Mean over all evaluated listeners."""
        return float(self.figures.mean())

    def error(self, other: "_Tried") -> float:
        """Returns the standard error of the paired difference to another trial on the same listeners."""
        return float((self.figures - other.figures).std() / np.sqrt(len(self.figures)))

    def and_on(self, others: "_Tried") -> "_Tried":
        """Returns the trial with the metrics of further listeners added."""
        return _Tried(
            settings=self.settings,
            figures=np.concatenate([self.figures, others.figures]),
            core_seconds=self.core_seconds + others.core_seconds,
            judging_seconds=self.judging_seconds + others.judging_seconds,
            refit_seconds=others.refit_seconds,
        )

    def trial(self, error: float) -> Trial:
        """Returns the record of the trial."""
        return Trial(
            settings=self.settings,
            figure=self.mean,
            listeners=len(self.figures),
            error=error,
            core_seconds=self.core_seconds,
        )


def _ranked(
    found: Sequence[_Tried], places: Iterable[int], errors: Sequence[float] | None = None
) -> tuple[_Tried, list[float]]:
    """Returns the best trial at `places` (the first of equals), and all errors, with those at `places` updated."""
    best, anew = max((found[place] for place in places), key=lambda one: one.mean), list(errors or [0.0] * len(found))
    for place in places:
        anew[place] = found[place].error(best)
    return best, anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Settings of the tuning of baselines.

    Args:
        metric: metric to maximise, such as `recall@20/discovery`. If validation has too few listeners in its slice, the
            metric over all targets is used; if it has too few for that, nothing is tuned.
        max_trials: largest number of trials per baseline; from a larger grid, trials are drawn at random without
            repeats. 0 tries nothing.
        grid: values to try, by baseline and setting; all combinations are tried.
        seed: seed of the draws.
        max_seconds: core-seconds for all baselines together; null: unlimited. Each baseline makes its first trial, and
            further ones in grid order as long as its share suffices for one more like the longest; a whole trial may
            exceed it.
        max_listeners: number of listeners of the first evaluation of each trial, drawn at random from those with a
            target that the metric counts; fits always use all listeners. Trials within three standard errors of the
            best are then evaluated on three times as many, and again on ten times, as far as listeners and the share
            of seconds suffice. Null: all listeners at once.

    Raises:
        ValueError: the metric is unknown, trials or seconds are negative, `max_listeners` is below 1, or a setting has
            no values.
    """

    metric: str
    max_trials: int
    grid: dict[str, dict[str, list[Any]]]
    seed: int = 0
    max_seconds: float | None = None
    max_listeners: int | None = None

    def __post_init__(self):
        name, _, k = split_key(self.metric)[0].partition("@")
        if name not in METRICS or not k.isdigit() or int(k) < 1:
            raise ValueError(f"metric={self.metric}: must be one of {', '.join(METRICS)}, then @k and perhaps /slice")
        if self.max_trials < 0:
            raise ValueError(f"max_trials must be at least 0, got {self.max_trials}")
        if self.max_seconds is not None and not self.max_seconds >= 0:
            raise ValueError(f"max_seconds must be at least 0, or null, got {self.max_seconds}")
        if self.max_listeners is not None and self.max_listeners < 1:
            raise ValueError(f"max_listeners must be at least 1, or null, got {self.max_listeners}")
        for baseline, settings in self.grid.items():
            for setting, values in settings.items():
                if not values:
                    raise ValueError(f"grid.{baseline}.{setting}: needs a value to try")

    def settings_of(self, baseline: str) -> list[dict[str, Any]]:
        """Returns the settings to try for a baseline, in the order of its grid; empty if it has no grid."""
        grid = self.grid.get(baseline)
        if not grid or not self.max_trials:
            return []
        everything = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
        if len(everything) <= self.max_trials:
            return everything
        drawn = np.random.default_rng(self.seed).choice(len(everything), self.max_trials, replace=False)
        return [everything[place] for place in np.sort(drawn)]

    def budget(self) -> Budget:
        """Returns a new budget for one evaluation."""
        return Budget(self.max_seconds)

    def choose(
        self,
        baseline: str,
        build: Build,
        validation: Known,
        *,
        filter_seen: bool,
        min_users: int,
        max_seconds: float | None = None,
    ) -> Choice:
        """Fits trials on the data before validation, evaluates them there, and chooses the best (the first of equals).

        Args:
            baseline: name of the baseline in the grid.
            build: function from settings to the baseline's constructor.
            validation: facts before validation.
            filter_seen: whether the slice `all` excludes heard contents; see `harness.evaluate`.
            min_users: smallest number of listeners for which a slice has a mean.
            max_seconds: the baseline's share of the budget; null: all of it.

        Raises:
            DataLacks: the baseline cannot be fitted on this data.
            ValueError: a setting is out of range.
        """
        began = time.process_time()
        wanted = self.settings_of(baseline)
        counted = self._counted(validation, filter_seen, min_users) if wanted else None
        if counted is None:
            return Choice()
        drawn = counted.drawn
        bounds = [0, *(times * (self.max_listeners or len(drawn)) for times in _LOOKS)]
        budget = self.max_seconds if max_seconds is None else max_seconds

        def has_time(seconds: float) -> bool:
            return budget is None or time.process_time() - began + seconds <= budget

        def tried(settings: Mapping[str, Any], positions: Int[np.ndarray, " some"]) -> _Tried:
            known, slices = validation.for_trials(positions, wanted), counted.slices(positions)
            return _Tried.on(known, build, settings, counted.metric, slices, filter_seen)

        found: list[_Tried] = []
        for settings in wanted:
            if found and not has_time(max(one.core_seconds for one in found)):
                break
            found.append(tried(settings, np.sort(drawn[: bounds[1]])))
        close = range(len(found))
        best, errors = _ranked(found, close)
        listeners_left_out = 0
        for start, stop in pairwise(bounds[1:]):
            close = [place for place in close if best.mean - found[place].mean <= _CLOSE * errors[place]]
            more = np.sort(drawn[start:stop])
            if len(close) < 2 or not len(more):
                break
            times = len(more) / start  # relative to the listeners evaluated so far
            if not has_time(sum(found[place].judging_seconds * times + found[place].refit_seconds for place in close)):
                listeners_left_out = len(more)
                break
            for place in close:
                found[place] = found[place].and_on(tried(found[place].settings, more))
            best, errors = _ranked(found, close, errors)
        validation.forget()
        return Choice(
            settings=best.settings,
            metric=counted.metric,
            trials=tuple(one.trial(error) for one, error in zip(found, errors, strict=True)),
            left_out=tuple(wanted[len(found) :]),
            listeners_left_out=listeners_left_out,
            core_seconds=CoreSeconds(tuning=time.process_time() - began),
        )

    def _counted(self, validation: Known, filter_seen: bool, min_users: int) -> _Counted | None:
        """Returns the metric that decides and the listeners with a counted target; null if they are too few."""
        task = validation.task
        targets, slices = task.ranked_targets, slices_of(task, filter_seen=filter_seen)
        for metric in (self.metric, split_key(self.metric)[0]):
            kept = slices.get(split_key(metric)[1])
            if kept is None:
                continue
            counted = np.flatnonzero(targets.where(kept.keep).lengths)
            if len(counted) >= max(min_users, 1):
                drawn = np.random.default_rng(self.seed).permutation(counted)
                return _Counted(metric=metric, kept=kept, user_of_target=targets.list_of_value, drawn=drawn)
        return None

    def fit(
        self,
        baseline: str,
        build: Build,
        known: Known,
        validation: Known,
        *,
        filter_seen: bool,
        min_users: int,
        max_seconds: float | None = None,
    ) -> tuple[Scorer, Choice]:
        """Chooses settings on validation, and fits the baseline with them on all data before the evaluated period.

        Args:
            baseline: name of the baseline in the grid.
            build: function from settings to the baseline's constructor.
            known: facts before the evaluated period.
            validation: facts before validation; if that is the evaluated period, the choice records it.
            filter_seen: see `choose`.
            min_users: see `choose`.
            max_seconds: see `choose`.

        Raises:
            DataLacks: the baseline cannot be fitted on this data.
            ValueError: a setting is out of range.
        """
        judged = {"filter_seen": filter_seen, "min_users": min_users, "max_seconds": max_seconds}
        choice = self.choose(baseline, build, validation, **judged)
        if choice.trials and known.period == validation.period:
            choice = replace(choice, is_on_evaluated_period=True)
        began = time.process_time()
        scorer = known.give(build(choice.settings))
        seconds = time.process_time() - began
        known.forget()
        return scorer, replace(choice, core_seconds=replace(choice.core_seconds, fit=seconds))
