"""The share of the exact lists that codes of few bits find."""

import faiss
import numpy as np
import pytest

from tests.publishing.listening import unit
from towers.publishing import codes as module
from towers.publishing.codes import CODES, recall_of_codes

DIM, CONTENTS, USERS = 16, 900, 12
EVERYTHING = np.ones(CONTENTS, bool)


def vectors(rows: int, seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(rows, DIM))).astype(np.float32)


@pytest.fixture(scope="module")
def found():
    return recall_of_codes(vectors(USERS, 0), vectors(CONTENTS, 1), EVERYTHING)


def test_sizes_are_those_of_the_arithmetic(found):
    assert {name: code["bytes"] for name, code in found.items()} == {"float32": 64, "int8": 16, "one bit": 2}
    assert {name: code["gigabytes"] for name, code in found.items()} == {"float32": 6.4, "int8": 1.6, "one bit": 0.2}
    assert "recall@20" not in found["float32"]


def test_more_bits_find_more(found):
    assert {name: code["candidates"] for name, code in found.items() if name != "float32"} == {
        "int8": 40,
        "one bit": 200,
    }
    assert found["int8"]["recall@20"] == 1
    assert 0.5 < found["one bit"]["recall@20"] < 1


def test_one_bit_finds_what_signs_after_the_turn_find(found):
    """The expected 200 contents, computed with numpy, have the most signs in common with the listener, ranked by
    product.
    """
    users, contents = vectors(USERS, 0), vectors(CONTENTS, 1)
    turn = faiss.vector_to_array(faiss.downcast_VectorTransform(faiss.IndexLSH(DIM, DIM, True, False).rrot).A)
    turn = turn.reshape(DIM, DIM)
    signs = [(rows @ turn.T >= 0).astype(int) for rows in (users, contents)]
    different = (signs[0][:, None] != signs[1][None]).sum(axis=2)
    candidates = np.argsort(different, axis=1, kind="stable")[:, :200]
    products = users @ contents.T
    hits = 0
    for user, rows in enumerate(candidates):
        exact = np.argsort(-products[user])[:20]
        hits += len(np.intersect1d(exact, rows))
    assert found["one bit"]["recall@20"] == pytest.approx(hits / (20 * USERS), abs=0.03)  # which of equals are taken


def test_blocks_find_what_one_block_finds(found, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 128)
    parts = recall_of_codes(vectors(USERS, 0), vectors(CONTENTS, 1), EVERYTHING)
    assert parts["int8"] == found["int8"]
    assert parts["one bit"]["recall@20"] == pytest.approx(found["one bit"]["recall@20"], abs=0.03)


def test_only_what_may_stand_in_a_list_is_looked_for():
    """Thirty contents are fewer than the candidates: all of them are ranked again, and none is missed."""
    allowed = np.zeros(CONTENTS, bool)
    allowed[100:130] = True
    found = recall_of_codes(vectors(USERS, 0), vectors(CONTENTS, 1), allowed)
    assert [found[code.name]["recall@20"] for code in CODES] == [1, 1]


def test_without_listeners_there_is_nothing_to_say():
    assert recall_of_codes(vectors(0, 0), vectors(10, 1), np.ones(10, bool)) == {}
