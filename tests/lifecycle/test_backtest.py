"""Summaries of a backtest's nights: sums, lines, a table, a page."""

import io
import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from towers.evaluation.result import Evaluation, SliceResult
from towers.lifecycle.backtest import (
    ANEW,
    FROZEN,
    SERVED,
    PastNight,
    figures_of,
    lines,
    summed_up,
    table,
    write_nights,
)
from towers.lifecycle.backtest_page import render, write_backtest_page

KEY = "recall@20"


def night(day, served, frozen, anew=None, **more):
    quality = {SERVED: {KEY: served}, FROZEN: {KEY: frozen}} | ({} if anew is None else {ANEW: {KEY: anew}})
    ratios = {} if anew is None else {SERVED: (served / anew, 0.9, 1.1), FROZEN: (frozen / anew, 0.8, 1.0)}
    cost = {SERVED: 10.0} | ({} if anew is None else {ANEW: 50.0})
    return PastNight(**{"date": f"2026-01-{day:02}", "outcome": "published", "quality": quality, "ratios": ratios,
                    "core_s": cost, "listeners": 100, "version": f"v{day}"} | more)  # fmt: skip


GATE = {
    "main_metric": {"status": "refused", "words": "lost 9 % <of> it"},
    "coverage": {"status": "passed", "words": "more"},
}
NIGHTS = [
    night(1, 0.30, 0.30, 0.30),
    night(2, 0.24, 0.20, 0.30, outcome="refused", rules=("main_metric",), why="lost 9 %", gate=GATE),
    night(3, 0.30, 0.18),
    night(4, 0.27, 0.15, 0.30, space_kept=False, space_why="drift 0.4 over 0.3"),
    PastNight(date="2026-01-05", outcome="failed", why="disk full"),
]


class TestSummary:
    def test_counts_and_means(self):
        summary = summed_up(NIGHTS, KEY)
        assert (summary.nights, summary.published) == (5, 3)
        assert summary.refusals == {"main_metric": 1, "failed": 1}
        assert summary.means == pytest.approx({SERVED: 1.11 / 4, FROZEN: 0.83 / 4})
        # Of the nights on which a network was trained from scratch: 1, 2 and 4.
        assert summary.ratios == pytest.approx({SERVED: 0.9, FROZEN: 0.65 / 0.9})
        assert summary.worst[SERVED] == (pytest.approx(0.8), "2026-01-02")
        assert summary.last == pytest.approx({SERVED: 0.9, FROZEN: 0.5})
        assert summary.core_s == {SERVED: 40.0, ANEW: 150.0}
        assert summary.core_s_beside_anew == {SERVED: 30.0, ANEW: 150.0}
        assert summary.space_changes == ("2026-01-04",)

    def test_says_it_in_lines(self):
        told = "\n".join(lines(summed_up(NIGHTS, KEY), KEY))
        assert "3 of 5 nights published; not: main_metric 1, failed 1" in told
        assert "served reaches 90.0% of a training from scratch; least 80.0% on 2026-01-02" in told
        assert "space changed on 2026-01-04" in told

    def test_of_nothing(self):
        assert lines(summed_up([], KEY), KEY) == ["0 of 0 nights published", "space kept on every night"]

    def test_without_anybody_from_scratch(self):
        summary = summed_up([night(1, 0.3, 0.2), night(2, 0.5, 0.4)], KEY)
        assert summary.means == pytest.approx({SERVED: 0.4, FROZEN: 0.3})
        assert not summary.ratios


class TestFigures:
    @staticmethod
    def evaluation(values):
        result = SliceResult(positions=np.arange(len(values)), values={KEY: np.asarray(values, dtype=float)})
        return Evaluation(ranker="x", user_rows=np.arange(len(values)), slices={"all": result}, min_users=1)

    def test_ratios_are_of_means_with_bounds_over_listeners(self):
        generator = np.random.default_rng(0)
        anew = generator.random(2_000)
        quality, ratios = figures_of(
            {SERVED: self.evaluation(0.9 * anew), ANEW: self.evaluation(anew), FROZEN: self.evaluation(anew[::-1])}, KEY
        )
        assert quality[SERVED][KEY] == pytest.approx(0.9 * anew.mean())
        assert ratios[SERVED] == pytest.approx((0.9, 0.9, 0.9))
        mean, low, high = ratios[FROZEN]
        assert mean == pytest.approx(1.0)
        # sd of the ratio of two independent means: sqrt(2) * sd / mean / sqrt(n)
        expected = 1.96 * math.sqrt(2 / 2_000) * anew.std() / anew.mean()
        assert (high - low) / 2 == pytest.approx(expected, rel=0.15)
        assert ANEW not in ratios

    def test_without_a_hit_there_is_no_ratio(self):
        assert figures_of({SERVED: self.evaluation([1, 0]), ANEW: self.evaluation([0, 0])}, KEY)[1] == {}


class TestWritten:
    def test_reads_back(self, tmp_path):
        path = write_nights(NIGHTS, KEY, tmp_path)
        found = json.loads(path.read_text())
        assert [PastNight.from_json(night) for night in found["nights"]] == NIGHTS
        assert (found["main_metric"], found["summary"]["published"]) == (KEY, 3)

    def test_table_has_a_row_a_night(self):
        console = Console(width=200, record=True, file=io.StringIO())
        console.print(table(NIGHTS, KEY))
        told = console.export_text()
        assert "main_metric" in told
        assert "80.0%" in told
        assert sum("2026-01-" in line for line in told.splitlines()) == 5

    def test_page(self, tmp_path):
        write_backtest_page(NIGHTS, KEY, ["ndcg@20"], tmp_path / "nights.html", "catalogue & co")
        text = (tmp_path / "nights.html").read_text()
        assert text == render(NIGHTS, KEY, ["ndcg@20"], "catalogue & co")
        assert text.count("<svg") == 3  # quality, ratios, core-seconds
        for part in text.split("<svg")[1:]:
            ElementTree.fromstring("<svg" + part[: part.index("</svg>") + 6])
        assert "catalogue &amp; co" in text
        assert "lost 9 % &lt;of&gt; it" in text
        assert "drift 0.4 over 0.3" in text
        assert "nan" not in text.lower().replace("nanum", "")
        assert "http" not in text.replace("http://www.w3.org", "")

    def test_page_of_nothing(self):
        assert "0 of 0 nights" in render([], KEY, [], "x")
