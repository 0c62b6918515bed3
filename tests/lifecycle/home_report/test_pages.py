"""Pages of the home page, of real plays of a small world and of a judged log."""

import json
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from rich.console import Console

from tests.evaluation.off_policy.test_judge import JUDGE, logged
from towers.evaluation.intervals import Interval
from towers.lifecycle.gate.verdict import Force, Outcome, Verdict
from towers.lifecycle.home_report.pages import (
    render_judgement,
    render_simulation,
    write_judgement_page,
    write_simulation_page,
)
from towers.lifecycle.home_report.playing import played
from towers.lifecycle.home_report.tables import estimates_table, simulation_cells, simulation_table
from towers.policies.bandit.cascade import Cascade
from towers.policies.bandit.segment_rules import BetaDraws
from towers.policies.bandit.segment_wise import SegmentWise
from towers.policies.bandit.uniform import Uniform
from towers.simulation.carousel.changes import NewCards
from towers.simulation.carousel.made import made_carousel

ABOUT = {"title": "Thirty <cards>", "world": {"cards": 30}, "seeds": [0, 1]}


@cache
def plays(changes=(), seeds=(0, 1)):
    """Plays of random slates, and of Thompson sampling with a prior near the truth."""
    world = made_carousel(cards=30, listeners=60, segments=3, mean_bias=-2.0)
    policies = {
        "random": lambda seed: Uniform(),
        "thompson": lambda seed: SegmentWise(rule=BetaDraws(beta=9.0), policy_id="thompson", floor=0.0, seed=seed),
    }
    return tuple(
        played(name, make(seed), world, Cascade(), rounds=6, listeners=60, changes=changes, seed=seed, predicted=3)
        for seed in seeds
        for name, make in policies.items()
    )


@cache
def judged():
    log = logged()
    features = np.random.default_rng(1).normal(size=(2, len(log), 4))
    return JUDGE.judge(log, features[0], features[1])


REFUSED = Verdict(
    outcomes=(
        Outcome(rule="effective_requests", status="passed", words="300 of 300"),
        Outcome(rule="lower_bound", status="refused", words="below .98"),
        Outcome(rule="new_cards", status="does not apply", words="production has no new_cards"),
    )
)


def printed(table):
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def sections(page):
    return re.findall(r'<section id="(\w+)"', page)


def test_a_page_of_plays(tmp_path):
    path = tmp_path / "deeper" / "simulated.html"
    write_simulation_page(plays(), ABOUT, path)
    page = path.read_text()
    assert sections(page) == ["regret", "calibration", "exposure", "about"]
    assert "<h1>Thirty &lt;cards&gt;</h1>" in page
    assert "<th>world.cards</th><td>30</td>" in page
    assert page == render_simulation(plays(), ABOUT), "the same plays give the same page"
    assert page.count("<svg") == 2 + 1 + 2  # regret, calibration, and what each policy shows
    for name, cell in zip(simulation_cells(plays()).headings, simulation_cells(plays()).rows[1], strict=True):
        assert f">{cell}<" in page, name
    assert not re.search(r"<script|<link[^>]+href=\"[^d]|src=|url\((?!#)", page), "a page loads nothing"
    assert sorted(each.name for each in path.parent.iterdir()) == ["simulated.html", "simulated.json"]
    told = json.loads(path.with_suffix(".json").read_text(), parse_constant=pytest.fail)
    assert told["about"] == ABOUT
    assert [one["name"] for one in told["played"]] == ["random", "thompson"] * 2
    assert told["played"][1]["figures"] == plays()[1].figures
    assert len(told["played"][1]["calibration"]["bins"]) > 1
    assert told["played"][0]["calibration"] is None


def test_new_cards_have_their_chart_and_their_columns():
    page = render_simulation(plays((NewCards(before_round=3, cards=4),), seeds=(0,)), {})
    assert 'id="new-cards"' in page
    assert "recovered in" in page


