"""Sums and differences of contents."""

import numpy as np
import pytest

from tests.retrieval.small_export import content, small_export
from towers.errors import UserError
from towers.policies.playlists.arithmetic import add_and_subtract
from towers.policies.reasons import in_words
from towers.retrieval.export import Export
from towers.retrieval.query import Query

NOTHING = np.zeros(0, np.int64)


@pytest.fixture(scope="module")
def export(tmp_path_factory) -> Export:
    """Three pieces along axes, one between each pair of the first two, one along the first less the second."""
    vectors = np.zeros((6, 4), np.float32)
    vectors[[0, 1, 2], [0, 1, 2]] = 1
    vectors[3, :2] = np.sqrt(0.5)
    vectors[4, :2] = np.sqrt(0.5), -np.sqrt(0.5)
    vectors[5] = -vectors[0]
    contents = [content(f"c{row}", title=f"Title {row}") for row in range(6)]
    return small_export(tmp_path_factory.mktemp("sums") / "export", contents, vectors)


def test_the_nearest_to_a_sum_comes_first_and_no_input_comes(export):
    found = add_and_subtract(export, np.array([0, 1]), NOTHING)
    assert found.rows[0] == 3
    assert found.scores[0] == pytest.approx(1)
    assert not np.isin([0, 1], found.rows).any()
    assert len(found) == 4


def test_what_is_subtracted_is_turned_from(export):
    found = add_and_subtract(export, np.array([0]), np.array([1]), query=Query(k=1))
    assert found.rows.tolist() == [4]
    assert found.scores == pytest.approx([1])
    assert in_words(export, found.reasons[0]) == "close to Title 0"


def test_to_subtract_alone_is_to_ask_for_the_opposite(export):
    found = add_and_subtract(export, NOTHING, np.array([0]), query=Query(k=1))
    assert found.rows.tolist() == [5]
    assert found.reasons == ()


def test_of_what_is_given_twice_the_sum_has_twice_as_much(export):
    found = add_and_subtract(export, np.array([0, 0, 1]), NOTHING, query=Query(k=1))
    assert found.scores == pytest.approx([np.sqrt(0.5) * 3 / np.sqrt(5)])


def test_a_list_that_is_shorter_says_so(export):
    assert add_and_subtract(export, np.array([0]), NOTHING).remark == "no more than 5 contents are allowed"


@pytest.mark.parametrize(
    ("plus", "minus", "said"),
    [
        (NOTHING, NOTHING, "at least one"),
        (np.array([0]), np.array([0]), "cancel"),
        (np.array([0, 5]), NOTHING, "cancel"),
    ],
)
def test_a_sum_without_a_direction_is_refused(export, plus, minus, said):
    with pytest.raises(UserError, match=said):
        add_and_subtract(export, plus, minus)
