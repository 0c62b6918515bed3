"""Contract of every baseline as a `Scorer`, on a checkerboard that can be solved in the head.

Two groups of listeners, two groups of contents (even and odd rows). A listener has heard all
contents of their group but one, and that one is the target. The last listener has heard nothing; for them every
content is as good as another, so the first one is the target.
"""

from collections.abc import Callable

import numpy as np
import pytest

from towers.contract.schema import KIND_CODES
from towers.evaluation.harness import evaluate
from towers.evaluation.ranking.choosing import ranker_of
from towers.evaluation.ranking.rankers import DenseRanker, Scorer
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged

CONTENTS = 8
LISTENERS = 16


def make_task(
    histories: list[list[int]],
    targets: list[list[int]],
    num_contents: int,
    *,
    cold: tuple[int, ...] = (),
    train_counts: list[int] | None = None,
) -> EvaluationTask:
    """Makes a task of tracks, all candidates; listener rows start at 100, so that they differ from positions."""
    plays = np.bincount([row for history in histories for row in history], minlength=num_contents)
    return EvaluationTask(
        user_rows=100 + np.arange(len(histories)),
        histories=Ragged.from_lists(histories),
        targets=Ragged.from_lists(targets),
        is_candidate=np.ones(num_contents, dtype=bool),
        is_cold=np.isin(np.arange(num_contents), cold),
        train_counts=plays if train_counts is None else np.array(train_counts),
        kind_codes=np.full(num_contents, KIND_CODES["track"]),
        is_cold_user=np.array([not history for history in histories], dtype=bool),
    )


def checkerboard() -> EvaluationTask:
    missing = [2 * ((user // 2) % (CONTENTS // 2)) + user % 2 for user in range(LISTENERS)]
    histories = [[row for row in range(user % 2, CONTENTS, 2) if row != missing[user]] for user in range(LISTENERS)]
    return make_task([*histories, []], [*([row] for row in missing), [0]], CONTENTS)


def lists_of(ragged: Ragged) -> list[list[int]]:
    return [ragged[place].tolist() for place in range(len(ragged))]


class RankerContract:
    """Inherited by the tests of a ranker, whose fixture `build` makes it from a task and training histories."""

    @pytest.fixture
    def build(self) -> Callable[[EvaluationTask, Ragged], Scorer]:
        raise NotImplementedError

    @pytest.fixture
    def task(self) -> EvaluationTask:
        return checkerboard()

    @pytest.fixture
    def ranker(self, build, task) -> Scorer:
        return build(task, task.histories)

    def test_has_a_name(self, ranker):
        assert isinstance(ranker.name, str)
        assert ranker.name

    def test_scores_every_content_of_the_store(self, ranker):
        scores = ranker.scores(np.array([3, 0]))
        assert scores.shape == (2, CONTENTS)
        assert np.issubdtype(scores.dtype, np.floating)

    def test_scores_are_finite_without_a_history_too(self, ranker):
        assert np.isfinite(ranker.scores(np.arange(LISTENERS + 1))).all()

    def test_nobody_to_score(self, ranker):
        assert ranker.scores(np.arange(0)).shape == (0, CONTENTS)

    def test_a_score_depends_on_the_listener_alone(self, ranker):
        together = np.array(ranker.scores(np.arange(LISTENERS)))
        for position in (5, 0, LISTENERS - 1):
            np.testing.assert_allclose(ranker.scores(np.array([position]))[0], together[position], rtol=1e-5, atol=1e-6)
        backwards = ranker.scores(np.arange(LISTENERS)[::-1])
        np.testing.assert_allclose(backwards[::-1], together, rtol=1e-5, atol=1e-6)

    def test_the_same_build_gives_the_same_scores(self, build, task, ranker):
        again = build(task, task.histories)
        np.testing.assert_array_equal(again.scores(np.arange(4)), ranker.scores(np.arange(4)))

    def test_evaluates(self, ranker, task):
        means = evaluate(task, DenseRanker(task, ranker), filter_seen=False, min_users=1, ks=(1, CONTENTS)).means()
        assert means[f"recall@{CONTENTS}"] == 1
        assert means[f"recall@{CONTENTS}/discovery"] == 1

    def test_its_lists_are_those_of_all_its_scores(self, ranker, task):
        positions = np.arange(LISTENERS + 1)
        scores = np.array(ranker.scores(positions), dtype=np.float64)
        dense, quick = (each.rank(positions, 5) for each in (DenseRanker(task, ranker), ranker_of(task, ranker)))
        for ranking, expected in dense.items():
            found = quick[ranking].rows
            assert ((found < 0) == (expected.rows < 0)).all()
            # Products that are equal but for their rounding may change places.
            np.testing.assert_allclose(
                np.take_along_axis(scores, found, axis=1), np.take_along_axis(scores, expected.rows, axis=1), atol=1e-5
            )


class KnowingRankerContract(RankerContract):
    """Contract of rankers that know something of some contents and nothing of others (never heard, without artist and
    sound).
    """

    def test_what_it_knows_nothing_of_comes_last(self, build, task):
        larger = make_task(lists_of(task.histories), lists_of(task.targets), CONTENTS + 1)
        scores = build(larger, larger.histories).scores(np.arange(LISTENERS + 1))
        assert np.isfinite(scores).all()
        assert (scores[:, CONTENTS] < scores[:, :CONTENTS].min(axis=1)).all()


class PersonalRankerContract(RankerContract):
    """Contract of rankers that know what the listener heard."""

    def test_what_was_heard_comes_before_the_other_group(self, ranker, task):
        scores = ranker.scores(np.arange(LISTENERS))
        for user in range(LISTENERS):
            heard = scores[user, task.histories[user]]
            assert heard.min() > scores[user, 1 - user % 2 :: 2].max()


class CollaborativeRankerContract(PersonalRankerContract, KnowingRankerContract):
    """Contract of rankers that also know what other listeners heard."""

    def test_the_missing_content_of_the_own_group_is_found(self, ranker, task):
        means = evaluate(task, DenseRanker(task, ranker), filter_seen=True, min_users=1, ks=(1,)).means()
        assert means["hit_rate@1/discovery"] == 1
