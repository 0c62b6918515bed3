"""Pictures of a plan: its path on the map of the space, and how near each week brings the listener to its end."""

import numpy as np
from jaxtyping import Float

from towers.evaluation.report.drawing import COLOURS, INK, MARKERS, REST, WIDTH, Picture, chart, shortened, styled
from towers.policies.journey.plan import Plan
from towers.retrieval.export import Export
from towers.retrieval.projection_2d import even_sample
from towers.service.map_answers import places_of

DRAWN = 1_500
"""Most contents that are drawn as points of the map."""
WIDE = 2 * WIDTH


def map_picture(export: Export, plan: Plan) -> Picture:
    """Draws the regions of the space on its map, and the plan as a line over its stations, with a mark for each week.

    Args:
        export: export that the plan belongs to.
        plan: plan of a listener.
    """
    method, places = places_of(export)
    regions = export.regions
    assert regions is not None  # a plan has regions
    region = np.asarray(regions.region_of_content)
    stations = [one.region for one in plan.stations]
    centres = np.stack([np.median(places[region == one], axis=0) for one in stations])
    with styled():
        figure, axes = chart(0.72 * WIDE, WIDE)
        shown = even_sample(len(places), DRAWN)
        axes.scatter(*places[shown].T, s=5, color=REST, alpha=0.25, linewidths=0)
        for other, name in enumerate(regions.names):
            if other not in stations and (region == other).any():
                x, y = np.median(places[region == other], axis=0)
                axes.text(x, y, shortened(name, 18), fontsize=8, color=INK, alpha=0.45, ha="center", va="center")
        for place, one in enumerate(stations):
            colour = COLOURS[place % len(COLOURS)]
            members = np.intersect1d(np.flatnonzero(region == one), shown)
            axes.scatter(*places[members].T, s=12, color=colour, alpha=0.6, linewidths=0)
        offered = np.concatenate([week.rows[week.known :] for week in plan.weeks])
        axes.scatter(*places[offered].T, s=26, facecolors="none", edgecolors=INK, linewidths=0.8)
        axes.plot(*centres.T, color=INK, linewidth=1.6, alpha=0.8)
        weeks = np.stack([_along(centres, week.position) for week in plan.weeks])
        axes.plot(*weeks.T, color=COLOURS[0], marker=MARKERS[0], linestyle="", gid="weeks", markersize=12)
        for number, (x, y) in enumerate(weeks, start=1):
            axes.text(x, y, str(number), fontsize=8, color="white", ha="center", va="center_baseline")
        for place, (x, y) in enumerate(centres):
            axes.annotate(plan.stations[place].name, (x, y), (0, 11), textcoords="offset points", fontsize=11,
                          fontweight="bold", ha="center")  # fmt: skip
        axes.set_axis_off()
    drawn = f"{len(shown):,} of {len(places):,} contents" if len(shown) < len(places) else f"{len(places):,} contents"
    way = "two principal components" if method == "principal_components" else "the export's map"
    return Picture(
        name="plan-map", title="The plan on the map", figure=figure,
        caption=f"The line goes over the plan's stations, from where the listener is at home; the marks on it are the "
                f"weeks. Rings are the new pieces that are offered, colours the stations' regions, names in grey the "
                f"other regions. {drawn}, by {way}.",
        tooltips={"weeks": [f"week {number}: {week.why}" for number, week in enumerate(plan.weeks, start=1)]},
    )  # fmt: skip


def weeks_picture(plan: Plan) -> Picture:
    """Draws the listener's nearness to the destination, before the first week and after each."""
    values = [plan.affinity, *(week.affinity for week in plan.weeks)]
    with styled():
        figure, axes = chart(0.6 * WIDTH, WIDTH)
        axes.plot(range(len(values)), values, color=COLOURS[0], marker=MARKERS[0], clip_on=False, gid="nearness")
        axes.set_xlabel("weeks that were played")
        axes.set_ylabel("inner product with the destination")
    return Picture(
        name="plan-weeks", title="How near it leads", figure=figure,
        caption="The inner product of the listener's vector with the middle of the destination, if they play all that "
                "each week offers and nothing else: an assumption and no forecast.",
        tooltips={"nearness": [f"after {week} weeks: {value:.2f}" for week, value in enumerate(values)]},
    )  # fmt: skip


def _along(centres: Float[np.ndarray, "stations 2"], position: float) -> Float[np.ndarray, " 2"]:
    """Returns the point of the line over the stations at a position; see `plan.position_of`."""
    places = np.arange(len(centres))
    return np.array([np.interp(position, places, centres[:, axis]) for axis in range(2)])
