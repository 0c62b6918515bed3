"""The page of an agent's evaluation."""

import re
from dataclasses import replace
from functools import cache

from rich.console import Console

from tests.lifecycle.agent.made import evaluation
from towers.lifecycle.agent_report.pages import render_agent, write_agent_page
from towers.lifecycle.agent_report.tables import (
    against_cells,
    against_table,
    gains,
    policies_cells,
    regions_cells,
    segments_cells,
    shown_cells,
    worlds_cells,
)

ABOUT = {"title": "Agent <one>", "simulator": {"member": 4}}


@cache
def page():
    return render_agent(evaluation(), ABOUT)


def test_sections():
    assert re.findall(r'<section id="(\w+)"', page()) == ["returns", "segments", "shown", "days", "learning", "about"]
    assert "<h1>Agent &lt;one&gt;</h1>" in page()
    assert "<th>simulator.member</th><td>4</td>" in page()
    assert "+1 × active days, +1 × kept artists, -0.05 × skips" in page()


def test_every_table_is_whole():
    found = evaluation()
    for cells in (
        policies_cells(found.judged), against_cells(found.judged), worlds_cells(found), segments_cells(found.judged),
        shown_cells(found.told), regions_cells(found.told),
    ):  # fmt: skip
        for row in cells.rows:
            assert len(row) == len(cells.headings)
            assert all(f">{cell}<" in page() for cell in row[1:] if "<" not in cell), row


def test_the_best_comes_first():
    cells = policies_cells(evaluation().judged)
    assert [row[0] for row in cells.rows] == ["agent", "greedy", "random"]


def test_who_gains_and_who_loses_is_told():
    """The page tells of losses against all policies, and of gains over the one that it is compared with in detail."""
    lines = gains(evaluation())
    assert [(line.partition(" (")[0], line.rpartition(" ")[2], loses) for line, loses in lines] == [
        ("new", "greedy", True), ("new", "random", True), ("others", "greedy", False),
    ]  # fmt: skip
    assert all(line in page() for line, _ in lines)
    assert f'<li class="bad">{lines[0][0]}' in page()


def test_charts():
    """Returns, gains by world, gains by segment, a chart of regions a segment, four of days, one column of training."""
    assert page().count("<svg") == 2 + 1 + 3 + 4 + 1
    assert "day 7: agent 85.7%" in page()
    assert "From 1 to 3 at step 3." in page()


def test_it_is_one_file_that_loads_nothing(tmp_path):
    path = tmp_path / "deeper" / "report.html"
    alone = replace(evaluation(), told=(), learning={}, worlds=evaluation().worlds[:1])
    write_agent_page(alone, {}, path)
    told = path.read_text()
    assert told == render_agent(alone, {}), "the same evaluation gives the same page"
    assert re.findall(r'<section id="(\w+)"', told) == ["returns", "segments"], "nobody is held beside it in detail"
    assert not re.search(r"<script|<link[^>]+href=\"[^d]|src=|url\((?!#)", page())
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


def test_in_a_terminal():
    console = Console(width=200)
    with console.capture() as capture:
        console.print(against_table(evaluation().judged))
    assert all(cell in capture.get() for row in against_cells(evaluation().judged).rows for cell in row)
