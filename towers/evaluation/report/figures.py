"""Charts of a report with their titles and captions."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from towers.evaluation.intervals import Interval
from towers.evaluation.report.content_cards import ContentCard
from towers.evaluation.report.drawing import (
    COLOURS,
    INK,
    MARKERS,
    NARROW,
    REST,
    WIDTH,
    Picture,
    Series,
    chart,
    dot_chart,
    legend_below,
    legend_rows,
    line_chart,
    styled,
)
from towers.evaluation.report.pieces import Report, strongest
from towers.evaluation.result import ALL, metric_key, split_key

MAX_ROWS = 20
"""Largest number of rows of a chart; labels with the most listeners are shown."""
NUM_GENRES = 8
ALONE = "95 % intervals; each is for one value alone."
EXPLANATIONS = {
    "history": "By positive events of the listener before the period.",
    "popularity": "By shares of the training plays: 1 holds the most played contents.",
    "release_age": "By days from the release to the listen.",
    "cold_age": "Of cold contents, by days from the release to the listen.",
    "origin": "By what led to the listen.",
}
"""Explanations of the default slicings; others have only their name."""


def draw(report: Report) -> dict[str, list[Picture]]:
    """Draws all charts by section; a section without data is empty."""
    return {
        "headline": headline_pictures(report),
        "training": training_pictures(report),
        "cutoffs": cutoff_pictures(report),
        "slices": slice_pictures(report),
        "calibration": calibration_pictures(report),
        "space": space_pictures(report),
    }


def figures(report: Report) -> dict[str, Figure]:
    """Returns all charts by name, for a logger of training runs."""
    return {picture.name: picture.figure for pictures in draw(report).values() for picture in pictures}


def headline_pictures(report: Report) -> list[Picture]:
    """Draws a chart for each headline slice: all rankers, best first, with their intervals."""
    pictures = []
    for slice_name in report.headlines:
        key = metric_key(report.main_metric, slice_name)
        found = {name: figures[key] for name, figures in report.intervals.items() if key in figures}
        ranked = sorted(found, key=lambda name: -found[name].mean)
        model = report.model.ranker
        series = [
            _series(model, [found[name] if name == model else None for name in ranked], place=0),
            _series("baselines", [None if name == model else found[name] for name in ranked], place=1),
        ]
        pictures.append(
            Picture(
                name=f"headline-{slice_name}",
                title=slice_title(slice_name).capitalize(),
                caption=f"{report.main_metric} of {report.model.counts[slice_name]:,} listeners. {ALONE}",
                figure=dot_chart(
                    ranked, series if len(ranked) > 1 else series[:1], xlabel=report.main_metric, width=NARROW
                ),
            )
        )
    return pictures


def training_pictures(report: Report) -> list[Picture]:
    """Draws the loss and the main metric on validation by training step."""
    pictures = []
    losses = [(row["step"], row["loss"]) for row in report.training if "loss" in row and "step" in row]
    if losses:
        steps, values = [step for step, _ in losses], [loss for _, loss in losses]
        with styled():
            figure, axes = chart(0.6 * WIDTH)
            axes.plot(steps, values, color=COLOURS[0])
            axes.set_xlabel("step")
            axes.set_ylabel("loss")
        pictures.append(Picture(name="training-loss", title="Loss", caption="Training loss by step.", figure=figure))
    prefix = f"validation/{report.main_metric}"
    judged = [row for row in report.training if prefix in row and "step" in row]
    if judged:
        slices = [name for name in (ALL, "familiar", "discovery", "cold_content") if
                  any(metric_key(prefix, name) in row for row in judged)]  # fmt: skip
        series = [
            Series(
                name=slice_title(name),
                means=[row.get(f"validation/{metric_key(report.main_metric, name)}", math.nan) for row in judged],
                place=place,
            )
            for place, name in enumerate(slices)
        ]
        figure, axes = line_chart(
            [row["step"] for row in judged], series, xlabel="step", ylabel=f"validation {report.main_metric}"
        )
        axes.set_ylim(bottom=0)
        pictures.append(
            Picture(
                name="training-validation",
                title="Validation",
                caption=f"{report.main_metric} on the validation period each time it was computed.",
                figure=figure,
            )
        )
    return pictures


def cutoff_pictures(report: Report) -> list[Picture]:
    """Draws the main metric by the length of the list, a chart for each headline slice."""
    base = report.main_metric.partition("@")[0]
    lengths = sorted({int(k) for name, k in _metrics(report) if name == base})
    if len(lengths) < 2:
        return []
    shown = _shown(report)
    means = {one.ranker: one.means() for one in report.evaluations}
    pictures = []
    for slice_name in report.headlines:
        keys = [metric_key(f"{base}@{k}", slice_name) for k in lengths]
        series = [
            Series(name=name, means=[means[name].get(key, math.nan) for key in keys], place=place)
            for place, name in enumerate(shown)
        ]
        figure, axes = line_chart(
            [float(at) for at in range(len(lengths))], series, xlabel="length of the list", ylabel=base, width=NARROW
        )
        axes.set_xticks(range(len(lengths)), [str(k) for k in lengths])
        axes.set_ylim(bottom=0)
        pictures.append(
            Picture(
                name=f"cutoffs-{slice_name}",
                title=slice_title(slice_name).capitalize(),
                caption=f"{base} by the length of the list.",
                figure=figure,
            )
        )
    return pictures


def slice_pictures(report: Report) -> list[Picture]:
    """Draws one chart of the standard slices, and one for each further division of first listens."""
    pictures = []
    for group, names in slice_groups(report).items():
        large = [
            name for name in names if metric_key(report.main_metric, name) in report.intervals[report.model.ranker]
        ]
        counts = report.model.counts
        shown = set(sorted(large, key=lambda name: -counts[name])[:MAX_ROWS])
        kept = [name for name in large if name in shown]
        if not kept:
            continue
        keys = [metric_key(report.main_metric, name) for name in kept]
        series = [
            _series(name, [report.intervals[name].get(key) for key in keys], place=place)
            for place, name in enumerate(_shown(report))
        ]
        labels = [slice_title(name) if group is None else name.partition(":")[2] for name in kept]
        title = "Kinds of targets" if group is None else group.replace("_", " ").capitalize()
        left_out = f" The {MAX_ROWS} with the most listeners of {len(large)}." if len(large) > len(kept) else ""
        what = "" if group is None else f" First listens (discovery). {EXPLANATIONS.get(group, '')}".rstrip()
        pictures.append(
            Picture(
                name="standard-slices" if group is None else f"slices-{picture_name(group)}",
                title=title,
                caption=f"{report.main_metric}.{what}{left_out} {ALONE}",
                figure=dot_chart(labels, series, xlabel=report.main_metric, counts=[counts[name] for name in kept]),
            )
        )
    return pictures


def slice_groups(report: Report) -> dict[str | None, list[str]]:
    """Returns the slices by their slicing; the standard slices have the key null."""
    groups: dict[str | None, list[str]] = {None: []}
    for name in report.model.slices:
        group, colon, _ = name.partition(":")
        groups.setdefault(group if colon else None, []).append(name)
    return groups


def calibration_pictures(report: Report) -> list[Picture]:
    """Draws the share of hits among recommended contents, by decile of the score."""
    groups = report.calibration
    if not groups:
        return []
    with styled():
        figure, axes = chart(0.6 * WIDTH)
        places = range(1, len(groups) + 1)
        for place, group in zip(places, groups, strict=True):
            axes.plot((place, place), (group.low, group.high), color=COLOURS[0], linewidth=2.4)
        axes.plot(places, [group.share for group in groups], color=COLOURS[0], marker=MARKERS[0], linewidth=1)
        axes.set_xticks(places, [f"{group.highest:.2f}" for group in groups])
        axes.set_ylim(bottom=0)
        axes.set_xlabel("highest score of the group")
        axes.set_ylabel("share played afterwards")
    caption = (
        f"What the model recommended (the first {report.model.lists['unseen'].rows.shape[1]} contents of each list, "
        f"without what was heard: {sum(group.pairs for group in groups):,} in all) in {len(groups)} groups of equal "
        "size by score, and the share of each that the listener then played, with 95 % intervals. A rising line means "
        "that the score is informative."
    )
    return [Picture(name="score-calibration", title="Share of hits by score", caption=caption, figure=figure)]


def space_pictures(report: Report) -> list[Picture]:
    """Draws the map of the space, coloured by kind and by genre."""
    cards = report.space.cards
    if not cards:
        return []
    how = f"{len(cards):,} contents by {report.space.method}; close points are similar, the axes have no meaning. "
    marked = "Rings: cold contents. " if any(card.is_cold for card in cards) else ""
    pictures = []
    for name, labels in (("kind", _kinds(cards)), ("genre", _genres(cards))):
        if len({label for label in labels if label is not None}) > (name == "genre"):
            figure, tooltips = _map(report, labels, rest="other or no genre" if name == "genre" else "other")
            pictures.append(
                Picture(
                    name=f"space-{name}",
                    title=f"By {name}",
                    caption=f"{how}{marked}Titles appear under the pointer.",
                    figure=figure,
                    tooltips=tooltips,
                )
            )
    return pictures


def slice_title(name: str) -> str:
    """Returns a slice's name for display."""
    return "all targets" if name == ALL else name.replace("_", " ")


