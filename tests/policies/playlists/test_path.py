"""Paths between two pieces."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.retrieval.small_export import content, small_export
from towers.errors import UserError
from towers.policies.playlists.path import arc, path
from towers.policies.reasons import in_words
from towers.retrieval.export import Export
from towers.retrieval.query import Query

DEGREES = np.array([0, 90, 10, 30, 31, 62, 45, 200])


@pytest.fixture(scope="module")
def circle(tmp_path_factory) -> Export:
    """Pieces on a circle in a plane, and one far from the plane."""
    angles = np.deg2rad(DEGREES)
    vectors = np.zeros((len(angles) + 1, 4), np.float32)
    vectors[:-1, 0], vectors[:-1, 1] = np.cos(angles), np.sin(angles)
    vectors[-1, 3] = 1
    contents = [content(f"c{row}", title=f"Title {row}") for row in range(len(vectors))]
    return small_export(tmp_path_factory.mktemp("path") / "export", contents, vectors)


def test_a_path_on_a_circle_takes_the_pieces_at_even_angles(circle):
    found = path(circle, 0, 1, steps=3)
    assert DEGREES[found.rows].tolist() == [0, 30, 62, 90]
    assert found.scores == pytest.approx([1, 1, np.cos(np.deg2rad(2)), 1], abs=1e-6)
    assert not found.remark


def test_each_piece_goes_on_from_the_one_before(circle):
    found = path(circle, 0, 1, steps=2)
    assert [in_words(circle, reason) for reason in found.reasons] == [
        "where the path begins", "goes on from Title 0", "goes on from Title 6",
    ]  # fmt: skip


def test_no_piece_comes_twice_though_one_is_nearest_to_all_points(circle):
    found = path(circle, 0, 2, steps=6)  # within 10 degrees, where nothing is between
    assert len(set(found.rows.tolist())) == 7


def test_the_assignment_is_the_best_of_all(circle):
    points = arc(circle.vectors[0], circle.vectors[1], np.arange(1, 4) / 4)
    between = [row for row in range(len(circle.vectors)) if row not in (0, 1)]
    best = max(
        sum(float(point @ circle.vectors[row]) for point, row in zip(points, rows, strict=True))
        for rows in permutations(between, 3)
    )
    assert path(circle, 0, 1, steps=4).scores[1:-1].sum() == pytest.approx(best, abs=1e-6)


def test_a_path_of_one_step_has_nothing_between(circle):
    assert path(circle, 0, 1, steps=1).rows.tolist() == [0, 1]


def test_where_little_may_stand_between_the_path_is_shorter_and_says_so(circle):
    found = path(circle, 0, 1, steps=5, query=Query(among=np.array([3, 6])))
    assert found.rows.tolist() == [0, 3, 6, 1]
    assert found.remark == "only 2 pieces are allowed in between, 2 fewer than asked for"
    assert path(circle, 0, 1, steps=3, query=Query(among=np.zeros(0, np.int64))).rows.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("start", "end", "steps", "said"),
    [(0, 0, 3, "c0 to itself"), (0, 1, 0, "steps=0"), (0, 1, 201, "steps=201")],
)
def test_what_is_no_path_is_refused(circle, start, end, steps, said):
    with pytest.raises(UserError, match=said):
        path(circle, start, end, steps=steps)


def test_between_opposites_there_is_no_arc():
    point = np.array([1.0, 0, 0])
    with pytest.raises(UserError, match="opposite"):
        arc(point, -point, np.array([0.5]))


@given(seed=st.integers(0, 1_000), points=st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_points_of_an_arc_are_unit_and_evenly_apart(seed, points):
    start, end = np.random.default_rng(seed).normal(size=(2, 5))
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    found = np.concatenate([[start], arc(start, end, np.arange(1, points + 1) / (points + 1)), [end]])
    assert np.linalg.norm(found, axis=1) == pytest.approx(1)
    angles = np.arccos(np.clip((found[1:] * found[:-1]).sum(axis=1), -1, 1))
    assert angles == pytest.approx(np.arccos(start @ end) / (points + 1), abs=1e-6)
