"""The page of a listener's plan: its destination and reasons, the path on the map, and what each week offers.

One HTML file without scripts, which loads nothing from elsewhere.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from towers.evaluation.report.svg import picture_svg
from towers.evaluation.report.templates import flat, template
from towers.lifecycle.journey_report.drawn import map_picture, weeks_picture
from towers.manifest import atomic_file
from towers.policies.journey.plan import Plan
from towers.policies.journey.plan_told import plan_told
from towers.retrieval.export import Export

TEMPLATE: Final = "plan.html.jinja"


def write_plan_page(export: Export, plan: Plan, about: Mapping[str, Any], path: Path) -> None:
    """Writes the page atomically.

    Args:
        export: export that the plan belongs to.
        plan: plan of a listener.
        about: inputs of the plan, nested at will; `title` is the page's title.
        path: path of the HTML file.
    """
    page = render_plan(export, plan, about)
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def render_plan(export: Export, plan: Plan, about: Mapping[str, Any]) -> str:
    """Renders the whole page; the same plan gives the same text."""
    opened = template(TEMPLATE, Path(__file__).parent, {"svg": picture_svg})
    return opened.render(
        title=about.get("title", "Plan"),
        plan=plan_told(export, plan),
        pictures=[map_picture(export, plan)],
        weeks=[weeks_picture(plan)],
        about=flat({name: value for name, value in about.items() if name != "title"}),
    )
