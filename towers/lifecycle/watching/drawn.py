"""A picture of a version's contents on the map, with the regions of its space."""

import numpy as np

from towers.evaluation.report.drawing import COLOURS, INK, REST, WIDTH, Picture, chart, shortened, styled
from towers.retrieval.export import Export
from towers.retrieval.files import CONTENT_MAP, mapped_array
from towers.retrieval.projection_2d import even_sample, principal_components

DRAWN = 3_000
"""Most contents that are drawn."""
NAMED = 24
"""Most regions that are named, the largest ones."""


def map_of_contents(export: Export) -> Picture:
    """Draws contents where the export's map has them, each in the colour of its region, and the regions' names. Reads
    only the contents that it draws, as a catalogue may have millions.

    Args:
        export: export of any format; without regions all points have one colour.
    """
    count = len(export.vectors)
    shown = even_sample(count, DRAWN)
    path, regions = export.folder / CONTENT_MAP, export.regions
    has_map = path.exists()
    places = mapped_array(path)[shown] if has_map else principal_components(np.asarray(export.vectors[shown]))
    of_content = np.full(len(shown), -1) if regions is None else np.asarray(regions.region_of_content)[shown]
    with styled():
        figure, axes = chart(1.44 * WIDTH, 2 * WIDTH)
        axes.scatter(*places[of_content < 0].T, s=6, color=REST, alpha=0.4, linewidths=0)
        found, sizes = np.unique(of_content[of_content >= 0], return_counts=True)
        for region in found.tolist():
            axes.scatter(
                *places[of_content == region].T, s=10, color=COLOURS[region % len(COLOURS)], alpha=0.6, linewidths=0
            )
        for region in found[np.argsort(-sizes, kind="stable")][:NAMED].tolist():
            assert regions is not None  # there is a region
            x, y = np.median(places[of_content == region], axis=0)
            axes.text(x, y, shortened(regions.names[region], 22), fontsize=10, color=INK, ha="center", va="center")
        axes.set_axis_off()
    drawn = f"{len(shown):,} of {count:,} contents" if len(shown) < count else f"{count:,} contents"
    way = "the export's map" if has_map else "two principal components"
    return Picture(
        name="contents-map", title="Map of the contents", figure=figure,
        caption=f"{drawn}, by {way}; colours are regions, which repeat.",
    )  # fmt: skip
