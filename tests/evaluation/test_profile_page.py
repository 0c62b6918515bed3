"""Tests of the page of a profile."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from tests.data.profiling.made import a_day, a_profile
from towers.data.profiling.verdict import Finding, Verdict
from towers.evaluation.report.bars import bars
from towers.evaluation.report.profile_page import charts, render, write_profile_page

PROFILE = a_profile([a_day(at) for at in range(30)])
VERDICT = Verdict(
    compared_with="before", findings=(Finding(rule="day_empty", severity="broken", text="<none>", figures={}),)
)


def test_needs_nothing_else_and_takes_no_text_for_markup():
    page = render(PROFILE, VERDICT, "a <set>")
    assert page == render(PROFILE, VERDICT, "a <set>")
    for text in ("<set>", "<none>", "<b>A &", "http:", "https:", "<script"):
        assert text not in page
    for text in ("a &lt;set&gt;", "day_empty", "&lt;b&gt;A &amp; Co", "Events by hour of the day", "120,000"):
        assert text in page


def test_written_whole(tmp_path):
    write_profile_page(PROFILE, VERDICT, tmp_path / "profile.html", "set")
    assert (tmp_path / "profile.html").read_text() == render(PROFILE, VERDICT, "set")


def test_without_a_clock_there_are_no_charts():
    bare = replace(PROFILE, days=(), first_day="", daily={}, span=(), has_clock=False)
    assert charts(bare) == []
    assert "<svg" not in render(bare, Verdict(compared_with=None, findings=()), "set")


def test_of_many_days_there_is_a_bar_a_week():
    daily = {name: tuple(range(400)) for name in ("events", "new_users", "new_contents")}
    first = charts(a_profile([a_day(0)], daily=daily))[0]
    assert first.title == "Events a week"
    assert first.svg.count("<rect") == 58


@pytest.mark.parametrize("values", [[], [0, 0], [3, 1, 2]])
def test_bars_are_as_high_as_their_values(values):
    svg = bars(values, [f"<{at}>" for at in range(len(values))], label="a & b", marked=values)
    assert isinstance(svg, Markup)
    root = ElementTree.fromstring(svg)
    heights = [float(bar.attrib["height"]) for bar in root.iter("rect")]
    assert heights == pytest.approx([162 * value / (max(values) or 1) for value in values], abs=0.1)
    assert len(list(root.iter("circle"))) == len(values)
