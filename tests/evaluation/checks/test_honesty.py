"""Each check passes on an honest model and fails on one that is broken on purpose."""

import time
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from tests.contracts.ranker import checkerboard, lists_of, make_task
from tests.evaluation.tastes import CONTENTS, LISTENERS, Tastes
from towers.evaluation.baselines.chance import Random
from towers.evaluation.checks.honesty import (
    Check,
    list_audit,
    permuted_targets,
    shuffled_listeners,
    table,
    with_drawn_targets,
)
from towers.evaluation.harness import evaluate
from towers.evaluation.ranking.rankers import DenseRanker, Ranked
from towers.evaluation.ranking.vectors import VectorRanker
from towers.features.ragged import Ragged


@pytest.fixture(scope="module")
def world() -> Tastes:
    return Tastes()


class Peeking:
    """A scorer that reads the targets."""

    name = "peeking"

    def __init__(self, task):
        self._task = task

    def scores(self, positions):
        targets = self._task.targets.take(positions)
        scores = np.zeros((len(positions), self._task.num_contents), np.float32)
        scores[targets.list_of_value, targets.values] = 1
        return scores


class Given:
    """A scorer that returns given scores."""

    name = "given"

    def __init__(self, scores):
        self._scores = scores

    def scores(self, positions):
        return self._scores[positions]


class TestPermutedTargets:
    @pytest.mark.parametrize("seed", range(3))
    def test_the_best_of_rankers_is_as_good_as_chance(self, world, seed):
        check = permuted_targets(
            world.test, lambda task: VectorRanker(task, "own taste", world.tastes, world.contents), seed=seed
        )
        assert check.passed
        # Of 5 targets among the 300 - 13 contents not heard, a list of 20 holds 20 * 5 / 287, and recall is over 5.
        assert check.figures["expected"] == pytest.approx(20 / 287)

    def test_a_ranker_that_knows_the_targets_is_caught(self, world):
        check = permuted_targets(world.test, lambda task: DenseRanker(task, Peeking(task)))
        assert check.passed is False
        assert check.figures["recall"] == 1
        assert "peeking" in check.name

    @pytest.mark.unhooked  # the hook would take most of the time
    def test_the_standard_error_is_that_of_many_draws(self, world):
        def build(task):
            return VectorRanker(task, "own taste", world.tastes, world.contents)

        found = [permuted_targets(world.test, build, seed=seed).figures for seed in range(60)]
        spread = np.std([figures["recall"] for figures in found], ddof=1)
        # The error of a standard deviation from 60 draws is 9 %.
        assert spread == pytest.approx(found[0]["error"], rel=0.3)
        assert max(abs(figures["z"]) for figures in found) < 4

    def test_unequal_listeners(self):
        """The listeners have 4 and 3 unheard contents; with one place each, 1 of 2 and 1 of 1 targets fit."""
        task = make_task([[0], [0, 1]], [[1, 2], [2]], 5)
        check = permuted_targets(task, lambda task: DenseRanker(task, Random(task)), k=1)
        assert check.figures["expected"] == pytest.approx((2 / 4 + 1 / 3) / 2)
        # A listener's hit is a coin of that chance.
        assert check.figures["error"] == pytest.approx(np.sqrt(2 / 4 * 2 / 4 + 1 / 3 * 2 / 3) / 2)
        assert check.passed is None, "fewer than one hit is expected"

    @pytest.mark.unhooked  # the hook would take most of the time
    def test_what_cannot_be_listed_is_drawn_and_missed(self):
        """Ranks that cannot be listed are drawn. Of the 4 contents that the one listener has not heard 3 have no
        vector: the list of 1 holds one of 2 targets in 1 * 2 / 4 of the cases, however long it could be.
        """
        task = make_task([[0]], [[1, 2]], 5)
        vectors = np.array([[1.0], [0.0], [1.0], [0.0], [0.0]], dtype=np.float32)
        users = np.ones((1, 1), dtype=np.float32)
        found = [
            permuted_targets(task, lambda drawn: VectorRanker(drawn, "some", users, vectors), seed=seed, k=4).figures
            for seed in range(200)
        ]
        assert {figures["expected"] for figures in found} == {1 * 2 / 4 / 2}
        assert {figures["error"] for figures in found} == {np.sqrt(1 / 2 * 1 / 2) / 2}
        assert {figures["recall"] for figures in found} == {0, 1 / 2}
        # 200 coins: a standard error of 1 / 4 / sqrt(200).
        assert np.mean([figures["recall"] for figures in found]) == pytest.approx(1 / 4, abs=4 / 4 / np.sqrt(200))

    def test_missing_contents_are_as_good_as_chance(self, world):
        vectors = world.contents.copy()
        vectors[::3] = 0
        check = permuted_targets(world.test, lambda task: VectorRanker(task, "some", world.tastes, vectors), k=200)
        assert check.passed
        missing = np.array(
            [np.isin(np.arange(0, CONTENTS, 3), heard).sum() for heard in lists_of(world.test.histories)]
        )
        # All that is listed: 200 contents less those heard, 13 less the heard among the missing.
        listed = 200 - 13 + missing
        assert check.figures["expected"] == pytest.approx(np.mean(listed / 287))

    def test_lists_of_everything_have_no_error(self):
        check = permuted_targets(checkerboard(), lambda task: DenseRanker(task, Random(task)))
        assert check.passed
        assert check.figures == {"recall": 1, "expected": 1, "error": 0, "z": 0}

    def test_nobody(self):
        task = make_task([], [], 3)
        assert permuted_targets(task, lambda task: DenseRanker(task, Random(task))).passed is None


