"""Charts of an agent's evaluation: returns, worlds, segments, what is shown, days of an episode, the training."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from towers.evaluation.intervals import Interval
from towers.evaluation.report.drawing import (
    COLOURS,
    INK,
    MARKERS,
    NARROW,
    WIDTH,
    Picture,
    Series,
    chart,
    dot_chart,
    legend_below,
    legend_rows,
    styled,
)
from towers.lifecycle.agent.figures import AgentEvaluation, PolicyTold
from towers.simulation.environment.comparing import RETURN, Comparison
from towers.simulation.environment.rewards import RETURN_WEIGHTS

DAYS = {
    "adopted_artists": ("New artists adopted", "artists of a listener, up to the day",
                        "Artists unknown before the episode who were streamed again on a later day."),
    "active_days": ("Listeners there", "share of the listeners", "Listeners who played something on each day."),
    "streams": ("Streams", "streams of a listener", "Plays that were not skipped, on each day."),
    "skips": ("Skips", "skips of a listener", "Skips on each day."),
}  # fmt: skip
"""Title, unit and caption by the name of a count."""
SUMMED = ("adopted_artists",)
"""Counts that are drawn as sums up to each day."""
MOST_MARKED = 30
"""Most points of a curve that has markers."""
MOST_REGIONS = 10
MOST_BASELINES = 4
"""Number of the best baselines that are drawn by segment."""


def return_pictures(found: AgentEvaluation) -> list[Picture]:
    """Draws the returns of all policies, and the agent's relative to each baseline's in every world."""
    world = found.judged
    ranked = sorted(world.policies, key=lambda name: -world.policies[name][RETURN].mean)
    intervals = [world.policies[name][RETURN] for name in ranked]
    one = Series(name="policy", place=0, means=[each.mean for each in intervals],
                 bounds=[(each.low, each.high) for each in intervals])  # fmt: skip
    figure = dot_chart(ranked, [one], xlabel="long-term return of a listener")
    _narrowed(figure.axes[0], intervals)
    caption = (
        f"Mean of {world.listeners:,} listeners' episodes in the world that the agent is judged in, with 95 % "
        "intervals over listeners. They are wide, as listeners differ; below, differences are paired. The axis need "
        "not begin at 0."
    )
    returns = Picture(name="returns", title="Long-term return", caption=caption, figure=figure)
    by_world = [
        Series(name=world.name, place=place, means=[_gain(one) for one in compared],
               bounds=[_bounds(one) for one in compared])
        for place, world in enumerate(found.worlds)
        for compared in [[world.against.get(name, {}).get(RETURN) for name in found.baselines]]
    ]  # fmt: skip
    words = "The agent's return relative to each baseline's, paired by listener, with 95 % intervals."
    return [returns, _gains_picture("gains", "Gain over each baseline", words, found.baselines, by_world)]


def segment_pictures(found: AgentEvaluation) -> list[Picture]:
    """Draws the gain over each baseline by segment."""
    segments, returns = found.judged.segments, found.judged.policies
    best = sorted(found.baselines, key=lambda name: -returns[name][RETURN].mean)[:MOST_BASELINES]
    series = [
        Series(name=f"over {name}", place=place, means=[_gain(one.against[name]) for one in segments],
               bounds=[_bounds(one.against[name]) for one in segments])
        for place, name in enumerate(best)
    ]  # fmt: skip
    if not segments or not series:
        return []
    words = (
        f"The agent's return relative to that of the best baselines (at most {MOST_BASELINES}) among the listeners "
        "of a segment, with 95 % intervals."
    )
    labels = [one.name for one in segments]
    return [_gains_picture("segments-chart", "Who gains and who loses", words, labels, series)]


def shown_pictures(told: Sequence[PolicyTold]) -> list[Picture]:
    """Draws shares of regions among the slots, for all listeners and each segment."""
    return [_regions(told, place) for place in range(len(told[0].shown))] if told else []


def day_pictures(told: Sequence[PolicyTold]) -> list[Picture]:
    """Draws curves over the days of an episode, a line for each policy."""
    return [_days(told, name) for name in DAYS if all(name in one.days for one in told)] if told else []


def learning_pictures(learning: Mapping[str, Sequence[float]]) -> list[Picture]:
    """Draws a chart for the return, each of its parts, and picks, as far as the training's curve has figures."""
    steps, names = learning.get("step", ()), (RETURN, *RETURN_WEIGHTS, "adopted_artists", "clicks")
    return [
        _learning(name, steps, learning[name])
        for name in names
        if name in learning and sum(map(math.isfinite, learning[name])) > 1
    ]


