from math import sqrt

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.contracts.ranker import make_task
from towers.evaluation.from_store import task_from_store
from towers.evaluation.profiles import (
    QUARTILES,
    by_taste,
    generalist_specialist,
    known_of_listeners,
    listener_profiles,
    write_profiles,
)
from towers.features.ragged import Ragged

# Content 0 points right, 1 up, 2 up and longer, 3 left; of content 4 nothing is known.
VECTORS = np.array([[1, 0], [0, 1], [0, 3], [-1, 0], [0, 0]], dtype=np.float32)


def scores(*histories, vectors=VECTORS) -> np.ndarray:
    return generalist_specialist(Ragged.from_lists(histories), vectors)


class TestScore:
    def test_who_plays_one_thing_is_a_specialist(self):
        np.testing.assert_allclose(scores([0], [0, 0, 0], [2]), [1, 1, 1])

    def test_two_directions_alike(self):
        # The centre points up and right: the cosine with both is 1 / sqrt(2).
        np.testing.assert_allclose(scores([0, 1]), [1 / sqrt(2)], rtol=1e-6)

    def test_plays_are_weights(self):
        # The centre is (3/4, 1/4), of length sqrt(10)/4: cosines 3/sqrt(10), three times, and 1/sqrt(10).
        np.testing.assert_allclose(scores([0, 0, 0, 1]), [(3 * 3 + 1) / sqrt(10) / 4], rtol=1e-6)

    def test_the_centre_is_that_of_the_vectors_as_they_are(self):
        # The centre of right and three times up points along (1, 3).
        np.testing.assert_allclose(scores([0, 2]), [(1 / sqrt(10) + 3 / sqrt(10)) / 2], rtol=1e-6)

    def test_what_is_not_known_is_left_out(self):
        np.testing.assert_allclose(scores([0, 4, 4, 1]), scores([0, 1]))

    @pytest.mark.parametrize("history", [[], [4], [0, 3]])
    def test_not_defined_without_a_centre(self, history):
        assert np.isnan(scores(history)).all()

    @given(
        vectors=arrays(np.float64, (4, 3), elements=st.floats(-1, 1).filter(lambda value: abs(value) > 1e-3)),
        history=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    )
    def test_of_unit_vectors_it_is_the_length_of_the_centre(self, vectors, history):
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        length = np.linalg.norm(vectors[history].mean(axis=0))
        if length > 1e-6:
            np.testing.assert_allclose(scores(history, vectors=vectors), [length], rtol=1e-6)


class TestProfiles:
    def test_a_row_a_listener(self):
        table = listener_profiles(make_task([[0, 1, 1, 1], []], [[2], [3]], 5), VECTORS)
        assert table.column_names == ["user_row", "history_length", "distinct_contents", "generalist_specialist"]
        first, second = table.to_pylist()
        assert first == {
            "user_row": 100,
            "history_length": 4,
            "distinct_contents": 2,
            "generalist_specialist": pytest.approx((1 + 3 * 3) / sqrt(10) / 4),
        }
        assert second == {
            "user_row": 101,
            "history_length": 0,
            "distinct_contents": 0,
            "generalist_specialist": None,
        }

    def test_what_else_is_known_stands_behind(self):
        known = pa.table({"country": ["is", None], "history_length": ["short", "long"]})
        table = listener_profiles(make_task([[0], [1]], [[2], [3]], 5), VECTORS, known)
        assert table["country"].to_pylist() == ["is", None]
        assert table["history_length"].to_pylist() == [1, 1]

    def test_kept_as_parquet(self, tmp_path):
        table = listener_profiles(make_task([[0], []], [[2], [3]], 5), VECTORS)
        write_profiles(table, tmp_path / "evaluation" / "profiles.parquet")
        assert pq.read_table(tmp_path / "evaluation" / "profiles.parquet").equals(table)

    def test_of_a_store(self, store):
        """Before the test ann's last event was on day 25 and ben's a microsecond before; dee has none."""
        task = task_from_store(store, "test")
        known = known_of_listeners(store, task, "test")
        assert known["user_id"].to_pylist() == ["ann", "dee"]
        assert known["country"].to_pylist() == ["is", "fi"]
        assert known["days_since_last_event"].to_pylist() == [30 - 25, None]

    def test_of_its_validation(self, store):
        task = task_from_store(store, "validation")
        known = known_of_listeners(store, task, "validation")
        assert known["user_id"].to_pylist() == ["ann", "ben"]
        assert known["days_since_last_event"].to_pylist() == pytest.approx([20 - 3, 1e-6 / 86_400])


class TestQuarters:
    def quarters(self, *figures: float | None) -> list[str | None]:
        slicing = by_taste(pa.table({"generalist_specialist": pa.array(figures, pa.float64())}))
        assert slicing.name == "taste"
        assert slicing.labels == QUARTILES
        return [slicing.labels[code] if code >= 0 else None for code in slicing.codes]

    def test_from_generalists_to_specialists(self):
        expected = ["rather_specialist", "generalist", "specialist", "rather_generalist"]
        assert self.quarters(0.6, 0.2, 0.8, 0.4) == expected

    def test_without_a_score_in_none(self):
        assert self.quarters(None, 0.2, None) == [None, "generalist", None]

    def test_nobody_with_a_score(self):
        assert self.quarters(None, None) == [None, None]

    def test_rounding_does_not_part_who_is_alike(self):
        alike = [1 - 1e-9, 1.0, 1 + 1e-9]
        assert len(set(self.quarters(0.1, 0.2, 0.3, *alike)[3:])) == 1

    def test_quarters_are_even(self):
        found = self.quarters(*np.random.default_rng(0).permutation(40) / 40)
        assert [found.count(label) for label in QUARTILES] == [10] * 4
