"""Records of a cycle on past nights, and how good its versions were: summaries and tables."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from towers.evaluation.intervals import ratio_of_means
from towers.evaluation.result import Evaluation, split_key
from towers.manifest import write_json

FILE = "nights.json"
SERVED, TWIN, FROZEN, ANEW = "served", "twin", "frozen", "anew"
SUBJECTS: Mapping[str, str] = {
    SERVED: "what serves after the night",
    TWIN: "the night's network before it was trained on its last two windows, with the histories of the night",
    FROZEN: "the first night's weights, with the contents and histories of the night",
    ANEW: "a network trained from scratch on the night",
}
"""Compared networks, and their descriptions."""
Outcome = Literal["published", "refused", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastNight:
    """One night of a backtest.

    Args:
        date: day at whose end the night is.
        outcome: outcome for the challenger; failed where the night ended before there was one to judge.
        rules: names of the rules that refused the challenger.
        why: a line for people; empty where it was published.
        store: fingerprint of the data as it was prepared; null where that failed.
        version: version that serves after the night.
        listeners: number of listeners judged on the days that followed.
        quality: figure by key (`recall@20/discovery`) for each subject of `SUBJECTS` that existed.
        ratios: main metric of each subject as a share of that of a training from scratch, with its 95 % bounds.
        core_s: processor seconds by work (`served` for the night itself, `anew`, ...).
        space_id: space of the version that serves.
        space_kept: whether it is the space of the night before.
        space_why: why it was kept or changed.
        gate: for each rule, its outcome with `status` and `words`.
    """

    date: str
    outcome: Outcome
    rules: tuple[str, ...] = ()
    why: str = ""
    store: str | None = None
    version: str | None = None
    listeners: int = 0
    quality: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    ratios: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    core_s: Mapping[str, float] = field(default_factory=dict)
    space_id: str | None = None
    space_kept: bool = True
    space_why: str = ""
    gate: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "PastNight":
        """Reads a night that `write_nights` wrote."""
        ratios = {name: tuple(bounds) for name, bounds in found["ratios"].items()}
        return cls(**{**found, "rules": tuple(found["rules"]), "ratios": ratios})

    def figure(self, subject: str, key: str) -> float:
        """Returns a figure of a subject; NaN where there is none."""
        return self.quality.get(subject, {}).get(key, math.nan)

    def ratio(self, subject: str) -> float:
        """Returns the main metric as a share of that of a training from scratch; NaN where there was none."""
        return self.ratios.get(subject, (math.nan,))[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Summary of all nights.

    Args:
        nights: number of nights.
        published: number of nights that published a version.
        refusals: number of nights that each rule refused; `failed` for nights that ended early.
        means: for each subject, the mean of the main metric over the nights that have figures of all subjects; for
            trainings from scratch only where all of these nights have one.
        ratios: for each subject, its mean as a share of that of trainings from scratch, over the nights that have one.
        worst: for each subject, the least ratio of a night, and its day.
        last: for each subject, the ratio of the last night that has one.
        core_s: sum of processor seconds by work.
        core_s_beside_anew: the same sum over the nights on which a network was trained from scratch, so that both are
            of the same nights.
        space_changes: days on which the space changed.
    """

    nights: int
    published: int
    refusals: Mapping[str, int]
    means: Mapping[str, float]
    ratios: Mapping[str, float]
    worst: Mapping[str, tuple[float, str]]
    last: Mapping[str, float]
    core_s: Mapping[str, float]
    core_s_beside_anew: Mapping[str, float]
    space_changes: tuple[str, ...]


def figures_of(
    evaluations: Mapping[str, Evaluation], main_metric: str
) -> tuple[dict[str, dict[str, float]], dict[str, tuple[float, float, float]]]:
    """Returns the `quality` and the `ratios` of a night: the main metric in each slice, without parts of divisions.

    Args:
        evaluations: evaluations by subject, of the same listeners on the days after the night.
        main_metric: metric of the ratios.
    """
    metric = split_key(main_metric)[0]
    quality = {
        subject: {key: mean for key, mean in one.means().items() if split_key(key)[0] == metric and ":" not in key}
        for subject, one in evaluations.items()
    }
    ratios: dict[str, tuple[float, float, float]] = {}
    anew = evaluations.get(ANEW)
    for subject, evaluation in evaluations.items():
        if anew is not None and subject != ANEW and main_metric in quality[ANEW]:
            found = ratio_of_means(evaluation, anew, main_metric)
            if not math.isnan(found.mean):
                ratios[subject] = (found.mean, found.low, found.high)
    return quality, ratios