class TestShuffledListeners:
    def test_what_is_personal_is_lost(self, world):
        _, evaluation = world.evaluated(world.tastes)
        check = shuffled_listeners(world.test, evaluation, world.tastes, world.ranked)
        assert check.passed is None
        assert check.figures["personal_share"] > 0.6
        assert check.figures["own"] > 4 * 20 / 287

    def test_what_is_the_same_for_all_is_kept(self, world):
        vectors = np.tile(world.tastes[:1], (LISTENERS, 1))
        _, evaluation = world.evaluated(vectors)
        check = shuffled_listeners(world.test, evaluation, vectors, world.ranked)
        assert check.figures["personal_share"] == 0
        assert check.figures["own"] == check.figures["shuffled"]

    def test_who_was_evaluated_ranks(self, world):
        """With missing contents too the same vector gives the same list."""
        contents = world.contents.copy()
        contents[::3] = 0
        vectors = np.tile(world.tastes[:1], (LISTENERS, 1))
        ranked = []

        def build(others: np.ndarray) -> DenseRanker:
            ranked.append(others)
            scores = np.where(contents.any(axis=1), others @ contents.T, -np.inf)
            return DenseRanker(world.test, Given(scores))

        evaluation = evaluate(world.test, build(vectors), filter_seen=True, ks=(20,))
        check = shuffled_listeners(world.test, evaluation, vectors, build)
        assert len(ranked) == 2
        assert check.figures["own"] == check.figures["shuffled"] > 0

    def test_too_few(self, world):
        evaluation = replace(world.evaluated(world.tastes)[1], min_users=LISTENERS + 1)
        assert shuffled_listeners(world.test, evaluation, world.tastes, world.ranked).passed is None


