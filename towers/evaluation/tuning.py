"""Settings of baselines chosen on the validation period, within a stated budget, so that no baseline is a straw man."""

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
"""Settings to the constructor with them filled in, which then asks for facts (`Known.give`)."""

_CLOSE, _LOOKS = 3.0, (1, 3, 10)
"""Within how many standard errors of the best a setting is looked at again, and by how many times `max_listeners`."""


class Budget:
    """Core-seconds of tuning, shared among the baselines: an equal part of what is left for each that is to come.

    Args:
        seconds: for all together; null: as many as it takes.
    """

    def __init__(self, seconds: float | None):
        self._left = math.inf if seconds is None else seconds

    def share(self, baselines: int) -> float:
        """Returns the seconds that the next of so many baselines may spend."""
        return self._left / max(baselines, 1)

    def spend(self, seconds: float) -> None:
        """Takes off what one of them spent; what it left is for the others."""
        self._left = max(self._left - seconds, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """What decides between settings: a metric, and the targets of the whole task that it counts.

    Args:
        metric: its key.
        kept: its slice, over the whole task's `ranked_targets`.
        user_of_target: `[targets]`, the position of the listener whose target each is.
        drawn: positions of the listeners who have a target that counts, in the order drawn.
    """

    metric: str
    kept: Slice
    user_of_target: Int[np.ndarray, " targets"]
    drawn: Int[np.ndarray, " counted"]

    def slices(self, positions: Int[np.ndarray, " some"]) -> dict[str, Slice]:
        """The slice by its name, over the targets of the listeners at `positions`, which rise.

        It is cut out of that of the whole task, since which slices exist depends on whose targets are looked at.
        """
        is_judged = np.isin(self.user_of_target, positions)
        return {split_key(self.metric)[1]: replace(self.kept, keep=self.kept.keep[is_judged])}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """A setting with the figure of each listener judged.

    Args:
        settings: that were tried.
        figures: of those who judged.
        core_seconds: that fitting and judging took.
        judging_seconds: that judging took of them.
        refit_seconds: that fitting once more will take: as long as the last time, without what was kept of it.
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
        """Fits the baseline with these settings and judges it by the listeners of the task."""
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
        """Returns the mean over all who judged."""
        return float(self.figures.mean())

    def error(self, other: "_Tried") -> float:
        """Returns the standard error of the distance of both means over the same listeners."""
        return float((self.figures - other.figures).std() / np.sqrt(len(self.figures)))

    def and_on(self, others: "_Tried") -> "_Tried":
        """Returns the same setting judged by further listeners, too."""
        return _Tried(
            settings=self.settings,
            figures=np.concatenate([self.figures, others.figures]),
            core_seconds=self.core_seconds + others.core_seconds,
            judging_seconds=self.judging_seconds + others.judging_seconds,
            refit_seconds=others.refit_seconds,
        )

    def trial(self, error: float) -> Trial:
        """Returns what stands in the record of it."""
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
    """The best of those at `places`, the first of equals, and all errors, those at `places` anew."""
    best, anew = max((found[place] for place in places), key=lambda one: one.mean), list(errors or [0.0] * len(found))
    for place in places:
        anew[place] = found[place].error(best)
    return best, anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How settings are chosen.

    Args:
        metric: highest wins, such as `recall@20/discovery`. Without its slice where validation has too few listeners
            for a figure; where it has too few of any, nothing is chosen.
        max_trials: settings tried of each baseline; a grid that holds more is drawn from at random, without
            repeats. 0 tries nothing.
        grid: per baseline and setting the values to try; all combinations of them.
        seed: of the draws.
        max_seconds: core-seconds for all baselines together; null: as many as it takes. Of each the first trial is
            made, and those that follow in the order of its grid as long as its share suffices for one more like the
            longest; one whole trial may pass it.
        max_listeners: fits see everybody, and so many are judged at first, drawn evenly among those who have a target
            that the metric counts. Whatever lies within three standard errors of the best is then judged by three
            times as many, and again by ten times, as far as there are so many and the share suffices. Null: all of
            them at once.

    Raises:
        ValueError: an unknown metric, a negative number of trials or seconds, no listener, a setting without values.
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
        """What is tried of a baseline, in the order of its grid; empty where it has none."""
        grid = self.grid.get(baseline)
        if not grid or not self.max_trials:
            return []
        everything = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
        if len(everything) <= self.max_trials:
            return everything
        drawn = np.random.default_rng(self.seed).choice(len(everything), self.max_trials, replace=False)
        return [everything[place] for place in np.sort(drawn)]

    def budget(self) -> Budget:
        """Returns the budget of one evaluation, of which nothing is spent."""
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
        """Fits on what lies before validation, judges there, and takes the best; the first of equals.

        Args:
            baseline: its name in the grid.
            build: takes the settings tried.
            validation: the facts before validation.
            filter_seen: see `harness.evaluate`, and so the following.
            min_users: slices with fewer listeners get no figure.
            max_seconds: the share of the budget; null: all of it.

        Raises:
            DataLacks: the baseline cannot be fitted on this data.
            ValueError: a setting outside its range.
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
            times = len(more) / start  # as many listeners as have judged so far
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
        """The metric that decides, and who has a target that it counts; null for too few."""
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
        """The baseline with the settings chosen on validation, fitted on everything before the evaluated period.

        Args:
            baseline: its name in the grid.
            build: takes the settings chosen.
            known: the facts before the evaluated period.
            validation: the facts before validation; where that is the evaluated period, the choice says so.
            filter_seen: see `harness.evaluate`, and so the following.
            min_users: slices with fewer listeners get no figure.
            max_seconds: see `choose`.

        Raises:
            DataLacks: the baseline cannot be fitted on this data.
            ValueError: a setting outside its range.
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
