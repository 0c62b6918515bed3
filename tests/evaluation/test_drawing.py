"""Charts: their colours, legends and tooltips."""

import math
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tests.evaluation.small_report import small_report
from towers.evaluation.report.drawing import (
    COLOURS,
    MARKERS,
    NARROW,
    REST,
    WIDTH,
    Series,
    dot_chart,
    legend_rows,
    line_chart,
    png,
)
from towers.evaluation.report.figures import draw
from towers.evaluation.report.svg import inline_svg

GROUNDS = ("#ffffff", "#14171c")


@pytest.fixture(scope="module")
def report(world_store):
    return small_report(world_store)


def luminance(colour):
    """WCAG 2.2, relative luminance."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("colour", [*COLOURS, REST])
def test_colours_can_be_seen_on_a_light_and_a_dark_ground(colour, ground):
    darker, lighter = sorted(luminance(one) for one in (colour, ground))
    assert (lighter + 0.05) / (darker + 0.05) >= 3


def test_no_two_colours_share_a_marker():
    assert len(set(COLOURS)) == len(set(MARKERS)) == len(COLOURS)


def test_a_chart_is_parsed_again_and_takes_the_colour_of_the_text():
    figure = dot_chart(["<a> & $b$", "c"], [Series(name="model", means=[0.5, math.nan], place=0)], xlabel="recall")
    text = inline_svg(figure, name="one", label='a "chart"')
    root = ElementTree.fromstring(text)
    assert root.tag == "svg"
    assert root.attrib["aria-label"] == 'a "chart"'
    assert "<a> & $b$" in [element.text for element in root.iter("text")]
    assert "currentColor" in text
    assert "#0b0d10" not in text
    assert not list(root.iter("style"))
    assert not list(root.iter("metadata"))


def test_tooltips_belong_to_their_markers(report):
    (kind, _) = draw(report)["space"]
    with pytest.raises(ValueError, match="markers of group"):
        inline_svg(kind.figure, name="one", label="", tooltips={"points-0-warm": ["only one"]})
    root = ElementTree.fromstring(inline_svg(kind.figure, name="one", label="", tooltips=kind.tooltips))
    titles = [element.text for element in root.iter("title")]
    assert sorted(titles) == sorted(card.line for card in report.space.cards)


def test_a_name_that_the_font_lacks_warns_nobody():
    figure = dot_chart(["邓丽君"], [Series(name="model", means=[0.5], place=0)], xlabel="recall")
    assert "邓丽君" in inline_svg(figure, name="one", label="")
    assert png(figure).startswith(b"\x89PNG")


def test_a_line_without_any_figure_is_left_out():
    series = [
        Series(name=name, means=means, place=0) for name, means in (("a", [1.0, math.nan]), ("b", [math.nan] * 2))
    ]
    _, axes = line_chart([0.0, 1.0], series, xlabel="k", ylabel="recall")
    assert [line.get_label() for line in axes.lines] == ["a"]


def test_a_legend_takes_as_many_lines_as_its_names_need():
    assert [legend_rows(["long name"] * number, 200.0) for number in (0, 1, 2, 3)] == [0, 1, 1, 2]


@pytest.mark.parametrize("width", [WIDTH, NARROW])
@pytest.mark.parametrize(
    "names",
    [
        ["towers", "own most-played", "EASE", "iALS"],
        ["palestrina", "ryan's mammoth", "monteverdi", "trecento", "o'neill", "bach", "airs", "folk", "other or none"],
        ["WWWWWWWWWWWW", "MMMMMMMM"],
    ],
)
def test_a_legend_is_no_wider_than_its_chart(names, width):
    series = [Series(name=name, means=[0.5], place=place) for place, name in enumerate(names)]
    figure = dot_chart(["all"], series, xlabel="recall", width=width)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert legend.get_window_extent().width <= figure.bbox.width