class TestLists:
    """Candidates are all but content 5; 3 and 4 are cold; the one listener has heard 0."""

    @pytest.fixture
    def task(self):
        task = make_task([[0]], [[3]], 6, cold=(3, 4))
        return replace(task, is_candidate=np.arange(6) != 5)

    def with_list(self, task, ranking, rows) -> Check:
        ranked = Ranked(rows=np.array([rows], np.int32), scores=np.zeros((1, len(rows)), np.float32))
        evaluation = evaluate(task, DenseRanker(task, Random(task)), filter_seen=True, min_users=1)
        return list_audit(task, [replace(evaluation, lists={**evaluation.lists, ranking: ranked})])

    def test_a_rankers_own_lists_are_right(self, task):
        evaluation = evaluate(task, DenseRanker(task, Random(task)), filter_seen=True, min_users=1)
        check = list_audit(task, [evaluation])
        assert check.passed
        # Five candidates, four of them not heard, two of them cold.
        assert check.figures["places"] == 5 + 4 + 2

    @pytest.mark.parametrize(
        ("ranking", "rows", "fault"),
        [
            ("unseen", [1, 0, 2], "unseen: 1 heard before"),
            ("unseen", [1, 5, 2], "unseen: 1 no candidates"),
            ("unseen", [1, 2, 1, 2], "unseen: 2 twice"),
            ("unseen_cold", [3, 1], "unseen_cold: 1 played in training"),
            ("everything", [0, 5], "everything: 1 no candidates"),
        ],
    )
    def test_faults_are_found(self, task, ranking, rows, fault):
        check = self.with_list(task, ranking, rows)
        assert check.passed is False
        assert check.detail == f"random, {fault}"

    def test_places_that_are_not_filled_are_no_fault(self, task):
        assert self.with_list(task, "unseen", [1, -1, -1]).passed

    def test_what_was_heard_may_stand_among_everything(self, task):
        assert self.with_list(task, "everything", [0, 1]).passed

    def test_lists_of_others(self, task):
        evaluation = evaluate(task, DenseRanker(task, Random(task)), filter_seen=True, min_users=1)
        with pytest.raises(ValueError, match="random"):
            list_audit(replace(task, user_rows=np.array([7])), [evaluation])


def test_the_table_shows_verdicts():
    checks = [
        Check(name=name, passed=passed, detail=f"of {name}")
        for name, passed in zip("abc", (True, False, None), strict=True)
    ]
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table(checks))
    lines = [line for line in capture.get().splitlines() if " of " in line]
    assert ["passed" in line for line in lines] == [True, False, False]
    assert ["FAILED" in line for line in lines] == [False, True, False]


def test_targets_are_drawn_from_what_is_not_heard_and_can_be_ranked():
    task = make_task([[0, 1], [2]], [[2, 5], [0, 1, 3]], 6)
    task = replace(task, is_candidate=np.arange(6) != 5)
    for seed in range(20):
        drawn, unheard = with_drawn_targets(task, seed)
        assert unheard.tolist() == [3, 4]
        first, second = drawn.targets[0].tolist(), drawn.targets[1].tolist()
        assert len(first) == 1
        assert set(first) <= {2, 3, 4}
        assert len(set(second)) == len(second) == 3
        assert set(second) <= {0, 1, 3, 4}
    assert isinstance(drawn.targets, Ragged)


def test_targets_are_drawn_uniformly():
    """Each of the 3 candidates that the one listener has not heard is among the 2 targets in 2 of 3 draws."""
    task = replace(make_task([[1, 4, 4, 6]], [[0, 2]], 8), is_candidate=~np.isin(np.arange(8), [3, 6, 7]))
    draws = 900
    drawn = [with_drawn_targets(task, seed)[0].targets.values for seed in range(draws)]
    counts = np.bincount(np.concatenate(drawn), minlength=8)
    assert np.flatnonzero(counts).tolist() == [0, 2, 5]
    np.testing.assert_allclose(counts[[0, 2, 5]] / draws, 2 / 3, atol=4 * np.sqrt(2 / 9 / draws))


def test_nothing_is_left_to_draw():
    drawn, unheard = with_drawn_targets(make_task([[0, 1]], [[1]], 2), 0)
    assert unheard.tolist() == [0]
    assert drawn.targets.lengths.tolist() == [0]


def test_a_draw_does_not_pass_over_the_catalogue_for_each_listener():
    """A mask of a million contents for each of 2,000 listeners would take five seconds of the processor; this, 0.05."""
    contents, listeners = 1_000_000, 2_000
    task = make_task([[place, 7] for place in range(listeners)], [[0, 1, 2]] * listeners, contents)
    begin = time.process_time()
    with_drawn_targets(task, 0)
    assert time.process_time() - begin < 1
