"""The map of a version's contents as a picture, with the regions of its space."""

import numpy as np

from towers.evaluation.report.drawing import COLOURS, INK, REST, WIDTH, Picture, chart, shortened, styled
from towers.retrieval.export import Export
from towers.retrieval.projection_2d import even_sample
from towers.service.map_answers import places_of

DRAWN = 3_000
"""At most so many contents are drawn."""
NAMED = 24
"""At most so many regions are named, the largest ones."""


def map_of_contents(export: Export) -> Picture:
    """Draws contents where the export's map has them, each in the colour of its region, and the regions' names.

    Args:
        export: of any format; without regions all points have one colour.
    """
    method, places = places_of(export)
    shown = even_sample(len(places), DRAWN)
    regions = export.regions
    of_content = np.full(len(places), -1) if regions is None else np.asarray(regions.region_of_content)
    with styled():
        figure, axes = chart(1.44 * WIDTH, 2 * WIDTH)
        rest = shown[of_content[shown] < 0]
        axes.scatter(*places[rest].T, s=6, color=REST, alpha=0.4, linewidths=0)
        found, sizes = np.unique(of_content[of_content >= 0], return_counts=True)
        for region in found.tolist():
            members = shown[of_content[shown] == region]
            axes.scatter(*places[members].T, s=10, color=COLOURS[region % len(COLOURS)], alpha=0.6, linewidths=0)
        for region in found[np.argsort(-sizes, kind="stable")][:NAMED].tolist():
            assert regions is not None  # there is a region
            x, y = np.median(places[of_content == region], axis=0)
            axes.text(x, y, shortened(regions.names[region], 22), fontsize=10, color=INK, ha="center", va="center")
        axes.set_axis_off()
    drawn = f"{len(shown):,} of {len(places):,} contents" if len(shown) < len(places) else f"{len(places):,} contents"
    way = "two principal components" if method == "principal_components" else "the export's map"
    return Picture(
        name="contents-map", title="Map of the contents", figure=figure,
        caption=f"{drawn}, by {way}; colours are regions, which repeat.",
    )  # fmt: skip
