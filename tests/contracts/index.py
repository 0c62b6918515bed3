"""Contract of every `Index`, on four vectors whose inner products can be read off."""

import numpy as np
import pytest

EAST, NORTH, WEST, NORTHEAST = range(4)
VECTORS = np.array([[1, 0], [0, 1], [-1, 0], [0.8, 0.6]], dtype=np.float32)
EVERYTHING = np.ones(4, dtype=bool)


class IndexContract:
    """Inherit, and give a fixture `build`: vectors -> index."""

    def search(self, build, query, k, allowed=EVERYTHING):
        rows, scores = build(VECTORS).search(np.array([query], dtype=np.float32), k, allowed)
        return rows[0].tolist(), scores[0].tolist()

    def test_best_first_with_inner_products(self, build) -> None:
        rows, scores = self.search(build, [1, 0], 3)
        assert rows == [EAST, NORTHEAST, NORTH]
        np.testing.assert_allclose(scores, [1, 0.8, 0], atol=1e-6)

    def test_only_what_is_allowed(self, build) -> None:
        rows, _ = self.search(build, [1, 0], 2, np.array([False, True, True, True]))
        assert rows == [NORTHEAST, NORTH]

    def test_short_lists_are_filled_with_nothing(self, build) -> None:
        rows, scores = self.search(build, [1, 0], 3, np.array([False, False, True, False]))
        assert rows == [WEST, -1, -1]
        assert scores[1:] == [-np.inf, -np.inf]

    def test_nothing_allowed_gives_nothing(self, build) -> None:
        rows, _ = self.search(build, [1, 0], 2, np.zeros(4, dtype=bool))
        assert rows == [-1, -1]

    def test_more_than_there_are(self, build) -> None:
        rows, scores = self.search(build, [0, 1], 6)
        assert rows[:2] == [NORTH, NORTHEAST]
        assert rows[4:] == [-1, -1]
        assert len(scores) == 6

    def test_no_queries_give_no_lists(self, build) -> None:
        rows, scores = build(VECTORS).search(VECTORS[:0], 3, EVERYTHING)
        assert rows.shape == scores.shape == (0, 3)

    @pytest.mark.unhooked  # whose checks of annotations would refuse it before
    def test_queries_of_other_dimensions_are_refused(self, build) -> None:
        with pytest.raises((ValueError, AssertionError)):
            build(VECTORS).search(np.ones((1, 5), np.float32), 1, EVERYTHING)

    def test_several_queries(self, build) -> None:
        rows, _ = build(VECTORS).search(VECTORS, 1, EVERYTHING)
        assert rows[:, 0].tolist() == [EAST, NORTH, WEST, NORTHEAST]
