"""The parts that add up to the utility of contents for a list."""

import numpy as np
import pytest

from tests.retrieval.small_export import content, small_export
from towers.policies.listener import Listener
from towers.policies.playlist import Reason
from towers.policies.playlists import parts
from towers.policies.playlists.parts import Part, candidate_rows, mean_vector, reasons_of
from towers.retrieval.co_listening import Neighbours
from towers.retrieval.export import Export


@pytest.fixture(scope="module")
def export(tmp_path_factory) -> Export:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(30, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    contents = [content(f"c{row}") for row in range(30)]
    return small_export(tmp_path_factory.mktemp("parts") / "export", contents, vectors, {"u": [1, 1, 1, 2]})


def test_closeness_is_the_cosine_with_the_mean_and_names_the_nearest(export):
    rows, to = np.arange(5, 30), np.array([0, 1, 2])
    part = Part.of_closeness(export, rows, to, 2.0)
    mean = export.vectors[to].sum(axis=0)
    mean /= np.linalg.norm(mean)
    for place, row in enumerate(rows):
        assert part.values[place] == pytest.approx(2 * float(export.vectors[row] @ mean), abs=1e-6)
        assert part.because[place] == max(to, key=lambda one: export.vectors[row] @ export.vectors[one])


def test_co_listening_is_the_mean_weight_and_names_the_nearest():
    near = Neighbours(
        rows=np.array([[2, 4, -1], [4, 9, 3]], np.int32),
        weights=np.array([[0.5, 0.25, 0], [0.75, 0.5, 0.1]], np.float32),
    )
    part = Part.of_co_listening(near, np.array([2, 3, 4, 5]), np.array([0, 1]), 4.0)
    assert part.values == pytest.approx([1.0, 0.2, 2.0, 0.0])
    assert part.because.tolist() == [0, 1, 1, -1]
    assert part.kinds.tolist() == ["listened_with", "listened_with", "listened_with", ""]


@pytest.mark.parametrize(
    "near", [None, Neighbours(rows=np.zeros((1, 0), np.int32), weights=np.zeros((1, 0), np.float32))]
)
def test_without_neighbours_co_listening_says_nothing(near):
    part = Part.of_co_listening(near, np.array([2, 3]), np.array([0]), 1.0)
    assert part.values.tolist() == [0, 0]
    assert part.because.tolist() == [-1, -1]


def test_what_a_listener_chose_three_times_they_play_often(export):
    listener = Listener.of_row(export, 0)
    part = Part.of_listener(listener, np.array([1, 2, 3]), 0.5)
    assert part.kinds.tolist() == ["often", "fits", "fits"]
    # Where there is no model of listening, an inner product of 1 counts 3.
    assert part.values == pytest.approx(1.5 * listener.affinity(np.array([1, 2, 3])).astype(np.float64), abs=1e-6)


def test_the_reason_is_that_of_the_part_that_lifts_a_pick_most(export):
    none = np.full(3, -1)
    level = Part(values=np.array([9.0, 9.0, 9.0]), kinds=np.full(3, "popular"), because=none)
    steep = Part(values=np.array([0.0, 1.0, 5.0]), kinds=np.array(["near", "near", ""]), because=np.array([7, 8, -1]))
    said = reasons_of(export, np.array([0, 1, 2]), [level, steep], np.array([1, 0, 2]))
    assert said[0] == Reason(kind="popular")  # below the mean of the other part
    assert said[2] == Reason(kind="popular")  # the other part gives no reason for it
    lifted = Part(values=np.array([0.0, 6.0, 0.0]), kinds=np.full(3, "near"), because=np.array([7, 8, 9]))
    assert reasons_of(export, np.array([0, 1, 2]), [level, lifted], np.array([1])) == (Reason(kind="near", because=8),)


def test_of_many_contents_the_nearest_and_some_more_are_candidates(export, monkeypatch):
    among = np.ones(30, bool)
    among[[3, 4]] = False
    everything = candidate_rows(export, among, export.vectors[:2], np.array([4, 20]))
    assert everything.tolist() == np.flatnonzero(among).tolist()
    monkeypatch.setattr(parts, "EXACT_BELOW", 10)
    monkeypatch.setattr(parts, "LOOKED_AT", 3)
    found = candidate_rows(export, among, export.vectors[:2], np.array([4, 20, -1]))
    nearest = {
        int(row) for one in (0, 1) for row in np.argsort(-np.where(among, export.vectors @ export.vectors[one], -9))[:3]
    }
    assert found.tolist() == sorted(nearest | {20})


def test_vectors_that_cancel_out_have_no_mean():
    assert mean_vector(np.array([[1.0, 0.0], [-1.0, 0.0]])).tolist() == [0, 0]
    assert mean_vector(np.array([[2.0, 0.0], [0.0, 2.0]])) == pytest.approx(np.sqrt([0.5, 0.5]))
