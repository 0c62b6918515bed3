import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.service.search import BETWEEN, NameSearch, without_case

TITLES = ["Help!", "Helpless", "I need help", "Unhelpful", "Yesterday", None]
ARTISTS = ["The Beatles", "Neil Young", "Help Desk", "", "the BEATLES", "Helpers"]


def search_of(titles: list[str | None], artists: list[str], weights: list[int] | None = None) -> NameSearch:
    others = pa.array([f"{BETWEEN}{name}" for name in artists], pa.string())
    texts = pa.array([title or "" for title in titles], pa.string())
    return NameSearch(texts, others, np.array(weights or [0] * len(titles), np.int64))


def test_title_then_words_then_artist_then_the_rest() -> None:
    assert search_of(TITLES, ARTISTS).find("help", 10).tolist() == [0, 1, 2, 5, 3]
    assert search_of(["helper", "help"], ["", ""]).find("HELP", 10).tolist() == [1, 0]


def test_where_enough_begin_so_the_rest_is_not_looked_for() -> None:
    search = search_of(["b a", "ab", "a", "abc"], ["", "", "", "a"], [9, 1, 0, 2])
    assert search.find("a", 10).tolist() == [2, 3, 1, 0]
    for k in range(5):
        assert search.find("a", k).tolist() == [2, 3, 1, 0][:k]


def test_few_are_looked_at_by_themselves() -> None:
    search = search_of([f"one {row % 10} x{row}" for row in range(100)], [""] * 100)
    assert search.find("x7 one", 10).tolist() == [7, *range(70, 79)]
    assert search.find("3 x", 100, np.arange(100) == 13).tolist() == [13]


def test_every_word_must_be_found() -> None:
    search = search_of(TITLES, ARTISTS)
    assert search.find("beatles help", 10).tolist() == [0]
    assert search.find("  beatles  ", 10).tolist() == [0, 4]
    assert search.find("beatlesneil", 10).tolist() == []


def test_the_most_played_first() -> None:
    search = search_of(["la la", "la", "la di", "b"], [""] * 4, [1, 2, 3, 9])
    assert search.find("la", 10).tolist() == [1, 2, 0]
    assert search.find("", 2).tolist() == [3, 2]
    assert search.find("la", 10, np.array([True, False, False, True])).tolist() == [0]


@pytest.mark.parametrize(
    ("text", "plain"),
    [("Ágætis BYRJUN", "agætis byrjun"), ("O’Neill's", "oneills"), ("ﬁne", "fine"), ("Çelik", "celik"), ("Мой", "мои")],
)
def test_without_case(text: str, plain: str) -> None:
    assert without_case(pa.array([text])).to_pylist() == [plain]


@settings(max_examples=25)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=1, max_size=8), st.data())
def test_a_title_finds_itself(titles: list[str], data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(titles) - 1))
    assert row in search_of(titles, [""] * len(titles)).find(titles[row], len(titles)).tolist()


def test_no_contents() -> None:
    assert search_of([], []).find("a", 3).tolist() == []
