"""The whole check of a simulator: real plays of a period against free-running simulated plays of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from towers.errors import UserError, require_counts
from towers.manifest import json_numbers, write_json
from towers.simulation.checks.classifier import Told, ToldApart, tell_apart
from towers.simulation.checks.comparison import Compared, compared, counts_of
from towers.simulation.checks.heard import Heard
from towers.simulation.checks.resampling import draws
from towers.simulation.checks.segments import Segment, segments
from towers.simulation.checks.skip_prediction import SkipData, SkipPrediction, skip_prediction
from towers.simulation.checks.stated import stated
from towers.simulation.checks.verdict import FILE, TRIALS, Limit, Verdict
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.listeners.space import Space

MOST_AUC: Final = 0.65
"""Maximum AUC with which real sessions may be told from simulated ones."""
REAL_AUC: Final = (0.45, 0.55)
"""Range of the AUC of real against real sessions; outside of it the classifier finds differences that do not exist."""
SHUFFLED_AUC: Final = 0.8
"""Minimum AUC of real against shuffled sessions; below it the classifier is too weak to count."""
MOST_BEHIND, MOST_CALIBRATION_ERROR = 0.01, 0.03
FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """Settings of a check.

    Args:
        resamples: number of bootstrap draws of listeners for intervals.
        splits: number of random halves of the real listeners, which show the noise of a sample of this size.
        trees: number of trees of each classifier of sessions; with fewer it may be too weak to count.
        seed: seed of draws, folds, trees and shuffles.
    """

    resamples: int = 400
    splits: int = 200
    trees: int = 150
    seed: int = 0

    def __post_init__(self) -> None:
        require_counts(resamples=self.resamples, splits=self.splits, trees=self.trees)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentChecked:
    """Results of a check for a segment of listeners; no limit depends on them."""

    segment: Segment
    compared: tuple[Compared, ...]
    told: Told


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """All results of a check.

    Args:
        compared: compared statistics, in order.
        told_apart: results of the classifier.
        skips: quality of skip predictions; null where no chances were given, which fails their limits.
        segments: results for segments of listeners.
        sizes: numbers of listeners, sessions and plays, real and simulated.
        seen_listeners: number of listeners of the check that the simulator or the export was fitted on.
        seen_period: whether the simulator or the export was fitted on the period.
    """

    compared: tuple[Compared, ...]
    told_apart: ToldApart
    skips: SkipPrediction | None
    segments: tuple[SegmentChecked, ...]
    sizes: Mapping[str, int]
    seen_listeners: int
    seen_period: bool

    @property
    def verdict(self) -> Verdict:
        """Every limit with its figure."""
        return Verdict(limits=(
            *(_of_statistic(one) for one in self.compared), *_of_classifier(self.told_apart), *_of_skips(self.skips),
            Limit(name="seen_listeners", title="Listeners seen before", told="listeners",
                  figure=float(self.seen_listeners), least=None, most=0.0),
            Limit(name="seen_period", title="Period seen before", told="1 is yes", figure=float(self.seen_period),
                  least=None, most=0.0),
        ))  # fmt: skip

    @property
    def missed_by_chance(self) -> float:
        """Share of samples of this size in which a perfect simulator would miss the limit of some statistic."""
        return float(np.any([one.beyond_by_chance for one in self.compared], axis=0).mean())

    def to_json(self) -> dict[str, Any]:
        """Returns all results as JSON values; numbers that are not finite become null."""
        apart = self.told_apart
        told = {name: asdict(getattr(apart, name)) for name in ("simulated", "real", "shuffled", "shuffled_within")}
        return json_numbers({
            "format": FORMAT,
            "verdict": self.verdict.to_json(),
            "sizes": dict(self.sizes),
            "missed_by_chance": self.missed_by_chance,
            "statistics": [one.to_json() for one in self.compared],
            "classifier": told | {"most_telling": apart.features, "features": list(apart.names)},
            "skip_prediction": None if self.skips is None else asdict(self.skips) | {"behind": self.skips.behind},
            "segments": [
                {
                    "name": one.segment.name, "words": one.segment.words, "listeners": int(one.segment.among.sum()),
                    "auc": asdict(one.told),
                    "statistics": [
                        {"name": each.statistic.name, "difference": each.difference, "low": each.low,
                         "high": each.high, "passed": each.passed, "clearly_beyond": each.is_clearly_beyond}
                        for each in one.compared
                    ],
                }
                for one in self.segments
            ],
        })  # fmt: skip

    def write(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Writes `check.json` atomically; `Verdict.read` reads it.

        Args:
            folder: folder of the simulator.
            about: description of the checked data and simulator, nested freely.
        """
        write_json(folder / FILE, self.to_json() | {"about": json_numbers(about)})


