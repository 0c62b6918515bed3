"""Baselines that place listeners and contents in a space: factorisations, the artist's mean, the sound."""

import numpy as np
import pytest

from tests.contracts.ranker import CONTENTS, LISTENERS, CollaborativeRankerContract, make_task
from towers.errors import UserError
from towers.evaluation.baselines.artists import ArtistMean
from towers.evaluation.baselines.factors import BPR, IALS
from towers.evaluation.baselines.sound import AudioStatistics
from towers.evaluation.harness import evaluate
from towers.evaluation.ranking.rankers import DenseRanker
from towers.features.ragged import Ragged


def random_task(listeners=30, contents=12, seed=0):
    """Draws a task with some contents heard repeatedly and the last one never."""
    plays = np.random.default_rng(seed).poisson(0.5, size=(listeners, contents))
    plays[:, -1] = 0
    lists = [np.repeat(np.arange(contents), row).tolist() for row in plays]
    task = make_task(lists, [[0]] * listeners, contents)
    # The listeners of the task are some of those of the store, whose rows count.
    rows = np.arange(0, listeners, 3)
    picked = make_task([lists[row] for row in rows], [[0]] * len(rows), contents)
    picked.user_rows[:] = rows
    return picked, task.histories, (plays > 0).astype(np.float64)


class TestIALS(CollaborativeRankerContract):
    @pytest.fixture
    def build(self):
        return lambda task, histories: IALS(task, histories, factors=4, regularization=0.1)

    def test_a_listener_is_the_closed_form(self):
        """x = (Y'Y + Y'(C - I)Y + l I)^-1 Y'C p, equation 4 of Hu, Koren and Volinsky 2008."""
        task, histories, heard = random_task()
        model = IALS(task, histories, factors=5, regularization=0.3, alpha=7.0, iterations=3)
        contents = model.content_vectors.astype(np.float64)
        for position, row in enumerate(task.user_rows):
            confidence = np.where(heard[row] > 0, 7.0, 1.0)
            left = contents.T @ (confidence[:, None] * contents) + 0.3 * np.eye(5)
            expected = np.linalg.solve(left, contents.T @ (confidence * heard[row]))
            np.testing.assert_allclose(model.user_vectors[position], expected, rtol=1e-3, atol=1e-4)

    def test_contents_are_near_the_closed_form(self):
        """The fit alternates until neither side moves; its contents are solved for by conjugate gradients."""
        _, histories, heard = random_task()
        everybody = make_task([histories[row].tolist() for row in range(30)], [[0]] * 30, 12)
        model = IALS(everybody, histories, factors=3, regularization=0.5, alpha=3.0, iterations=200)
        listeners = model.user_vectors.astype(np.float64)
        for row in range(12):
            confidence = np.where(heard[:, row] > 0, 3.0, 1.0)
            left = listeners.T @ (confidence[:, None] * listeners) + 0.5 * np.eye(3)
            expected = np.linalg.solve(left, listeners.T @ (confidence * heard[:, row]))
            np.testing.assert_allclose(model.content_vectors[row], expected, atol=5e-3)

    def test_another_seed_gives_other_vectors(self, task):
        first, second = (IALS(task, task.histories, factors=4, seed=seed) for seed in (0, 1))
        assert not np.array_equal(first.content_vectors, second.content_vectors)

    @pytest.mark.parametrize("setting", [{"factors": 0}, {"iterations": 0}, {"regularization": -1.0}, {"alpha": 0.0}])
    def test_refuses_settings_out_of_range(self, task, setting):
        with pytest.raises(ValueError, match="must be at least"):
            IALS(task, task.histories, **setting)


class TestBPR(CollaborativeRankerContract):
    @pytest.fixture
    def build(self):
        return lambda task, histories: BPR(task, histories_by_row(task, histories), factors=4, iterations=400)

    def test_the_missing_content_of_the_own_group_is_found(self, ranker, task):
        """For a listener who has heard nothing the biases of the contents decide, where other rankers have ties."""
        evaluation = evaluate(task, DenseRanker(task, ranker), filter_seen=True, min_users=1, ks=(1,))
        assert (evaluation.figures("hit_rate@1/discovery")[:LISTENERS] == 1).all()

    def test_another_seed_gives_other_scores(self):
        task, histories, _ = random_task()
        first, second = (BPR(task, histories, seed=seed).scores(np.arange(3)) for seed in (0, 1))
        assert not np.array_equal(first, second)

    def test_learns_whose_row_is_whose(self):
        """The task's listeners have any rows of the store."""
        histories = Ragged.from_lists([[0, 1], [2, 3]] * 20)
        task = make_task([[2, 3], [0, 1]], [[0], [0]], 4)
        task.user_rows[:] = [7, 12]
        scores = BPR(task, histories, factors=4, iterations=400).scores(np.arange(2))
        assert scores[0, 2:].min() > scores[0, :2].max()
        assert scores[1, :2].min() > scores[1, 2:].max()

    @pytest.mark.parametrize(
        "setting", [{"factors": 0}, {"iterations": 0}, {"regularization": -1.0}, {"learning_rate": 0.0}]
    )
    def test_refuses_settings_out_of_range(self, task, setting):
        with pytest.raises(ValueError, match="must be at least"):
            BPR(task, task.histories, **setting)


