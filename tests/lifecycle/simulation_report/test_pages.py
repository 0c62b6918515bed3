"""The page of a check."""

import re
from dataclasses import replace
from functools import cache

from rich.console import Console

from tests.simulation.checks.made import checked
from towers.lifecycle.simulation_report.pages import render_check, write_check_page
from towers.lifecycle.simulation_report.tables import classifier_cells, failures, verdict_cells, verdict_table

ABOUT = {"title": "Thirty <listeners>", "simulator": {"members": 1}}


@cache
def page():
    return render_check(checked(), ABOUT)


def test_the_verdict_comes_first():
    assert re.findall(r'<section id="(\w+)"', page()) == [
        "verdict", "statistics", "classifier", "skips", "segments", "about",
    ]  # fmt: skip
    words = checked().verdict.words
    assert page().index(words) < page().index("<section")
    assert "is refused, unless forced" in page()
    assert "<h1>Thirty &lt;listeners&gt;</h1>" in page()
    assert "<th>simulator.members</th><td>1</td>" in page()


def test_every_limit_has_its_row():
    cells = verdict_cells(checked().verdict)
    for one, row in zip(checked().verdict.limits, cells.rows, strict=True):
        assert f'<tr><th>{row[0]}</th><td><span class="{"passed" if one.passed else "failed"}">{row[1]}' in page()
        assert row[1].startswith("held") == one.passed
        assert all(f">{cell}<" in page() for cell in row[2:]), one.name


def test_curves_in_pairs():
    """There is a chart for each of the curves, one for single figures, and one of predicted skips."""
    curves = [one for one in checked().compared if len(one.labels) > 1]
    assert page().count("<svg") == len(curves) + 2
    for one in curves:
        assert f'<figure id="{one.statistic.name.replace("_", "-")}">' in page()
    first = curves[0]
    assert f"1: real {first.real.values[0]:.1%}" in page(), "each mark tells its figure"
    assert f"1: simulated {first.simulated.values[0]:.1%}" in page()
    assert "Too few real plays to be held to the limit: 1 to 20." in page()


def test_what_the_classifier_sees():
    best = next(iter(checked().told_apart.features))
    assert f"<tr><th>{best}</th>" in page()
    assert all(name in page() for name in checked().told_apart.names)
    assert all(f">{cell}<" in page() for row in classifier_cells(checked()).rows for cell in row)


def test_where_it_fails():
    lines = failures(checked())
    assert any("told from real ones by the classifier" in line for line in lines)
    assert all(f'<li class="bad">{line}</li>' in page() for line in lines)


def test_without_chances_of_skips():
    told = render_check(replace(checked(), skips=None, compared=checked().compared[:1], segments=()), {})
    assert "Not measured: no chances were given." in told
    assert "not measured</span>" in told
    assert '<section id="about">' not in told


def test_it_is_one_file_that_loads_nothing(tmp_path):
    path = tmp_path / "deeper" / "check.html"
    short = replace(checked(), compared=checked().compared[:1], segments=())
    write_check_page(short, ABOUT, path)
    assert path.read_text() == render_check(short, ABOUT), "the same check gives the same page"
    assert not re.search(r"<script|<link[^>]+href=\"[^d]|src=|url\((?!#)", page())
    assert [each.name for each in path.parent.iterdir()] == ["check.html"]


def test_the_verdict_in_a_terminal():
    console = Console(width=200)
    with console.capture() as capture:
        console.print(verdict_table(checked().verdict))
    assert all(cell in capture.get() for row in verdict_cells(checked().verdict).rows for cell in row)