def _regions(told: Sequence[PolicyTold], place: int) -> Picture:
    shown = [policy.shown[place] for policy in told]
    ranked = sorted(shown[0].regions, key=lambda name: -max(one.regions[name] for one in shown))[:MOST_REGIONS]
    series = [
        Series(name=policy.policy, place=order, means=[one.regions[name] for name in ranked])
        for order, (policy, one) in enumerate(zip(told, shown, strict=True))
    ]
    figure = dot_chart(ranked, series, xlabel="share of the slots", width=NARROW)
    figure.axes[0].xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    one = shown[0]
    figures = "; ".join(
        f"{policy.policy}: {each.new_artists:.1%} new artists, popularity {each.popularity:+.2f}"
        for policy, each in zip(told, shown, strict=True)
    )
    return Picture(name=f"shown-{place}", title=one.segment, figure=figure,
                   caption=f"{one.listeners:,} listeners. {figures}.")  # fmt: skip


def _days(told: Sequence[PolicyTold], name: str) -> Picture:
    title, unit, caption = DAYS[name]
    names = [one.policy for one in told]
    tooltips: dict[str, Sequence[str]] = {}
    with styled():
        figure, axes = chart(0.62 * WIDTH + 18 * legend_rows(names, WIDTH), WIDTH)
        for place, one in enumerate(told):
            days, values = range(1, len(one.days[name]) + 1), one.days[name]
            if name in SUMMED:
                values = np.cumsum(values).tolist()
            colour, group = COLOURS[place % len(COLOURS)], f"{name}-{place}".replace("_", "-")
            is_marked = len(values) <= MOST_MARKED
            axes.plot(days, values, color=colour, linewidth=2.2 if place == 0 else 1.5, label=one.policy,
                      marker=MARKERS[place % len(MARKERS)] if is_marked else "", markersize=4.5,
                      linestyle="-" if place == 0 else (0, (5, 2)), clip_on=False, gid=group)  # fmt: skip
            if is_marked:
                form = ".1%" if name == "active_days" else ".2f"
                tooltips[group] = [f"day {day}: {one.policy} {value:{form}}" for day, value in
                                   zip(days, values, strict=True)]  # fmt: skip
        axes.set_ylim(bottom=0)
        axes.set_xlabel("day of the episode")
        axes.set_ylabel(unit)
        legend_below(figure, axes, names)
    return Picture(name=f"days-{name}".replace("_", "-"), title=title, figure=figure, tooltips=tooltips,
                   caption=f"{caption} Mean over listeners.")  # fmt: skip


def _learning(name: str, steps: Sequence[float], values: Sequence[float]) -> Picture:
    known = [(step, value) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    with styled():
        figure, axes = chart(0.55 * NARROW, NARROW)
        axes.plot(*zip(*known, strict=True), color=COLOURS[0], linewidth=1.6)
        axes.set_xlabel("step")
    last = f"{known[-1][1]:.4g} at step {known[-1][0]:,.0f}"
    title = name.replace("_", " ")
    return Picture(name=f"learning-{name}".replace("_", "-"), title=title, figure=figure,
                   caption=f"From {known[0][1]:.4g} to {last}.")  # fmt: skip


def _gains_picture(name: str, title: str, caption: str, labels: Sequence[str], series: Sequence[Series]) -> Picture:
    figure = dot_chart(labels, series, xlabel="more or less return than the baseline")
    axes = figure.axes[0]
    ends = [end for one in series for bounds in one.bounds or () for end in bounds if math.isfinite(end)] or [0.0]
    room = 0.08 * (max(*ends, 0.0) - min(*ends, 0.0)) or 0.05
    axes.set_xlim(min(*ends, 0.0) - room, max(*ends, 0.0) + room)
    axes.axvline(0, color=INK, linewidth=1, linestyle=":", alpha=0.7)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    return Picture(name=name, title=title, caption=caption, figure=figure)


def _narrowed(axes: Axes, intervals: Sequence[Interval]) -> None:
    ends = [end for one in intervals for end in (one.low, one.high) if math.isfinite(end)]
    if ends:
        room = 0.08 * (max(ends) - min(ends)) or 0.1
        axes.set_xlim(min(ends) - room, max(ends) + room)


def _gain(one: Comparison | None) -> float:
    return math.nan if one is None else one.ratio - 1


def _bounds(one: Comparison | None) -> tuple[float, float]:
    return (math.nan, math.nan) if one is None else (one.ratio_low - 1, one.ratio_high - 1)
