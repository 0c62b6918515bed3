"""The page of an evaluation: what stands in it, and that nothing in it is taken for markup."""

import math
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from tests.contracts.ranker import make_task
from tests.evaluation.small_report import MARKUP, small_report
from towers.evaluation.intervals import differences_to_each
from towers.evaluation.rankers import Ranked
from towers.evaluation.report.content_cards import ContentCards
from towers.evaluation.report.data_profile import data_profile
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
from towers.evaluation.report.figures import draw, figures
from towers.evaluation.report.listener_examples import chosen, listener_examples
from towers.evaluation.report.page import render, too_small, verdict, write_page
from towers.evaluation.report.pieces import build_report, list_metrics, strongest
from towers.evaluation.report.score_calibration import NORMAL_95, score_groups
from towers.evaluation.report.space import examples, neighbourhoods, space_map
from towers.evaluation.report.svg import inline_svg
from towers.evaluation.report.training_rows import training_rows

GROUNDS = ("#ffffff", "#14171c")


@pytest.fixture(scope="module")
def report(world_store):
    return small_report(world_store)


@pytest.fixture(scope="module")
def page(report):
    return render(report)


class Outline(HTMLParser):
    """The tags of a page, the texts of some, and what it would load."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.ids, self.links, self.open, self.texts = Counter(), Counter(), [], [], {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.open.append(tag)
        attributes = dict(attrs)
        self.ids[attributes.get("id")] += 1
        self.links += [attributes[name] for name in ("href", "src", "xlink:href") if name in attributes]

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


def contents(*rows):
    """Content id, kind, title, artists, genres."""
    names = ("content_id", "kind", "title", "artist_ids", "genres")
    types = (pa.string(), pa.string(), pa.string(), pa.list_(pa.string()), pa.list_(pa.string()))
    columns = zip(names, types, zip(*rows, strict=True), strict=True)
    return pa.table({name: pa.array(values, kind) for name, kind, values in columns})


def tracks(number):
    return contents(*((f"t{row}", "track", f"Track {row}", None, None) for row in range(number)))


# --- the page


def test_every_section_figure_and_table_is_there(page, report):
    outline = Outline(page)
    sections = ("headline", "training", "cutoffs", "slices", "lists", "calibration", "space", "listeners", "checks")
    assert all(outline.ids[name] == 1 for name in (*sections, "data"))
    names = set(figures(report))
    assert {
        *("headline-discovery", "training-loss", "cutoffs-familiar", "standard-slices", "slices-history"),
        *("slices-popularity", "score-calibration", "space-kind", "space-genre"),
    } <= names
    assert outline.tags["figure"] == outline.tags["svg"] == len(names)
    assert all(outline.ids[name] == 1 for name in names)
    assert outline.tags["figcaption"] == len(names)


def test_ids_are_unique_and_all_that_is_pointed_to_is_there(page):
    outline = Outline(page)
    del outline.ids[None]
    assert set(outline.ids.values()) == {1}
    assert set(outline.links) - {"data:,"} <= {f"#{name}" for name in outline.ids}
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(outline.ids)


def test_nothing_comes_from_elsewhere_and_nothing_runs(page):
    outline = Outline(page)
    assert not outline.tags["script"] + outline.tags["iframe"] + outline.tags["img"]
    assert "@import" not in page
    assert not re.search(r"(href|src)=\"?(https?:)?//", page)


def test_names_are_text_and_not_markup(page, report):
    assert MARKUP not in page
    outline = Outline(page)
    assert MARKUP in "".join(outline.texts["h1"])
    assert any(MARKUP in text for text in outline.texts["pre"])
    # The titles under the pointer, of all contents in both maps, and the page's own.
    assert sum(text.startswith(MARKUP) for text in outline.texts["title"]) == 2 * len(report.space.cards)
    # Dollar signs are no mathematics.
    assert any("$x^{" in text for text in outline.texts["text"])


def test_the_same_report_gives_the_same_bytes(page, report, tmp_path):
    write_page(report, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page


def test_the_best_of_a_column_is_bold(page, report):
    best = max(found["recall@5/familiar"].mean for found in report.intervals.values())
    assert re.search(rf'class="number best">{best:.4f}<', page)


def test_checks_tell_what_passed_what_failed_and_what_is_not_judged(page):
    assert "1 of 2</b> checks passed" in page
    assert [page.count(word) for word in ("✓ passed", "✗ failed", "not judged")] == [1, 1, 1]


def test_a_page_without_baselines_training_or_checks(world_store):
    alone = replace(small_report(world_store, num_baselines=0), training=(), checks=())
    outline = Outline(render(alone))
    assert not {"training", "checks"} & set(outline.ids)
    assert "training-loss" not in figures(alone)
    assert verdict(alone, "discovery")["best"] is None


def test_a_page_of_too_few_listeners_says_so(world_store):
    tiny = small_report(world_store, min_users=1_000)
    assert tiny.headlines == ()
    page = render(tiny)
    assert "No headline slice has enough listeners" in page
    assert "fewer than 1000 listeners" in page
    assert set(figures(tiny)) == {
        "training-loss",
        "training-validation",
        "score-calibration",
        "space-kind",
        "space-genre",
    }


@pytest.mark.parametrize("times", [0, 2])
def test_a_report_of_nobody_or_of_two_by_one_name_is_refused(report, world_store, times):
    with pytest.raises(ValueError, match="different names"):
        build(report, world_store, report.evaluations[:1] * times)


def test_a_model_without_lists_is_refused(report, world_store):
    with pytest.raises(ValueError, match="no lists"):
        build(report, world_store, [replace(report.model, lists={})])


def build(report, store, evaluations):
    return build_report(
        title="", period="test", task=make_task([[0]], [[1]], 2), evaluations=evaluations, contents=store.contents,
        content_vectors=np.zeros((2, 1)), user_ids=store.user_ids, profile=report.profile, config="", environment={},
    )  # fmt: skip


# --- words and figures


def test_baselines_that_are_ahead_are_named_with_the_bounds_that_hold_for_all(report):
    found = verdict(report, "discovery")
    difference = report.differences["popularity"]["recall@5/discovery"]
    assert found["best"] == "popularity"
    # Of what was never heard, both baselines know the same; of eight listeners little is sure.
    assert difference.mean == pytest.approx(-0.275)
    assert difference.low_of_all < difference.low
    assert difference.high_of_all > difference.high
    assert found["ahead"] == [
        f"{name} by 0.2750 (−{difference.high_of_all:.4f} to {-difference.low_of_all:.4f}; may be chance)"
        for name in ("popularity", "own most-played")
    ]


def test_all_comparisons_of_the_headline_are_one_family(report):
    """As many bounds as baselines times slices, from the same resamples as the function of them all has."""
    keys = ["recall@5", "recall@5/familiar", "recall@5/discovery"]
    assert report.differences == differences_to_each(report.model, report.evaluations[1:], keys)


def with_differences(report, **bounds):
    """The same two baselines, each with a difference in discovery alone."""
    key = "recall@5/discovery"
    return replace(
        report,
        differences={
            name: {key: replace(report.differences[name][key], **bounds)} for name in ("popularity", "own most-played")
        },
    )


def test_whether_a_lead_may_be_chance_follows_all_comparisons(report):
    alone = {"low": 0.125, "high": 0.375}
    for low, unclear in ((-0.0625, ["popularity", "own most-played"]), (0.0625, [])):
        ahead = with_differences(report, mean=0.25, **alone, low_of_all=low, high_of_all=0.5)
        assert verdict(ahead, "discovery")["ahead"] == []
        assert verdict(ahead, "discovery")["unclear"] == unclear
    alone = {"low": -0.1875, "high": -0.03125}
    for high, words in ((0.0625, "−0.0625 to 0.2500; may be chance"), (-0.015625, "0.0156 to 0.2500")):
        behind = with_differences(report, mean=-0.125, **alone, low_of_all=-0.25, high_of_all=high)
        assert verdict(behind, "discovery")["ahead"][0] == f"popularity by 0.1250 ({words})"


def test_the_page_shows_the_bounds_of_all_comparisons_and_says_so(page, report):
    difference = report.differences["own most-played"]["recall@5/familiar"]
    assert f"{difference.low_of_all:+.4f} to {difference.high_of_all:+.4f}".replace("-", "−") in page
    # Two baselines in three slices.
    assert "bounds that hold for all 6 comparisons together" in page
    assert "hold for all 6 comparisons of this table together with 95 % confidence" in page


@pytest.mark.parametrize("is_flattered", [False, True])
def test_the_page_tells_how_baselines_were_tuned(report, is_flattered):
    from towers.evaluation.tuning import Choice, Trial

    trials = tuple(Trial(settings={"l2": l2}, figure=1 / l2) for l2 in (20.0, 500.0))
    choice = Choice(
        settings={"l2": 20.0}, metric="recall@20/discovery", trials=trials, is_on_evaluated_period=is_flattered
    )
    shown = render(replace(report, tuning={"EASE": choice.as_dict(), "random": Choice().as_dict()}))
    assert "<td>l2 20.0</td>" in shown
    assert '<td class="number">2</td><td>recall@20/discovery</td>' in shown
    assert ("the very period shown here" in shown) == is_flattered
    assert "How the baselines were tuned" not in render(replace(report, tuning={}))


def test_intervals_of_charts_are_said_to_hold_alone(report):
    pictures = draw(report)
    for picture in (*pictures["headline"], *pictures["slices"]):
        assert "each holds for its figure alone" in picture.caption


def test_slices_too_small_are_named_with_their_listeners(report):
    small = too_small(report)
    counts = report.model.counts
    assert all(count < report.model.min_users for names in small.values() for _, count in names)
    told = sum(len(names) for names in small.values())
    assert told == sum(count < report.model.min_users for count in counts.values()) > 0


def test_the_strongest_are_first_or_second_somewhere(report):
    assert set(strongest(report)) == {"popularity", "own most-played"}
    assert strongest(report, limit=1) == ("popularity",)


def test_list_metrics_are_those_that_are_not_hits(report):
    found = list_metrics(report)
    assert {"novelty@5", "coverage@5"} <= set(found["all"])
    assert not any(metric.startswith(("recall", "ndcg")) for metrics in found.values() for metric in metrics)
    assert found["all"]["coverage@5"] == [one.means()["coverage@5"] for one in report.evaluations]


def test_training_rows_leave_out_what_was_not_taken(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss,recall@20\n9,0.5,\n19,,0.25\n")
    assert training_rows(path) == ({"step": 9, "loss": 0.5}, {"step": 19, "recall@20": 0.25})
    assert training_rows(tmp_path / "none.csv") == ()


# --- what a score is worth


def test_shares_and_their_bounds_by_hand():
    # Low scores: 1 of 4 right, listeners 1 of 2 and 0 of 2. High scores: all right.
    task = make_task([[], []], [[0, 2, 3], [2, 3]], 5)
    rows = np.array([[2, 3, 0, 1], [2, 3, 0, 1]])
    scores = np.array([[0.9, 0.9, 0.1, 0.1], [0.9, 0.9, 0.1, 0.1]])
    low, high = score_groups(task, Ranked(rows=rows, scores=scores), num_groups=2)
    assert (low.share, low.pairs, high.share, high.pairs) == (1 / 4, 4, 1, 4)
    # Residuals (1 - 2/4) and (0 - 2/4): squares sum to 1/2, times 2 listeners over 1, the root over 4 pairs: 1/4.
    assert low.high == pytest.approx(1 / 4 + NORMAL_95 / 4)
    assert low.low == 0
    assert (high.low, high.high) == (1, 1)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 12))
def test_equal_scores_stay_together_and_none_is_lost(values, num_groups):
    count = len(values)
    ranked = Ranked(rows=np.arange(count)[None], scores=np.array([values], dtype=np.float64))
    groups = score_groups(make_task([[]], [[0]], count), ranked, num_groups)
    assert sum(group.pairs for group in groups) == count
    assert all(one.highest < other.lowest for one, other in pairwise(groups))
    assert sum(group.share * group.pairs for group in groups) == pytest.approx(1)


def test_nothing_recommended_has_no_groups():
    nothing = Ranked(rows=np.full((1, 2), -1), scores=np.full((1, 2), -np.inf))
    assert score_groups(make_task([[]], [[0]], 2), nothing) == ()


# --- contents and listeners


def test_examples_are_chosen_by_plays():
    task = make_task([[0]], [[3, 4]], 6, cold=(3, 4), train_counts=[1, 7, 3, 0, 0, 0])
    assert examples(task, np.array([0, 0, 0, 0, 0, 5])) == {"well known": 1, "middling": 2, "cold": 3, "artist": 5}
    assert examples(make_task([[]], [[0]], 1), np.zeros(1, dtype=int)) == {}


def test_artists_count_the_plays_of_what_can_be_played():
    table = contents(
        ("a", "artist", "Ann", ["a"], None),
        ("t1", "track", "One", ["a", "nobody"], ["folk"]),
        ("t2", "track", None, ["a"], None),
        ("p", "playlist", "Mix", ["a"], None),
    )
    task = make_task([[]], [[1]], 4, cold=(2,), train_counts=[9, 2, 3, 9])
    cards = ContentCards(table, task)
    assert cards.artist_plays.tolist() == [5, 0, 0, 0]
    assert cards[1].line == "One · Ann, nobody · track · folk"
    # Without a title an id; an artist is not told to be by itself.
    assert cards[2].line == "t2 · Ann · track · cold"
    assert cards[0].line == "Ann · artist"


def test_neighbours_are_the_nearest_of_their_like():
    task = make_task([[0]], [[1]], 4, train_counts=[5, 1, 1, 0])
    angles = np.array([0.0, 0.4, 0.1, 0.2])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = {one.role: one for one in neighbourhoods(task, vectors, ContentCards(tracks(4), task))}
    assert [card.content_id for card in found["well known"].neighbours] == ["t2", "t3", "t1"]
    assert found["well known"].similarities == pytest.approx([math.cos(angle) for angle in (0.1, 0.2, 0.4)])


@pytest.mark.parametrize(("number", "method"), [(0, "PCA"), (1, "PCA"), (12, "PCA"), (61, "t-SNE")])
def test_the_map_is_the_same_every_time(number, method):
    vectors = np.random.default_rng(0).normal(size=(number, 6))
    if number:
        vectors[0] = 0  # has no vector
    cards = ContentCards(tracks(max(number, 1)), make_task([[]], [[0]], max(number, 1)))
    one, other = (space_map(vectors, cards, seed=3) for _ in range(2))
    assert one.method == method
    assert len(one.cards) == max(number - 1, 0)
    assert np.isfinite(one.positions).all()
    np.testing.assert_array_equal(one.positions, other.positions)


def test_a_large_map_is_a_sample(monkeypatch):
    monkeypatch.setattr("towers.evaluation.report.space.MAX_POINTS", 5)
    cards = ContentCards(tracks(40), make_task([[]], [[0]], 40))
    found = space_map(np.eye(40), cards, seed=1)
    assert len({card.content_id for card in found.cards}) == 5


def test_a_listener_with_recent_contents_once_and_hits():
    # The listener heard 1 2 1; 4 and 0 are played afterwards, and 2 again.
    task = make_task([[1, 2, 1]], [[0, 2, 4]], 5)
    ranked = Ranked(rows=np.array([[3, 0, -1]]), scores=np.array([[2.0, 1.0, -np.inf]]))
    users = [f"user {row}" for row in range(101)]
    found = {one.role: one for one in listener_examples(task, ranked, ContentCards(tracks(5), task), users)}
    (one,) = found.values()
    assert (one.user, one.num_events, one.num_targets) == ("user 100", 3, 2)
    assert [card.content_id for card in one.recent] == ["t1", "t2"]
    assert [(place.card.content_id, place.score, place.is_hit) for place in one.recommended] == [
        ("t3", 2.0, False),
        ("t0", 1.0, True),
    ]


def test_listeners_are_drawn_by_the_length_of_their_history():
    task = make_task([[0] * 9, [], [0], [0] * 4], [[1]] * 4, 2)
    assert chosen(task) == {"a short history": 2, "a middling history": 3, "a long history": 0, "no history": 1}


# --- the data


def test_data_profile_of_a_store(store):
    found = data_profile(store)
    lengths = np.diff(store.histories.offsets)
    assert found.counts["users"] == len(lengths)
    assert sum(found.kinds.values()) == found.counts["contents"]
    assert found.history_lengths[1] == lengths.max()
    assert list(found.times) == ["first event", "validation begins", "test begins", "last event"]
    assert found.times["test begins"] == "2026-02-04 00:00 UTC"
    assert found.times["first event"] == "2026-01-05 00:00 UTC"


# --- drawing


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
