"""Judgements of policies: figures, segments, ratios with intervals, and processes."""

import numpy as np
import pytest

from tests.simulation.environment.small import population, simulator
from towers.simulation.environment.comparing import against, compared, segments
from towers.simulation.environment.judging import BY_DAY, FIGURES, Judged, entropy_bits, judge, tried_artists
from towers.simulation.environment.making import make_world
from towers.simulation.environment.policies import MostPlayed, Nearest, RandomCandidates
from towers.simulation.environment.rewards import RETURN_WEIGHTS
from towers.simulation.environment.value import value_of
from towers.simulation.environment.world import ListeningWorld

SPACE = simulator().space
POLICIES = RandomCandidates(SPACE, 4), Nearest(SPACE, 4)


def world(listeners: int = 16, days: float = 1.5) -> ListeningWorld:
    return make_world(
        simulator(), listeners, population=population(), days=days, slate_size=4, num_candidates=30, own_pull=2.0
    )


@pytest.fixture(scope="module")
def judged() -> list[Judged]:
    return judge(POLICIES, {"as fitted": world()}, [0, 1])


def test_figures_are_what_the_reward_counts_and_more(judged: list[Judged]) -> None:
    value = value_of(POLICIES[1], world(), [0, 1])
    nearest = judged[1]
    for name, part in value.parts.items():
        np.testing.assert_array_equal(nearest.figures[name], part)
    assert set(nearest.figures) == set(FIGURES)
    assert nearest.returns() == pytest.approx(value.reward(RETURN_WEIGHTS))
    for one in judged:
        figures = one.figures
        np.testing.assert_array_equal(figures["plays"], figures["streams"] + figures["skips"])
        np.testing.assert_array_equal(figures["slots"], 4 * figures["plays"])
        np.testing.assert_array_equal(one.shown.sum(axis=1), figures["slots"])
        np.testing.assert_array_equal(one.streamed.sum(axis=1), figures["streams"])
        for name in BY_DAY:
            np.testing.assert_array_equal(one.by_day[name].sum(axis=1), figures[name])
        assert (figures["clicks"] <= figures["plays"]).all()
        assert 0.0 < figures["clicks"].sum() < figures["plays"].sum()
        assert (figures["tried_artists"] >= figures["adopted_artists"]).all()
        assert (figures["adopted_artists"] >= figures["kept_artists"]).all()
        assert ((figures["shown_new_artists"] >= 0) & (figures["shown_new_artists"] <= 1)).all()
    np.testing.assert_array_equal(judged[0].who, judged[1].who)
    np.testing.assert_array_equal(judged[0].before["plays"], judged[1].before["plays"])


@pytest.mark.slow
def test_processes_change_nothing(judged: list[Judged]) -> None:
    told: list[tuple[int, int]] = []
    again = judge(POLICIES, {"as fitted": world()}, [0, 1], lambda done, of: told.append((done, of)), processes=2)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for one, other in zip(judged, again, strict=True):
        assert (one.policy, one.world) == (other.policy, other.world)
        for name in FIGURES:
            np.testing.assert_array_equal(one.figures[name], other.figures[name])


def test_artists_who_were_tried_were_unknown_before() -> None:
    made, policy = world(8), MostPlayed(SPACE, 4)
    policy.begin(0)
    made.reset(np.arange(8), np.random.default_rng(0))
    knew = [set(row[row >= 0]) for row in made.listeners.state.artists.content.copy()]
    streamed: list[set[int]] = [set() for _ in range(8)]
    over = np.zeros(8, bool)
    while len(rows := np.flatnonzero(~over)):
        step = made.step(rows, policy.act(made.observe(rows)))
        for row, content, is_stream in zip(rows, step.content, step.parts["streams"], strict=True):
            if is_stream:
                streamed[row].add(int(SPACE.artist[content]))
        over[rows] = step.terminated | step.truncated
    expected = [len(artists - known) for artists, known in zip(streamed, knew, strict=True)]
    assert list(tried_artists(made.listeners.state, made.begin_us)) == expected


def test_entropy_in_bits() -> None:
    assert entropy_bits(np.array([[1.0, 1, 1, 1], [2, 2, 0, 0], [5, 0, 0, 0], [0, 0, 0, 0]])) == pytest.approx(
        [2, 1, 0, 0]
    )


def test_an_interval_of_a_ratio_holds_the_truth_as_often_as_it_says() -> None:
    rng, held, tries = np.random.default_rng(0), 0, 25
    for seed in range(tries):
        level = rng.gamma(4.0, size=200)
        other = level + 0.3 * rng.normal(size=200)
        one = 1.1 * level + 0.3 * rng.normal(size=200)
        found = compared(one, other, seed=seed)
        assert found.ratio_low <= found.ratio <= found.ratio_high
        held += found.ratio_low <= 1.1 <= found.ratio_high
        # Pairs are kept: apart, the interval would be ten times as wide.
        assert found.ratio_high - found.ratio_low < 0.05
    assert held >= tries * 0.95 - 3 * np.sqrt(tries * 0.95 * 0.05)


def test_rows_of_a_person_are_drawn_together() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=50), 10)
    apart, together = compared(values, np.zeros(500)), compared(values, np.zeros(500), np.repeat(np.arange(50), 10))
    widths = [one.difference_high - one.difference_low for one in (apart, together)]
    assert widths[1] / widths[0] == pytest.approx(np.sqrt(10), rel=0.15)
    assert np.isnan(together.ratio)


def test_gains_are_told_by_segment(judged: list[Judged]) -> None:
    groups = segments(judged[0])
    assert list(groups) == ["new", "light", "specialists", "others"]
    assert (np.sum(list(groups.values()), axis=0) >= 1).all()
    for among in groups.values():
        found = against(judged[1], judged[0], among=among)["streams"]
        assert found.listeners == among.sum()
        if among.any():
            expected = judged[1].figures["streams"][among].mean() - judged[0].figures["streams"][among].mean()
            assert found.difference == pytest.approx(expected)
    nobody = against(judged[1], judged[0], among=np.zeros(len(judged[0]), bool))["return"]
    assert nobody.listeners == 0
    assert np.isnan(nobody.mean)
    with pytest.raises(ValueError, match="other listeners"):
        against(judged[0], judge(POLICIES[:1], {"as fitted": world(30)}, [0])[0])