def test_without_predictions_nothing_is_said_of_them():
    page = render_simulation([one for one in plays() if one.name == "random"], {})
    assert sections(page) == ["regret", "exposure"]
    assert "new-cards" not in page
    assert "calibration error" not in page


def test_means_over_seeds():
    """The row of a policy holds the mean, the least and the greatest of its plays."""
    cells = simulation_cells(plays())
    totals = [one.figures["cumulative"] for one in plays() if one.name == "thompson"]
    row = dict(zip(cells.headings, cells.rows[1], strict=True))
    assert row["regret / random's"] == f"{np.mean(totals):.3f}"
    assert row["over seeds"] == f"{min(totals):.3f} to {max(totals):.3f}"
    assert "over seeds" not in simulation_cells(plays(seeds=(0,))).headings
    text = printed(simulation_table(plays()))
    assert all(cell in text for row in cells.rows for cell in row)


def test_a_policy_that_never_recovers_says_so():
    one = plays((NewCards(before_round=3, cards=4),), seeds=(0,))[1]
    worse = replace(one, rounds=(*one.rounds[:3], *(replace(each, expected=0.0) for each in one.rounds[3:])))
    cells = simulation_cells([worse])
    assert cells.rows[0][cells.headings.index("recovered in")] == "never"


def test_a_page_of_a_judged_log(tmp_path):
    path = tmp_path / "judged.html"
    write_judgement_page(judged(), REFUSED, {"log": "impressions"}, path)
    page = path.read_text()
    assert sections(page) == ["gate", "estimates", "weights", "guards", "about"]
    assert "Refused by lower_bound." in page
    assert '<span class="failed">refused</span></td><td>below .98</td>' in page
    for one in (judged().estimates["dr"], judged().production, judged().guards["skips"].new):
        assert f">{one.mean:.4f}</td>" in page
        assert f">{one.low:.4f} to {one.high:.4f}</td>" in page
    rows = 3 + 8 + 2 + 3 + 1  # rules, estimators with the bound and production, slots, guards, what it was made from
    assert page.count("<tr><th>") == rows + 4  # and four headings
    told = json.loads(path.with_suffix(".json").read_text(), parse_constant=pytest.fail)
    assert told["result"]["estimates"]["dr"]["mean"] == judged().estimates["dr"].mean
    assert told["verdict"]["refused"] == ["lower_bound"]
    assert render_judgement(judged(), REFUSED, {}) == render_judgement(judged(), REFUSED, {})


def test_what_is_not_there_is_left_out():
    bare = JUDGE.judge(replace(logged(), guards={}, kinds=None))
    page = render_judgement(bare, None, {})
    assert sections(page) == ["estimates", "weights"]
    assert "Refused" not in page
    assert "The gate lets it pass." not in page


def test_who_forces_is_named():
    page = render_judgement(judged(), replace(REFUSED, force=Force(why="a fair", who="ann@desk")), {})
    assert "Forced by ann@desk: a fair (refused by: lower_bound)." in page


def test_bounds_without_an_end(tmp_path):
    """A single listener has no empirical-Bernstein bounds, and resamples without weight give no interval."""
    endless = replace(
        judged(),
        bernstein=Interval(mean=0.5, low=-np.inf, high=np.inf),
        estimates=judged().estimates | {"snips": Interval(mean=0.5, low=np.nan, high=np.nan)},
    )
    write_judgement_page(endless, None, {}, tmp_path / "judged.html")
    page = (tmp_path / "judged.html").read_text()
    assert "−∞ to ∞" in page
    assert "– to –" in page
    told = json.loads((tmp_path / "judged.json").read_text(), parse_constant=pytest.fail)
    assert told["result"]["bernstein"]["high"] is None


def test_estimates_in_a_terminal():
    text = printed(estimates_table(judged()))
    dr, production = judged().estimates["dr"], judged().production.mean
    assert f"{dr.mean:.4f}" in text
    assert f"{dr.mean / production:.3f}" in text
    assert "production" in text