def histories_by_row(task, histories: Ragged) -> Ragged:
    """Returns histories by the store's rows: the task's listeners have their own, the others have heard nothing."""
    lists: list[list[int]] = [[] for _ in range(task.user_rows.max() + 1)]
    for position, row in enumerate(task.user_rows):
        lists[row] = histories[position].tolist()
    return Ragged.from_lists(lists)


class TestArtistMean(CollaborativeRankerContract):
    @pytest.fixture
    def build(self):
        """Each colour of the checkerboard has one artist; contents outside of it have none."""

        def build(task, histories):
            artists = Ragged.from_lists([[row % 2] if row < CONTENTS else [] for row in range(task.num_contents)])
            return ArtistMean(task, histories, artists, factors=4, regularization=0.1)

        return build

    def test_a_content_stands_at_the_mean_of_its_artists_others(self):
        task, histories, _ = random_task()
        artists = [[0], [0], [0, 1], [1], [], [2], [3], [3], [], [], [], [1, 0]]
        space = IALS(task, histories, factors=5, iterations=3)
        vectors = space.content_vectors
        expected = {
            0: (vectors[1] + vectors[2]) / 2,
            2: (vectors[0] + vectors[1] + vectors[3]) / 3,
            7: vectors[6],
            # The last content was never heard; content 2 shares both of its artists.
            11: (vectors[0] + vectors[1] + 2 * vectors[2] + vectors[3]) / 5,
        }
        everybody = np.arange(len(task.user_rows))
        scores = ArtistMean(task, histories, Ragged.from_lists(artists), factors=5, iterations=3).scores(everybody)
        for row, place in expected.items():
            np.testing.assert_allclose(scores[:, row], space.user_vectors @ place, rtol=1e-4, atol=1e-5)
        without_others = [4, 5, 8, 9, 10]
        assert (scores[:, without_others].max(axis=1) < np.delete(scores, without_others, axis=1).min(axis=1)).all()

    def test_refuses_data_without_artists(self, task):
        with pytest.raises(UserError, match="the contents of this data have none"):
            ArtistMean(task, task.histories, Ragged.from_lists([[]] * CONTENTS))


class TestAudioStatistics(CollaborativeRankerContract):
    @pytest.fixture
    def build(self):
        """The two colours of the checkerboard sound different; contents outside of it are silent."""

        def build(task, histories):
            rows = np.arange(task.num_contents)
            sounds = np.stack([(rows % 2).astype(np.float32), 7 - (rows % 2), rows % 3 * 1e-9], axis=1)
            sounds[CONTENTS:] = np.nan
            return AudioStatistics(task, sounds.astype(np.float32))

        return build

    def test_cosine_of_standardised_statistics(self):
        # Standardised: (1, 1), (-1, 1), (1, -1), (-1, -1), and nothing.
        sounds = np.array([[3, 10], [1, 10], [3, 0], [1, 0], [np.nan, np.nan]], dtype=np.float32)
        # The second listener is at (1, 1) + (1, 1) + (1, -1), the third at nothing that has a sound.
        task = make_task([[0], [0, 0, 2], [4]], [[1]] * 3, 5)
        scores = AudioStatistics(task, sounds).scores(np.arange(3))
        mean = np.array([3, 1]) / np.sqrt(10)
        expected = mean @ np.array([[1, -1, 1, -1], [1, 1, -1, -1]]) / np.sqrt(2)
        np.testing.assert_allclose(scores[0], [1, 0, 0, -1, -2], atol=1e-6)
        np.testing.assert_allclose(scores[1, :4], expected, rtol=1e-5)
        assert scores[2].tolist() == [0, 0, 0, 0, -1]

    def test_refuses_data_without_sound(self, task):
        for sounds in (None, np.full((CONTENTS, 2), np.nan, dtype=np.float32)):
            with pytest.raises(UserError, match="no content of this data has any"):
                AudioStatistics(task, sounds)
