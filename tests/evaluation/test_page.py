"""The page of an evaluation: its content, and that no text in it is taken for markup."""

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.contracts.ranker import make_task
from tests.evaluation.small_report import MARKUP, small_report
from towers.evaluation.intervals import differences_to_each
from towers.evaluation.report.figures import draw, figures
from towers.evaluation.report.page import render, too_small, verdict, write_page
from towers.evaluation.report.pieces import build_report, list_metrics, strongest


@pytest.fixture(scope="module")
def report(world_store):
    return small_report(world_store)


@pytest.fixture(scope="module")
def page(report):
    return render(report)


class Outline(HTMLParser):
    """The tags of a page, the texts of some of them, and the addresses that it would load."""

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


@pytest.mark.slow
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
    """There are as many bounds as baselines times slices, from the same resamples as in the function of all of them."""
    keys = ["recall@5", "recall@5/familiar", "recall@5/discovery"]
    assert report.differences == differences_to_each(report.model, report.evaluations[1:], keys)


def with_differences(report, **bounds):
    """Returns the report with the same two baselines, each with a difference in discovery alone."""
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
def test_the_page_tells_how_baselines_were_tuned(page, report, is_flattered):
    from towers.evaluation.choice import Choice, CoreSeconds, Trial

    trials = tuple(Trial(settings={"l2": l2}, figure=1 / l2, listeners=4321) for l2 in (20.0, 500.0))
    choice = Choice(
        settings={"l2": 20.0},
        metric="recall@20/discovery",
        trials=trials,
        left_out=({"l2": 1000.0},),
        listeners_left_out=7654 if is_flattered else 0,
        is_on_evaluated_period=is_flattered,
        core_seconds=CoreSeconds(tuning=12.34, fit=3.0, ranking=0.5),
    )
    shown = render(replace(report, tuning={"EASE": choice.as_dict(), "random": Choice().as_dict()}))
    assert "<td>l2 20.0</td>" in shown
    cells = re.findall(r'<td class="number">([^<]*)</td>', shown[shown.index("<td>l2 20.0</td>") :])
    assert cells[:6] == ["2", "1", "4,321", "12.3", "3.0", "0.5"]
    assert "<td>recall@20/discovery</td>" in shown
    assert ">listeners, at most</th>" in shown
    assert ("a final evaluation on more listeners (EASE: 7,654)." in shown) == is_flattered
    assert ("the very period shown here" in shown) == is_flattered
    assert "How the baselines were tuned" in shown
    assert report.tuning == {}
    assert "How the baselines were tuned" not in page


def test_intervals_of_charts_are_said_to_hold_alone(report):
    pictures = draw(report)
    for picture in (*pictures["headline"], *pictures["slices"]):
        assert "each is for one value alone" in picture.caption


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
