"""The whole check of a simulator: real plays of a period beside those of listeners who ran freely through it."""

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
"""Real sessions are told from simulated ones no better than this."""
REAL_AUC: Final = (0.45, 0.55)
"""Real sessions are told from real ones between these, or the classifier finds what is not there."""
SHUFFLED_AUC: Final = 0.8
"""Real sessions are told from shuffled ones at least so well, or the classifier is too weak to count."""
MOST_BEHIND, MOST_CALIBRATION_ERROR = 0.01, 0.03
FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """How a check is made.

    Args:
        resamples: draws of listeners that intervals are made of.
        splits: random halves of the real listeners, which say what a sample of its size can tell.
        trees: of each classifier of sessions; of fewer it may be too weak to count.
        seed: of draws, folds, trees and shuffles.
    """

    resamples: int = 400
    splits: int = 200
    trees: int = 150
    seed: int = 0

    def __post_init__(self) -> None:
        require_counts(resamples=self.resamples, splits=self.splits, trees=self.trees)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentChecked:
    """What the check says of some of the listeners; no limit rests on it."""

    segment: Segment
    compared: tuple[Compared, ...]
    told: Told


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """All that a check found.

    Args:
        compared: statistics, in their order.
        told_apart: by the classifier.
        skips: how well skips were predicted; null where no chances were given, which fails their limits.
        segments: of the listeners.
        sizes: listeners, sessions and plays, real and simulated.
        seen_listeners: listeners of the check whom simulator or export has seen.
        seen_period: whether one of them has seen the period.
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
        """In what share of samples of this size a simulator without a fault would miss the limit of a statistic."""
        return float(np.any([one.beyond_by_chance for one in self.compared], axis=0).mean())

    def to_json(self) -> dict[str, Any]:
        """All of it, for a file; numbers that are not finite are null."""
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
        """Writes `check.json`, which `Verdict.read` reads, whole or not at all.

        Args:
            folder: of the simulator.
            about: what was checked on what, nested as it likes.
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
    """Compares what listeners did in a period with what simulated ones did.

    Listeners without a play before the period are left out: a simulator goes on from what it knows of somebody.

    Args:
        real: plays of sessions that began in the period.
        simulated: by member of the ensemble, plays of the same listeners, who ran freely from `begin_us` on.
        before: real plays of these listeners before the period.
        space: contents that were played.
        begin_us: when the period begins, microseconds since 1970, UTC.
        end_us: when it ends.
        skips: the simulator's chances of a skip for each real play of the period, told one play ahead; null: these
            limits fail as not measured.
        seen_listeners: how many of these listeners simulator or export has seen.
        seen_period: whether one of them has seen the period.
        settings: null: as they stand in `CheckSettings`.
        progress: is told what comes next.

    Raises:
        UserError: nobody listened both before the period and in it, there is no simulated log, or it is of others.
    """
    settings = settings or CheckSettings()
    _require_logs(real, simulated, before)
    is_known = np.bincount(before.listener, minlength=len(before.user_ids)) > 0
    real, *simulated = (log.taken(is_known[log.listener]) for log in (real, *simulated))
    if not len(real):
        raise UserError("nobody of the listeners of the check listened before its period and in it: choose another one")
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
        raise UserError("real and simulated plays of a check are to be of the same listeners")


def _with_counted_plays(space: Space, before: SessionLog) -> Space:
    """Popularity for the classifier: without the fit's plays those before the period."""
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
    # A difference of one figure has a sign.
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
