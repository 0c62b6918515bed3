"""The page of a check of simulated listeners: the verdict, each statistic of real beside simulated, and failures.

One HTML file without scripts, which loads nothing from elsewhere.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from towers.evaluation.report.svg import picture_svg
from towers.evaluation.report.templates import flat, template
from towers.lifecycle.simulation_report.curves import calibration_picture, pair_pictures
from towers.lifecycle.simulation_report.tables import (
    classifier_cells,
    failures,
    features_cells,
    segments_cells,
    statistics_cells,
    verdict_cells,
)
from towers.manifest import atomic_file
from towers.simulation.checks.check import Checked
from towers.simulation.checks.stated import FEWEST

FILE: Final = "check.html"
TEMPLATE = "check.html.jinja"


def write_check_page(checked: Checked, about: Mapping[str, Any], path: Path) -> None:
    """Writes the page atomically.

    Args:
        checked: result of the check.
        about: inputs of the check, nested at will; `title` is the page's title.
        path: path of the HTML file.
    """
    page = render_check(checked, about)
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def render_check(checked: Checked, about: Mapping[str, Any]) -> str:
    """Renders the whole page; the same check gives the same text."""
    opened = template(TEMPLATE, Path(__file__).parent, {"svg": picture_svg})
    skips = checked.skips
    return opened.render(
        title=about.get("title", "Simulated listeners"),
        verdict=checked.verdict,
        sizes=checked.sizes,
        by_chance=checked.missed_by_chance,
        limits=verdict_cells(checked.verdict),
        fewest=FEWEST,
        statistics=statistics_cells(checked),
        pictures=pair_pictures(checked.compared),
        classifier=classifier_cells(checked),
        features=features_cells(checked),
        seen=checked.told_apart.names,
        skips=skips,
        calibration=[] if skips is None else [calibration_picture(skips)],
        segments=segments_cells(checked),
        segment_words={one.segment.name: one.segment.words for one in checked.segments},
        failures=failures(checked),
        about=flat({name: value for name, value in about.items() if name != "title"}),
    )
