"""Inputs of the learnt mixture."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.policies.somebody import somebody
from tests.retrieval.small_export import content, small_export
from towers.contract.schema import PLAY, SKIP
from towers.policies.mixing import LATELY, NEAREST, last_chosen, listened_with, mixture_features, nearest_chosen
from towers.policies.tastes import Tastes
from towers.retrieval.co_listening import Neighbours
from towers.retrieval.mixture import FEATURES

CONTENTS = 12


def neighbours(seed: int) -> Neighbours:
    draws = np.random.default_rng(seed)
    rows = np.stack([draws.permutation(CONTENTS)[:4] for _ in range(CONTENTS)]).astype(np.int32)
    rows[draws.random(rows.shape) < 0.2] = -1
    weights = np.where(rows >= 0, draws.random(rows.shape), 0).astype(np.float32)
    return Neighbours(rows=rows, weights=weights)


@given(
    seed=st.integers(0, 99),
    chosen=st.sets(st.integers(0, CONTENTS - 1)),
    rows=st.lists(st.integers(0, CONTENTS - 1), unique=True),
)
def test_co_listening_is_the_sum_over_what_was_chosen(seed, chosen, rows):
    near = neighbours(seed)
    expected = [
        sum(near.weights[one][near.rows[one] == row].sum() for one in chosen) / max(len(chosen), 1) ** 0.5
        for row in rows
    ]
    found = listened_with(near, np.array(sorted(chosen), np.int64), np.array(rows, np.int64))
    np.testing.assert_allclose(found, np.array(expected, float), rtol=1e-5)


def test_without_neighbours_nothing_is_listened_with_anything():
    assert listened_with(None, np.array([1]), np.array([2, 3])).tolist() == [0, 0]


def test_nearness_is_the_mean_of_the_nearest_few():
    vectors = np.eye(2, dtype=np.float32)
    chosen = np.concatenate([np.tile(vectors[0], (NEAREST + 2, 1)), vectors[1:]])
    assert nearest_chosen(vectors, chosen).tolist() == [1.0, 1 / NEAREST]
    assert nearest_chosen(vectors, chosen[:0]).tolist() == [0, 0]


def test_the_last_different_contents_count(tmp_path):
    export = small_export(tmp_path / "export", [content("a")], np.eye(1, 2, dtype=np.float32))
    many = somebody(export, [(row, PLAY) for row in [*range(LATELY + 5), 2]], np.zeros(2, np.float32))
    assert last_chosen(many.standing.events).tolist() == [2, *range(6, LATELY + 5)]


def test_features_stand_in_the_order_of_their_names(tmp_path):
    contents = [content(name, artist_ids=["x" if name in "ab" else "y"]) for name in "abc"]
    export = small_export(tmp_path / "export", contents, np.eye(3, 4, dtype=np.float32))
    listener = somebody(export, [(0, SKIP), (2, PLAY)], np.array([0.6, 0.8, 0, 0], np.float32))
    tastes = Tastes(vectors=np.eye(2, 4, dtype=np.float32), shares=np.array([0.5, 0.5]))
    rows = np.array([1, 0])
    found = mixture_features(
        export, listener.standing.events, tastes, rows, listener.affinity(rows), np.array([-1.0, -2.0])
    )
    by_name = dict(zip(FEATURES, found.T.tolist(), strict=True))
    np.testing.assert_allclose(by_name["affinity"], [0.8, 0.6], rtol=1e-6)
    assert by_name["taste"] == [1, 1]
    assert by_name["chance"] == [-1, -2]
    assert by_name["nearest"] == [0, 0]  # orthogonal to what was chosen
    np.testing.assert_allclose(by_name["artist_skips"], np.log([2, 2]))  # both are by an artist who was skipped once
    assert by_name["is_fresh"] == [0, 0]  # their days of release are not known
    np.testing.assert_allclose(by_name["age"], np.log1p([3000, 3000]))
