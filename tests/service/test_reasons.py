import numpy as np

from towers.retrieval.export import Export
from towers.retrieval.sound_likeness import SoundLikeness
from towers.service.audio import AudioFolder
from towers.service.cards import Card, Cards
from towers.service.reasons import LATELY, Heard, for_listener, shared_with


def card(title: str, artists: dict[str, str] | None = None, album: str | None = None, *genres: str) -> Card:
    return Card(content={}, json="", title=title, artists=artists or {}, album_id=album, genres=genres)


def test_what_two_contents_share() -> None:
    one, other = card("A", {"1": "X", "2": "Y"}, "al", "folk", "pop"), card("B", {"3": "Z", "2": "Y"}, "al", "pop")
    texts = [text for _, text in shared_with(one, other, True)]
    assert texts == ["by the same artist, Y", "from the same album", "the same genre, pop", "close by sound alone"]
    assert shared_with(one, card("C"), False) == []
    assert shared_with(card("C"), card("D"), False) == []  # an unknown album is not a shared one


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
