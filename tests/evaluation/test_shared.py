import numpy as np
import pytest

from tests.contracts.ranker import lists_of, make_task
from towers.evaluation.baselines import shared as shared_module
from towers.evaluation.baselines.artists import ArtistMean
from towers.evaluation.baselines.factors import IALS
from towers.evaluation.baselines.linear import EASE, ItemKNN
from towers.evaluation.baselines.sessions import SessionCooccurrence
from towers.evaluation.baselines.shared import Shared
from towers.features.ragged import Ragged

LISTENERS, CONTENTS = 60, 40
EVERYBODY = np.arange(LISTENERS)


@pytest.fixture(scope="module")
def task():
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 4, LISTENERS)
    histories = [(generator.integers(0, 12, 9) + 9 * group).tolist() for group in groups]
    return make_task(histories, [[0]] * LISTENERS, CONTENTS)


@pytest.mark.parametrize(
    ("build", "trials"),
    [
        (ItemKNN, [{"neighbours": neighbours} for neighbours in (1, 3, 20)]),
        (lambda *facts, **settings: SessionCooccurrence(*facts[:2], None, *facts[2:], **settings),
         [{"recent": recent, "neighbours": neighbours} for recent in (2, 9) for neighbours in (2, 9)]),
        (EASE, [{"l2": l2} for l2 in (1.0, 10.0, 100.0)]),
    ],
    ids=["item-kNN", "sessions", "EASE"],
)  # fmt: skip
def test_what_is_shared_is_what_each_would_have_made(task, build, trials):
    shared = Shared(trials)
    for settings in trials:
        found = build(task, task.histories, shared, **settings).scores(EVERYBODY)
        np.testing.assert_allclose(found, build(task, task.histories, **settings).scores(EVERYBODY), rtol=1e-5)


def test_neighbours_are_found_once(task):
    calls = []
    shared = Shared([{"neighbours": 2}, {"neighbours": 7}])
    for neighbours in (2, 7, 2):
        rows = shared.nearest("any", lambda most: calls.append(most) or neighbours_of(task, most), neighbours)
        assert np.diff(rows.indptr).max() == neighbours
    assert calls == [7]


def neighbours_of(task, most):
    return ItemKNN(task, task.histories, neighbours=most)._similarities


def test_for_good_a_factorisation_is_made_once_and_serves_both(task):
    settings = {"factors": 4, "regularization": 0.1, "iterations": 3}
    artists = Ragged.from_lists([[row // 4] for row in range(CONTENTS)])
    shared = Shared()
    first = IALS(task, task.histories, shared, **settings)
    assert IALS(task, task.histories, shared, **settings).content_vectors is first.content_vectors
    np.testing.assert_array_equal(first.scores(EVERYBODY), IALS(task, task.histories, **settings).scores(EVERYBODY))
    np.testing.assert_array_equal(
        ArtistMean(task, task.histories, artists, shared, **settings).scores(EVERYBODY),
        ArtistMean(task, task.histories, artists, **settings).scores(EVERYBODY),
    )
    other = IALS(task, task.histories, shared, **{**settings, "regularization": 5.0})
    assert not np.allclose(other.content_vectors, first.content_vectors)


def test_the_first_stay_where_there_is_too_much(monkeypatch):
    monkeypatch.setattr(shared_module, "MAX_BYTES", 100)
    shared, calls = Shared(), []
    for size in (5, 6, 5, 7, 6, 20, 20, 7, 5):
        assert len(shared.once(size, lambda size=size: calls.append(size) or np.zeros(size))) == size
    assert calls == [5, 6, 7, 20, 20, 7]


def test_what_was_kept_is_spared_a_second_fit(monkeypatch):
    monkeypatch.setattr(shared_module, "MAX_BYTES", 100)
    clock = [0.0]
    monkeypatch.setattr("time.process_time", lambda: clock[0])

    def made(size):
        clock[0] += size
        return np.zeros(size)

    shared = Shared()
    for size in (5, 20, 5, 6):
        shared.once(size, lambda size=size: made(size))
    assert shared.kept_seconds == 11


def test_too_many_neighbours_to_keep_are_found_once_and_then_as_many_as_asked_for(task, monkeypatch):
    calls, trials = [], [{"neighbours": neighbours} for neighbours in (2, 3, 7)]
    size = shared_module._num_bytes(neighbours_of(task, 7))
    monkeypatch.setattr(shared_module, "MAX_BYTES", size - 1)
    shared = Shared(trials)
    for neighbours in (2, 3, 7, 2, 3, 7):
        rows = shared.nearest("any", lambda most: calls.append(most) or neighbours_of(task, most), neighbours)
        np.testing.assert_array_equal(rows.toarray(), neighbours_of(task, neighbours).toarray())
    assert calls == [7, 3, 7, 2, 7]


def test_only_what_serves_others_outlives_a_baseline(task):
    shared = Shared()
    EASE(task, task.histories, shared)
    ItemKNN(task, task.histories, shared)
    IALS(task, task.histories, shared, factors=4, iterations=1)
    shared.forget()
    assert {key[0] if isinstance(key, tuple) else key for key in shared._kept} == {"confidences", "ials"}


def test_lists_of_the_task_stay_as_they_are(task):
    before = lists_of(task.histories)
    ItemKNN(task, task.histories, Shared([{"neighbours": 3}]), neighbours=2).scores(EVERYBODY)
    assert lists_of(task.histories) == before