def summed_up(nights: Sequence[PastNight], main_metric: str) -> Summary:
    """Summarises nights; subjects are compared on the nights on which all of them were judged.

    Args:
        nights: nights in order of time.
        main_metric: key of the figure that is compared.
    """
    subjects = [name for name in SUBJECTS if any(main_metric in night.quality.get(name, {}) for night in nights)]
    others = [name for name in subjects if name != ANEW]
    common = _with_all(nights, others, main_metric)
    beside = _with_all(common, [ANEW], main_metric)
    shown = subjects if len(beside) == len(common) else others
    means = {name: _mean(common, name, main_metric) for name in shown if common}
    judged = {name: [(night.ratio(name), night.date) for night in nights if name in night.ratios] for name in others}
    refusals = Counter(rule for night in nights for rule in (night.rules if night.outcome == "refused" else ()))
    refusals.update(night.outcome for night in nights if night.outcome == "failed")
    return Summary(
        nights=len(nights),
        published=sum(night.outcome == "published" for night in nights),
        refusals=dict(refusals.most_common()),
        means=means,
        ratios={
            name: _mean(beside, name, main_metric) / _mean(beside, ANEW, main_metric)
            for name in others
            if beside and _mean(beside, ANEW, main_metric)
        },
        worst={name: min(found) for name, found in judged.items() if found},
        last={name: found[-1][0] for name, found in judged.items() if found},
        core_s=_summed(nights),
        core_s_beside_anew=_summed([night for night in nights if ANEW in night.core_s]),
        space_changes=tuple(night.date for night in nights if not night.space_kept),
    )


def lines(summary: Summary, main_metric: str) -> list[str]:
    """Returns lines of a summary for people."""
    refused = ", ".join(f"{rule} {times}" for rule, times in summary.refusals.items())
    told = [f"{summary.published} of {summary.nights} nights published{f'; not: {refused}' if refused else ''}"]
    if summary.means:
        told.append(f"{main_metric} of the days after, mean: " + _listed(summary.means, ".4f"))
    for name, ratio in summary.ratios.items():
        worst, day = summary.worst.get(name, (math.nan, ""))
        told.append(
            f"{name} reaches {ratio:.1%} of a training from scratch; least {worst:.1%} on {day}, "
            f"{summary.last[name]:.1%} on the last night"
        )
    if summary.core_s:
        told.append("core-seconds: " + _listed(summary.core_s, ",.0f"))
    if summary.core_s_beside_anew:
        told.append("on nights with a training from scratch: " + _listed(summary.core_s_beside_anew, ",.0f"))
    changes = ", ".join(summary.space_changes)
    return [*told, f"space changed on {changes}" if changes else "space kept on every night"]


def table(nights: Sequence[PastNight], main_metric: str) -> Table:
    """Makes a table of the nights for a terminal, a row for each."""
    subjects = [name for name in SUBJECTS if any(name in night.quality for night in nights)]
    others = [name for name in subjects if name != ANEW and any(name in night.ratios for night in nights)]
    done = list(dict.fromkeys(name for night in nights for name in night.core_s))
    result = Table(caption=Text(f"{main_metric} on the days after each night"), caption_justify="left")
    for name in ("night", "outcome", "refused by"):
        result.add_column(name)
    for name in (*subjects, *(f"{name} / {ANEW}" for name in others), *(f"core-s {name}" for name in done)):
        result.add_column(name, justify="right")
    result.add_column("space")
    for night in nights:
        result.add_row(
            night.date, night.outcome, Text(", ".join(night.rules)),
            *(_figure(night.figure(name, main_metric), ".4f") for name in subjects),
            *(_figure(night.ratio(name), ".1%") for name in others),
            *(_figure(night.core_s.get(name, math.nan), ",.0f") for name in done),
            Text("kept" if night.space_kept else "changed"),
        )  # fmt: skip
    return result


def write_nights(nights: Sequence[PastNight], main_metric: str, folder: Path) -> Path:
    """Writes `nights.json`: the nights, and their summary."""
    summary = asdict(summed_up(nights, main_metric))
    path = folder / FILE
    write_json(path, {"main_metric": main_metric, "summary": summary, "nights": [asdict(night) for night in nights]})
    return path


def _with_all(nights: Sequence[PastNight], subjects: Sequence[str], key: str) -> list[PastNight]:
    """Returns the nights on which all of some subjects were judged."""
    return [night for night in nights if all(key in night.quality.get(name, {}) for name in subjects)]


def _mean(nights: Sequence[PastNight], subject: str, key: str) -> float:
    return sum(night.figure(subject, key) for night in nights) / len(nights)


def _summed(nights: Sequence[PastNight]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for night in nights:
        total.update(night.core_s)
    return dict(total)


def _listed(figures: Mapping[str, float], form: str) -> str:
    return ", ".join(f"{name} {figure:{form}}" for name, figure in figures.items())


def _figure(value: float, form: str) -> str:
    return "–" if math.isnan(value) else f"{value:{form}}"