def check(
    real: SessionLog,
    simulated: Sequence[SessionLog],
    before: SessionLog,
    space: Space,
    begin_us: int,
    end_us: int,
    *,
    skips: SkipData | None,
    seen_listeners: int,
    seen_period: bool,
    settings: CheckSettings | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Checked:
    """Compares real plays of a period with simulated ones.

    Listeners without a play before the period are left out, since a simulator continues from known plays.

    Args:
        real: plays of sessions that began in the period.
        simulated: plays of the same listeners, simulated freely from `begin_us` on, for each member of the ensemble.
        before: real plays of these listeners before the period.
        space: space of the played contents.
        begin_us: start of the period, microseconds since 1970, UTC.
        end_us: end of the period.
        skips: the simulator's one-step-ahead chances of a skip for each real play of the period; null: the limits of
            skips fail as not measured.
        seen_listeners: number of these listeners that the simulator or the export was fitted on.
        seen_period: whether the simulator or the export was fitted on the period.
        settings: settings of the check; null: the defaults of `CheckSettings`.
        progress: called with the name of each step before it begins.

    Raises:
        UserError: no listener has plays both before and in the period, there is no simulated log, or one is of other
            listeners.
    """
    settings = settings or CheckSettings()
    _require_logs(real, simulated, before)
    is_known = np.bincount(before.listener, minlength=len(before.user_ids)) > 0
    real, *simulated = (log.taken(is_known[log.listener]) for log in (real, *simulated))
    if not len(real):
        raise UserError("no listener of the check has plays both before its period and in it: choose another period")
    mine, others = (
        [Heard(log=log, before=before, begin_us=begin_us, end_us=end_us) for log in logs]
        for logs in ([real], simulated)
    )
    space = space if space.plays.any() else _with_counted_plays(space, before)
    drawn = draws(
        mine[0].listeners, len(others), resamples=settings.resamples, splits=settings.splits, seed=settings.seed
    )
    progress("comparing statistics")
    counts = [counts_of(statistic, mine[0], others) for statistic in stated(space, end_us)]
    found = tuple(compared(one, drawn) for one in counts)
    apart = tell_apart(mine[0], others, space, drawn, trees=settings.trees, seed=settings.seed, progress=progress)
    predicted = None if skips is None else skip_prediction(skips, drawn, settings.seed, progress)
    progress("looking at some of the listeners")
    groups = []
    for segment in segments(mine[0], space):
        among = drawn.among(segment.among)
        of_them = tuple(compared(one, among) for one in counts)
        groups.append(SegmentChecked(segment=segment, compared=of_them, told=apart.among(among)))
    return Checked(compared=found, told_apart=apart, skips=predicted, segments=tuple(groups),
                   sizes=_sizes(mine[0], others), seen_listeners=seen_listeners, seen_period=seen_period)  # fmt: skip


def _require_logs(real: SessionLog, simulated: Sequence[SessionLog], before: SessionLog) -> None:
    if not simulated:
        raise UserError("there are no simulated plays to check")
    if any(log.user_ids != before.user_ids for log in (real, *simulated)):
        raise UserError("real and simulated plays of a check must be of the same listeners")


def _with_counted_plays(space: Space, before: SessionLog) -> Space:
    """Returns the space with plays before the period as popularity, where the fit has counted none."""
    return replace(space, plays=np.bincount(before.content, minlength=len(space)).astype(np.float64))


def _sizes(real: Heard, simulated: Sequence[Heard]) -> dict[str, int]:
    number = len(simulated)
    return {
        "listeners": int((real.plays_before > 0).sum()),
        "listeners who played": len(np.unique(real.log.listener)),
        "simulated listeners who played": round(sum(len(np.unique(one.log.listener)) for one in simulated) / number),
        "sessions": len(real.log.session_begins),
        "simulated sessions": round(sum(len(one.log.session_begins) for one in simulated) / number),
        "plays": len(real.log),
        "simulated plays": round(sum(len(one.log) for one in simulated) / number),
        "members": number,
    }


def _of_statistic(one: Compared) -> Limit:
    statistic = one.statistic
    # The difference of a statistic with a single figure is signed.
    least = -statistic.limit if len(statistic.labels()) == 1 else None
    return Limit(
        name=statistic.name, title=statistic.title, told=statistic.told, figure=one.difference, least=least,
        most=statistic.limit, low=one.low, high=one.high, noise=one.noise,
    )  # fmt: skip


def _of_classifier(apart: ToldApart) -> tuple[Limit, ...]:
    def limit(name: str, title: str, told: Told, least: float | None, most: float | None) -> Limit:
        return Limit(name=name, title=title, told="AUC", figure=told.auc, least=least, most=most, low=told.low,
                     high=told.high)  # fmt: skip

    return (
        limit("real_from_simulated", "Classifier: real from simulated", apart.simulated, None, MOST_AUC),
        limit(TRIALS[0], "Classifier: real from real", apart.real, *REAL_AUC),
        limit(TRIALS[1], "Classifier: real from shuffled", apart.shuffled, SHUFFLED_AUC, None),
    )


def _of_skips(skips: SkipPrediction | None) -> tuple[Limit, ...]:
    nan = float("nan")
    behind = (nan, nan, nan) if skips is None else (skips.behind, *skips.behind_bounds)
    error = (nan, nan, nan) if skips is None else (skips.calibration_error, *skips.calibration_bounds)
    return (
        Limit(name="skip_auc", title="Skip prediction behind a classifier", told="AUC", figure=behind[0], least=None,
              most=MOST_BEHIND, low=behind[1], high=behind[2]),
        Limit(name="skip_calibration", title="Calibration error of skips", told="ECE", figure=error[0], least=None,
              most=MOST_CALIBRATION_ERROR, low=error[1], high=error[2]),
    )  # fmt: skip
