"""Common style of all charts; the colour of lines and text can be replaced by that of the page.

The colours work for all types of colour vision and on light and dark backgrounds: each has a contrast of at least 3 to
both (WCAG 2.2, 1.4.11), and each series also has a marker of its own shape.
"""

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK: Final = "#0b0d10"
"""Placeholder for the text colour of the page around a chart."""
COLOURS: Final = ("#2f7fe0", "#e0620d", "#159a80", "#c54fa0", "#7d8b1f", "#8a4fd8", "#b0474a", "#5f8796")
MARKERS: Final = ("o", "s", "D", "^", "v", "P", "X", "h")
REST: Final = "#868686"
"""Colour of points without a colour of their own."""
WIDTH: Final = 390.0
"""Width of a chart of which two are side by side, in pixels if the page is wide enough."""
NARROW: Final = 300.0
"""Width of a chart of which three are side by side."""
_UNIT: Final = 72
"""Units per inch: matplotlib's SVG uses points."""

STYLE: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "towers",
    # A title may contain dollar signs.
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 11,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.14,
    "grid.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.labelsize": 11,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    # Half of a mark at zero lies outside of the axes.
    "ytick.major.pad": 8,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.4,
    "legend.borderaxespad": 0,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A chart with its texts.

    Args:
        name: unique name in a report, of letters, digits and hyphens.
        title: short title.
        caption: explanation of the chart.
        figure: chart.
        tooltips: texts by the id of a group of markers, one for each marker.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    tooltips: dict[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Values by label, with or without bounds.

    Args:
        name: name in the legend.
        means: values; NaN where missing.
        bounds: lower and upper bound for each label.
        place: index of the colour and marker.
    """

    name: str
    means: Sequence[float]
    place: int
    bounds: Sequence[tuple[float, float]] | None = None

    @property
    def colour(self) -> str:
        """Colour of the series."""
        return COLOURS[self.place % len(COLOURS)]

    @property
    def marker(self) -> str:
        """Marker shape of the series."""
        return MARKERS[self.place % len(MARKERS)]


@contextmanager
def styled() -> Iterator[None]:
    """Applies the common style to charts that are made or drawn within the context."""
    with (
        rc_context(STYLE),  # type: ignore[arg-type]  # matplotlib types the keys as literals
        warnings.catch_warnings(),
    ):
        # Matplotlib's font lacks Chinese, for example; a page shows the text with the reader's fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield


def png(figure: Figure) -> bytes:
    """Renders the chart on a white background, for use outside of a page."""
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="png", dpi=2 * _UNIT, facecolor="white")
    return buffer.getvalue()


def chart(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    """Creates an empty chart of a size in pixels."""
    with styled():
        figure = Figure(figsize=(width / _UNIT, height / _UNIT), layout="constrained")
        return figure, figure.add_subplot()


def dot_chart(
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    xlabel: str,
    counts: Sequence[int] | None = None,
    width: float = WIDTH,
) -> Figure:
    """Draws a row for each label with a dot for each series; the first series is emphasised and has its bounds drawn.

    Args:
        labels: labels of the rows, from the top.
        series: series; the first is drawn on top of the others.
        xlabel: label of the values.
        counts: number of listeners of each row, written at its end.
        width: width in pixels.
    """
    rows_of_legend = legend_rows([one.name for one in series], width) if len(series) > 1 else 0
    with styled():
        figure, axes = chart(58.0 + 24 * len(labels) + 18 * rows_of_legend, width)
        places = list(range(len(labels)))
        # The first series is drawn last, on top of the others.
        for order, one in reversed(list(enumerate(series))):
            first = order == 0
            for place, bounds in zip(places, one.bounds or (), strict=bool(one.bounds)):
                axes.plot(bounds, (place, place), color=one.colour, linewidth=2.4 if first else 1.2, zorder=3 + first)
            axes.plot(
                one.means,
                places,
                linestyle="",
                marker=one.marker,
                markersize=8 if first else 5.5,
                color=one.colour,
                label=one.name,
                clip_on=False,
                zorder=4 + first,
            )
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_yticks(places, [shortened(label) for label in labels])
        axes.set_xlabel(xlabel)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        from_zero(axes)
        if counts is not None:
            _write_counts(axes, counts)
        if rows_of_legend:
            legend_below(figure, axes, [one.name for one in series])
    return figure


def line_chart(
    places: Sequence[float], series: Sequence[Series], *, xlabel: str, ylabel: str, width: float = WIDTH
) -> tuple[Figure, Axes]:
    """Draws a line for each series over common places; the first is emphasised. Series without values are skipped."""
    shown = [one for one in series if not all(math.isnan(mean) for mean in one.means)]
    with styled():
        figure, axes = chart(0.6 * width + 18 * legend_rows([one.name for one in shown], width), width)
        for order, one in reversed(list(enumerate(shown))):
            known = [(place, mean) for place, mean in zip(places, one.means, strict=True) if not math.isnan(mean)]
            axes.plot(
                [place for place, _ in known],
                [mean for _, mean in known],
                color=one.colour,
                marker=one.marker,
                markersize=7 if order == 0 else 5,
                linewidth=2.4 if order == 0 else 1.3,
                label=one.name,
                clip_on=False,
                zorder=4 + (order == 0),
            )
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        legend_below(figure, axes, [one.name for one in shown])
    return figure, axes


def from_zero(axes: Axes) -> None:
    """Starts the axis of shares at 0, with room for the last mark."""
    axes.set_xlim(left=0)
    axes.margins(x=0.06)


def legend_below(figure: Figure, axes: Axes, order: Sequence[str]) -> None:
    """Adds a legend below the chart, in the given order."""
    handles, names = axes.get_legend_handles_labels()
    wanted = sorted(range(len(names)), key=lambda at: list(order).index(names[at]))
    if wanted:
        columns = _legend_columns([names[at] for at in wanted], figure.get_figwidth() * _UNIT)
        figure.legend(
            [handles[at] for at in wanted], [names[at] for at in wanted], loc="outside lower center", ncols=columns
        )


def legend_rows(names: Sequence[str], width: float = WIDTH) -> int:
    """Returns the number of lines of a legend with these names, in a chart of a width in pixels."""
    return math.ceil(len(names) / _legend_columns(names, width)) if names else 0


def shortened(label: str, longest: int = 22) -> str:
    """Shortens a label to fit beside a chart."""
    return label if len(label) <= longest else label[: longest - 1].rstrip() + "…"


def _legend_columns(names: Sequence[str], width: float) -> int:
    """Returns the largest number of legend columns that fit; a column is as wide as its longest name."""
    for columns in range(len(names), 1, -1):
        # Matplotlib fills a legend column by column; the first columns may have one name more.
        longest = [max(map(len, part)) for part in np.array_split(np.array(names), columns)]
        if sum(6 * length + 44 for length in longest) <= width:
            return columns
    return 1


def _write_counts(axes: Axes, counts: Sequence[int]) -> None:
    for place, count in enumerate(counts):
        axes.text(1.02, place, f"{count:,}", transform=axes.get_yaxis_transform(), va="center", fontsize=10, alpha=0.75)
    axes.text(1.02, -0.62, "listeners", transform=axes.get_yaxis_transform(), va="bottom", fontsize=9, alpha=0.75)
