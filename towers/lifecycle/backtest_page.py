"""Page of a backtest: one HTML file without scripts, which loads nothing from elsewhere."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from towers.evaluation.report.drawing import INK, Picture, Series, line_chart
from towers.evaluation.report.svg import picture_svg
from towers.evaluation.report.templates import template
from towers.lifecycle.backtest import ANEW, SUBJECTS, PastNight, lines, summed_up
from towers.manifest import atomic_file

FILE = "nights.html"
TEMPLATE = "backtest.html.jinja"


def write_backtest_page(
    nights: Sequence[PastNight], main_metric: str, keys: Sequence[str], path: Path, title: str
) -> None:
    """Writes the page, whole or not at all.

    Args:
        nights: nights in order of time.
        main_metric: key of the figure that subjects are compared by.
        keys: keys of further figures to draw; those that no night has are left out.
        path: the file to write.
        title: name of the data set.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(render(nights, main_metric, keys, title), encoding="utf-8")


def render(nights: Sequence[PastNight], main_metric: str, keys: Sequence[str], title: str) -> str:
    """Renders the whole page; the same nights give the same text."""
    judged = [name for name in SUBJECTS if any(name in night.quality for night in nights)]
    return template(TEMPLATE, Path(__file__).parent, {"svg": picture_svg, "figure": _figure}).render(
        nights=nights,
        title=title,
        main_metric=main_metric,
        lines=lines(summed_up(nights, main_metric), main_metric),
        pictures=pictures(nights, main_metric, keys),
        subjects={name: SUBJECTS[name] for name in judged},
        judged=judged,
        compared=[name for name in judged if any(name in night.ratios for night in nights)],
        done=list(dict.fromkeys(name for night in nights for name in night.core_s)),
        rules=list(dict.fromkeys(rule for night in nights for rule in night.gate)),
        refusals=[
            (night.date, rule, said["words"])
            for night in nights
            for rule, said in night.gate.items()
            if said["status"] == "refused"
        ],
    )


def pictures(nights: Sequence[PastNight], main_metric: str, keys: Sequence[str]) -> list[Picture]:
    """Draws the charts: quality by figure, its share of a training from scratch, and the cost of the nights."""
    found = [
        _over_nights(
            nights,
            f"quality-{place}",
            key,
            f"{key} of each night's vectors on the days after it; more is better.",
            {name: [night.figure(name, key) for night in nights] for name in SUBJECTS},
        )
        for place, key in enumerate(dict.fromkeys((main_metric, *keys)))
        if any(key in figures for night in nights for figures in night.quality.values())
    ]
    if any(night.ratios for night in nights):
        found.append(_ratios(nights, main_metric))
    if any(night.core_s for night in nights):
        names = list(dict.fromkeys(name for night in nights for name in night.core_s))
        found.append(
            _over_nights(
                nights,
                "core-seconds",
                "core-seconds",
                "Processor seconds of each night, by what was done; all cores together.",
                {name: [night.core_s.get(name, math.nan) for night in nights] for name in names},
            )
        )
    return found


def _over_nights(
    nights: Sequence[PastNight], name: str, ylabel: str, caption: str, figures: dict[str, list[float]]
) -> Picture:
    order = [*SUBJECTS, *(each for each in figures if each not in SUBJECTS)]
    series = [Series(name=each, means=means, place=order.index(each)) for each, means in figures.items()]
    figure, axes = line_chart([float(place) for place in range(len(nights))], series, xlabel="night", ylabel=ylabel)
    _date(axes, nights)
    first = next((one for one in series if not all(map(math.isnan, one.means))), None)
    left = [place for place, night in enumerate(nights) if night.outcome != "published"]
    if first is not None and left:
        axes.plot(left, [first.means[place] for place in left], linestyle="", marker="o", markersize=12,
                  markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.2, zorder=6)  # fmt: skip
    return Picture(name=name, title=ylabel, caption=caption, figure=figure)


def _ratios(nights: Sequence[PastNight], main_metric: str) -> Picture:
    places = [float(place) for place in range(len(nights))]
    series = [
        Series(name=name, means=[night.ratio(name) for night in nights], place=place)
        for place, name in enumerate(SUBJECTS)
        if name != ANEW
    ]
    figure, axes = line_chart(places, series, xlabel="night", ylabel=f"{main_metric}, share of anew")
    axes.axhline(1.0, color=INK, linewidth=0.8, alpha=0.6)
    for one in series:
        known = [(place, *night.ratios[one.name][1:]) for place, night in enumerate(nights) if one.name in night.ratios]
        at, low, high = zip(*known, strict=True) if known else ((), (), ())
        axes.fill_between(at, low, high, color=one.colour, alpha=0.14, linewidth=0)  # across nights without a training
    _date(axes, nights)
    caption = (
        "Main metric as a share of that of a network trained from scratch on the same night, with its 95 % interval "
        "over listeners; at the line both are equal. A cycle that drifts falls away from it night by night."
    )
    return Picture(name="ratios", title="Beside a training from scratch", caption=caption, figure=figure)


def _date(axes: Axes, nights: Sequence[PastNight]) -> None:
    every = max(1, math.ceil(len(nights) / 5))
    shown = range(0, len(nights), every)
    axes.set_xticks(list(shown), [nights[place].date[5:] for place in shown])
    axes.margins(x=0.04)


def _figure(value: float, form: str) -> str:
    return "–" if math.isnan(value) else f"{value:{form}}"
