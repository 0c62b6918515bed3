"""Report pages of the home page: plays of policies in a world, and the judgement of one by a log.

A page is one HTML file without scripts, which loads nothing from elsewhere. Its figures are beside it as JSON.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from towers.evaluation.off_policy.judge import DIRECT, OffPolicyResult
from towers.evaluation.report.drawing import COLOURS, INK, WIDTH, Picture, Series, dot_chart
from towers.evaluation.report.svg import picture_svg
from towers.evaluation.report.templates import flat, template
from towers.lifecycle.gate.verdict import Verdict
from towers.lifecycle.home_report.curves import simulation_pictures
from towers.lifecycle.home_report.tables import (
    ESTIMATORS,
    estimates_cells,
    guards_cells,
    simulation_cells,
    weights_cells,
)
from towers.manifest import atomic_file, json_numbers, write_json
from towers.simulation.carousel.summary import Played

TEMPLATE = "home.html.jinja"


def write_simulation_page(played: Sequence[Played], about: Mapping[str, Any], path: Path) -> None:
    """Writes the page of plays, and its figures as JSON beside it under the same name, both atomically.

    Args:
        played: plays, at least one; those with one name are of the same policy with other seeds.
        about: inputs of the plays, nested at will; `title` is the page's title.
        path: path of the HTML file.
    """
    page = render_simulation(played, about)
    write_json(path.with_suffix(".json"), json_numbers({"about": about, "played": [one.to_json() for one in played]}))
    _write(page, path)


def write_judgement_page(
    result: OffPolicyResult, verdict: Verdict | None, about: Mapping[str, Any], path: Path
) -> None:
    """Writes the page of a judgement by a log, and its figures as JSON beside it, both atomically.

    Args:
        result: result of the judge.
        verdict: verdict of the gate; null: it was not asked.
        about: inputs of the judgement, nested at will; `title` is the page's title.
        path: path of the HTML file.
    """
    page = render_judgement(result, verdict, about)
    told = {"about": about, "result": result.to_json(), "verdict": None if verdict is None else verdict.to_json()}
    write_json(path.with_suffix(".json"), json_numbers(told))
    _write(page, path)


def render_simulation(played: Sequence[Played], about: Mapping[str, Any]) -> str:
    """Renders the whole page; the same plays give the same text."""
    return _render("Home page, simulated", about, played=simulation_cells(played), pictures=simulation_pictures(played))


def render_judgement(result: OffPolicyResult, verdict: Verdict | None, about: Mapping[str, Any]) -> str:
    """Renders the whole page; the same result gives the same text."""
    return _render(
        "Home page, judged by a log",
        about,
        result=result,
        verdict=verdict,
        pictures={"estimates": [_estimates_picture(result)]},
        estimates=estimates_cells(result),
        weights=weights_cells(result),
        guards=guards_cells(result),
        estimators=ESTIMATORS,
    )


def _render(kicker: str, about: Mapping[str, Any], **pieces: Any) -> str:
    given = {"played": None, "result": None, "verdict": None} | pieces
    facts = {name: value for name, value in about.items() if name != "title"}
    opened = template(TEMPLATE, Path(__file__).parent, {"svg": picture_svg})
    return opened.render(kicker=kicker, title=about.get("title", "Home page"), about=flat(facts), **given)


def _estimates_picture(result: OffPolicyResult) -> Picture:
    """Draws the estimates with their intervals, beside production's."""
    labels, found = [*result.estimates], [*result.estimates.values()]
    one = Series(name="new policy", means=[each.mean for each in found], place=0,
                 bounds=[(each.low, each.high) for each in found])  # fmt: skip
    figure: Figure = dot_chart(labels, [one], xlabel="reward of a slate", width=WIDTH)
    axes, production = figure.axes[0], result.production
    axes.axvspan(production.low, production.high, color=COLOURS[1], alpha=0.16, linewidth=0)
    axes.axvline(production.mean, color=COLOURS[1], linewidth=1.2)
    # Above the first row.
    axes.text(production.mean, -0.68, "production", ha="center", va="bottom", fontsize=10, color=COLOURS[1])
    ends = [each for bound in (*found, production) for each in (bound.low, bound.mean, bound.high)]
    known = [each for each in ends if math.isfinite(each)]
    room = 0.08 * (max(known) - min(known)) or 0.1
    axes.set_xlim(min(known) - room, max(known) + room)  # differences matter here, not shares of the whole
    axes.spines["left"].set_color(INK)
    caption = (
        "The reward of a slate that each estimator expects of the new policy, with its 95 % interval over listeners; "
        "the band is what production earned. The axis does not begin at 0."
    )
    if DIRECT in result.estimates:
        caption += " The direct method alone is never decisive: its interval does not include the model's errors."
    return Picture(name="estimates-chart", title="Estimates beside production", caption=caption, figure=figure)


def _write(page: str, path: Path) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
