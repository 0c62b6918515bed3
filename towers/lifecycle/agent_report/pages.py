"""The page of an agent's evaluation: returns beside baselines, what it shows to whom, adoption, training.

One HTML file without scripts, which loads nothing from elsewhere.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from towers.evaluation.report.svg import picture_svg
from towers.evaluation.report.templates import flat, template
from towers.lifecycle.agent.figures import AgentEvaluation
from towers.lifecycle.agent_report.curves import (
    day_pictures,
    learning_pictures,
    return_pictures,
    segment_pictures,
    shown_pictures,
)
from towers.lifecycle.agent_report.tables import (
    against_cells,
    gains,
    policies_cells,
    regions_cells,
    segments_cells,
    shown_cells,
    worlds_cells,
)
from towers.manifest import atomic_file

TEMPLATE = "agent.html.jinja"


def write_agent_page(found: AgentEvaluation, about: Mapping[str, Any], path: Path) -> None:
    """Writes the page atomically.

    Args:
        found: result of the evaluation.
        about: inputs of the evaluation, nested at will; `title` is the page's title.
        path: path of the HTML file.
    """
    page = render_agent(found, about)
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def render_agent(found: AgentEvaluation, about: Mapping[str, Any]) -> str:
    """Renders the whole page; the same evaluation gives the same text."""
    opened = template(TEMPLATE, Path(__file__).parent, {"svg": picture_svg})
    told = found.told
    return opened.render(
        title=about.get("title", "Agent"),
        found=found,
        returns=return_pictures(found),
        policies=policies_cells(found.judged),
        against=against_cells(found.judged),
        worlds=worlds_cells(found) if len(found.worlds) > 1 else None,
        world_words={world.name: world.words for world in found.worlds},
        shown=shown_cells(told) if told else None,
        regions=regions_cells(told) if told else None,
        shown_charts=shown_pictures(told),
        days=day_pictures(told),
        segments=segments_cells(found.judged),
        segment_charts=segment_pictures(found),
        gains=gains(found),
        learning=learning_pictures(found.learning),
        about=flat({name: value for name, value in about.items() if name != "title"}),
    )
