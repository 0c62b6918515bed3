"""Contents that are close by their sound alone."""

import numpy as np

from towers.retrieval.sound_likeness import SoundLikeness


class TestSoundLikeness:
    def test_close_is_rare_among_random_pairs(self) -> None:
        vectors = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float16)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        rows = np.arange(500)
        is_close = SoundLikeness(vectors).are_close(rows, rows)
        assert is_close.diagonal().all()
        np.testing.assert_allclose(is_close[~np.eye(500, dtype=bool)].mean(), 0.005, atol=0.002)

    def test_silence_is_close_to_nothing(self) -> None:
        vectors = np.array([[1, 0], [0, 0], [1, 0], [0, 1], [0, -1]], np.float16)
        is_close = SoundLikeness(vectors).are_close(np.arange(5), np.arange(5))
        assert not is_close[1].any()
        assert not is_close[:, 1].any()

    def test_an_export_without_sound(self) -> None:
        rows = np.arange(2)
        assert not SoundLikeness(None).are_close(rows, rows).any()
        assert not SoundLikeness(np.zeros((2, 4), np.float16)).are_close(rows, rows).any()
        assert SoundLikeness(np.zeros((0, 4), np.float16)).are_close(rows[:0], rows[:0]).shape == (0, 0)
