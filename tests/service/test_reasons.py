import numpy as np

from towers.retrieval.export import Export
from towers.service.audio import AudioFolder
from towers.service.cards import Card, Cards
from towers.service.reasons import LATELY, Heard, SoundLikeness, for_listener, shared_with


def card(title: str, artists: dict[str, str] | None = None, album: str | None = None, *genres: str) -> Card:
    return Card(content={}, json="", title=title, artists=artists or {}, album_id=album, genres=genres)


def test_what_two_contents_share() -> None:
    one, other = card("A", {"1": "X", "2": "Y"}, "al", "folk", "pop"), card("B", {"3": "Z", "2": "Y"}, "al", "pop")
    texts = [text for _, text in shared_with(one, other, True)]
    assert texts == ["by the same artist, Y", "from the same album", "the same genre, pop", "close by sound alone"]
    assert shared_with(one, card("C"), False) == []
    assert shared_with(card("C"), card("D"), False) == []  # an unknown album is not a shared one


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


class TestForAListener:
    def test_of_everything(self) -> None:
        vectors = np.eye(4, dtype=np.float32)
        vectors[3] = vectors[1]
        others = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
        others /= np.linalg.norm(others, axis=1, keepdims=True)
        # Few of them are as close as row 3 is to row 1.
        likeness = SoundLikeness(np.concatenate([vectors, others]))
        known = {
            0: card("Old", {"1": "X"}, "al", "folk"),
            1: card("New", {"2": "Y"}, "al", "folk", "pop"),
        }
        heard = Heard.of(np.array([0, 1, 0, 1]), type("Known", (), {"card": staticmethod(known.get)}))
        assert heard.lately.tolist() == [1, 0]
        (texts,) = for_listener([card("It", {"1": "X"}, "al", "pop", "folk")], np.array([3]), heard, vectors, likeness)
        assert [text for _, text in texts] == [
            "by X, whom you played",
            "from the album of New, which you played",
            "folk, which you played",
            "sounds like New, which you played",
            "like New, which you played",
        ]

    def test_only_the_last_contents_count(self, small: Export) -> None:
        cards = Cards(small, AudioFolder(None))
        rows = np.array([0] + [1] * 3 * LATELY + [2])
        assert Heard.of(rows, cards).lately.tolist() == [2, 1, 0]