def picture_name(text: str) -> str:
    """Replaces all characters except letters and digits by hyphens."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text)


def _map(report: Report, labels: Sequence[str | None], *, rest: str) -> tuple[Figure, dict[str, Sequence[str]]]:
    cards, positions = report.space.cards, report.space.positions
    ranked = [label for label, _ in Counter(label for label in labels if label is not None).most_common()]
    names = [*ranked, *([rest] if None in labels else [])]
    is_cold = np.array([card.is_cold for card in cards])
    tooltips: dict[str, Sequence[str]] = {}
    # The rarest labels are drawn last, on top.
    with styled():
        figure, axes = chart(0.93 * WIDTH + 18 * legend_rows(names))
        for place in sorted(range(len(names)), key=lambda place: place if place < len(ranked) else -1):
            label = ranked[place] if place < len(ranked) else None
            inside = np.array([one == label for one in labels])
            colour = REST if label is None else COLOURS[place]
            for cold in (False, True):
                rows = np.flatnonzero(inside & (is_cold == cold))
                group = f"points-{place}-{'cold' if cold else 'warm'}"
                axes.plot(
                    *positions[rows].T,
                    linestyle="",
                    marker="." if label is None else MARKERS[place],
                    markersize=(5 if cold else 3.6) + (label is None),
                    markerfacecolor=colour,
                    # Cold contents have a ring.
                    markeredgecolor=INK if cold else "none",
                    markeredgewidth=0.9 if cold else 0,
                    gid=group,
                )
                tooltips[group] = [cards[row].line for row in rows]
            # The mark in the legend is larger than a point of the map.
            axes.plot(
                [], [], linestyle="", marker="o" if label is None else MARKERS[place], color=colour, label=names[place]
            )
        axes.set_axis_off()
        legend_below(figure, axes, names)
    return figure, tooltips


def _kinds(cards: Sequence[ContentCard]) -> list[str | None]:
    return [card.kind for card in cards]


def _genres(cards: Sequence[ContentCard]) -> list[str | None]:
    """Returns each content's first genre that is among the most frequent ones; null if there is none."""
    frequent = {genre for genre, _ in Counter(genre for card in cards for genre in card.genres).most_common(NUM_GENRES)}
    return [next((genre for genre in card.genres if genre in frequent), None) for card in cards]


def _metrics(report: Report) -> set[tuple[str, str]]:
    split = (split_key(key)[0].partition("@") for key in report.model.means())
    return {(name, k) for name, _, k in split if k.isdigit()}


def _shown(report: Report) -> tuple[str, ...]:
    return (report.model.ranker, *strongest(report))


def _series(name: str, found: Sequence[Interval | None], *, place: int) -> Series:
    return Series(
        name=name,
        means=[math.nan if one is None else one.mean for one in found],
        bounds=[(math.nan, math.nan) if one is None else (one.low, one.high) for one in found],
        place=place,
    )
