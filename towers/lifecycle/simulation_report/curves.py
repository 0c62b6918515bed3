"""Charts of a check: statistics of real and simulated listeners, in pairs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from towers.evaluation.report.drawing import (
    COLOURS,
    INK,
    MARKERS,
    WIDTH,
    Picture,
    Series,
    chart,
    dot_chart,
    legend_below,
    legend_rows,
    styled,
)
from towers.simulation.checks.comparison import Compared, Curve
from towers.simulation.checks.skip_prediction import SkipPrediction

PAIR = ("real", "simulated")
MOST_MARKED = 30
"""Most points of a curve that has markers."""
LONG_SHARE = 50.0
"""Factor of spread above which numbers have a logarithmic axis."""


def pair_pictures(compared: Sequence[Compared]) -> list[Picture]:
    """Draws a chart for each statistic that is a curve, and one for all single figures."""
    single = [one for one in compared if len(one.labels) == 1]
    curves = [_curves(one) for one in compared if len(one.labels) > 1]
    return [*curves, *([_figures(single)] if single else [])]


def calibration_picture(skips: SkipPrediction) -> Picture:
    """Draws predicted chances of a skip beside the observed shares."""
    with styled():
        figure, axes = chart(0.8 * WIDTH, WIDTH)
        most = 1.05 * max(*skips.expected, *skips.observed)
        axes.plot((0, most), (0, most), color=INK, linewidth=1, linestyle=":", alpha=0.7)
        (marks,) = axes.plot(
            skips.expected, skips.observed, color=COLOURS[0], marker=MARKERS[0], clip_on=False, gid="skip-bins"
        )
        axes.set_xlim(0, most)
        axes.set_ylim(0, most)
        axes.set_xlabel("predicted chance of a skip")
        axes.set_ylabel("share that was skipped")
    pairs = zip(skips.expected, skips.observed, strict=True)
    return Picture(
        name="skip-calibration", title="Predicted and observed skips", figure=figure,
        caption="Real plays in ten equal bins by the chance that the simulator gave for a skip, before each play. "
                "On the dotted line predictions are right.",
        tooltips={str(marks.get_gid()): [f"{told:.1%} predicted, {came:.1%} skipped" for told, came in pairs]},
    )  # fmt: skip


def _curves(one: Compared) -> Picture:
    statistic, is_numbers = one.statistic, all(_is_number(label) for label in one.labels)
    places = np.array([float(label) for label in one.labels]) if is_numbers else np.arange(len(one.labels))
    tooltips: dict[str, Sequence[str]] = {}
    with styled():
        figure, axes = chart(0.62 * WIDTH + 18 * legend_rows(PAIR, WIDTH), WIDTH)
        for place, (name, curve) in enumerate(zip(PAIR, (one.real, one.simulated), strict=True)):
            colour, known = COLOURS[place], np.isfinite(curve.values)
            group = f"{statistic.name}-{name}".replace("_", "-")
            is_marked = len(places) <= MOST_MARKED
            axes.fill_between(places, curve.low, curve.high, color=colour, alpha=0.16, linewidth=0)
            axes.plot(places[known], curve.values[known], color=colour, linewidth=1.6, label=name,
                      linestyle="-" if place == 0 else (0, (5, 2)))  # fmt: skip
            if is_marked and known.any():
                axes.plot(places[known], curve.values[known], color=colour, marker=MARKERS[place], markersize=5,
                          linestyle="", clip_on=False, gid=group)  # fmt: skip
                tooltips[group] = _tooltips(name, one.labels, curve)
        if not is_numbers:
            axes.set_xticks(places, one.labels)
        elif places[-1] > LONG_SHARE * max(places[0], 1e-9):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(0, None if statistic.told == "points" else 1)
        axes.set_xlabel(_axis(one))
        axes.set_ylabel("share up to it" if statistic.told == "KS" else "share")
        legend_below(figure, axes, PAIR)
    return Picture(name=statistic.name.replace("_", "-"), title=statistic.title, caption=_caption(one),
                   figure=figure, tooltips=tooltips)  # fmt: skip


def _figures(single: Sequence[Compared]) -> Picture:
    series = [
        Series(
            name=name,
            place=place,
            means=[float(curve.values[0]) for curve in curves],
            bounds=[(float(curve.low[0]), float(curve.high[0])) for curve in curves],
        )
        for place, (name, curves) in enumerate(
            zip(PAIR, ([one.real for one in single], [one.simulated for one in single]), strict=True)
        )
    ]
    figure = dot_chart([one.statistic.title for one in single], series, xlabel="share; of Gini: the coefficient")
    words = " ".join(f"{one.statistic.title}: {one.statistic.words}" for one in single)
    return Picture(name="single-figures", title="Returns, repeats and concentration", figure=figure,
                   caption=f"With 95 % intervals. {words}")  # fmt: skip


def _tooltips(name: str, labels: Sequence[str], curve: Curve) -> list[str]:
    rows = zip(labels, curve.values, curve.low, curve.high, strict=True)
    return [f"{label}: {name} {value:.1%} ({low:.1%} to {high:.1%})" for label, value, low, high in rows
            if np.isfinite(value)]  # fmt: skip


def _caption(one: Compared) -> str:
    words = f"{one.statistic.words} The band is the 95 % interval."
    small = [label for label, is_held in zip(one.labels, one.is_held, strict=True) if not is_held]
    if not small:
        return words
    named = small[0] if len(small) == 1 else f"{small[0]} to {small[-1]}" if len(small) > 2 else " and ".join(small)
    return f"{words} Too few real plays to be held to the limit: {named}."


def _axis(one: Compared) -> str:
    return {
        "skip_by_position": "position in the session",
        "finish_by_familiarity": "earlier plays of the content",
        "finish_by_recent_plays": "of the last 20 plays, of this content",
        "finish_by_repeats": "of the last 20 plays, of known contents",
        "session_length": "plays of a session",
        "session_gap": "hours",
        "skip_runs": "skips in a row",
    }.get(one.statistic.name, "")


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True
