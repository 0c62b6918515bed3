import dataclasses

import numpy as np
import pytest

from tests.contracts.ranker import checkerboard
from towers.errors import UserError
from towers.evaluation.baselines.chance import Random
from towers.evaluation.harness import evaluate
from towers.evaluation.ranking.rankers import DenseRanker
from towers.evaluation.result import Evaluation, SliceResult
from towers.evaluation.saved import ARRAYS, DIGESTS, FACTS, cached, fingerprint, load, load_notes, save


@pytest.fixture
def evaluation():
    """An evaluation with lists, figures of the catalogue that JSON would round, an undefined figure and an empty
    slice.
    """
    task = checkerboard()
    found = evaluate(task, DenseRanker(task, Random(task)), filter_seen=False, ks=(1, 3), min_users=2)
    empty = SliceResult(positions=np.zeros(0, dtype=np.int64), values={"recall@1": np.zeros(0)})
    odd = SliceResult(positions=np.array([1, 4]), values={"novelty@3": np.array([np.nan, 1 / 3])})
    slices = {**found.slices, "genre:drum/bass & Ähnliches": odd, "nobody": empty}
    return dataclasses.replace(found, slices=slices, catalogue={"coverage@20": 1 / 3, "gini@20": float("nan")})


def assert_same(first: Evaluation, second: Evaluation):
    assert (first.ranker, first.min_users) == (second.ranker, second.min_users)
    assert repr(dict(first.catalogue)) == repr(dict(second.catalogue))
    assert (list(first.slices), list(first.lists)) == (list(second.slices), list(second.lists))
    pairs = [(first.user_rows, second.user_rows)]
    for name, result in first.slices.items():
        other = second.slices[name]
        assert list(result.values) == list(other.values)
        pairs += [(result.positions, other.positions)]
        pairs += [(values, other.values[metric]) for metric, values in result.values.items()]
    for ranking, ranked in first.lists.items():
        pairs += [(ranked.rows, second.lists[ranking].rows), (ranked.scores, second.lists[ranking].scores)]
    for one, two in pairs:
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)


def test_comes_back_as_it_was(evaluation, tmp_path):
    notes = {"settings": {"l2": 1 / 3}, "trials": [], "metric": None}
    save(evaluation, tmp_path / "one", notes)
    assert_same(load(tmp_path / "one"), evaluation)
    assert load(tmp_path / "one").means() == pytest.approx(evaluation.means(), abs=0, nan_ok=True)
    assert load_notes(tmp_path / "one") == notes


def test_notes_that_json_does_not_know_are_refused(evaluation, tmp_path):
    with pytest.raises(TypeError):
        save(evaluation, tmp_path / "one", {"settings": np.array([1])})
    assert list(tmp_path.iterdir()) == []


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load(tmp_path / "one")


@pytest.mark.parametrize("name", [FACTS, ARRAYS])
def test_a_damaged_file_is_refused(evaluation, tmp_path, name):
    save(evaluation, tmp_path / "one")
    content = bytearray((tmp_path / "one" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "one" / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: damaged"):
        load(tmp_path / "one")


class TestCached:
    @pytest.fixture
    def computed(self):
        return []

    @pytest.fixture
    def compute(self, evaluation, computed):
        def compute():
            computed.append(1)
            return evaluation, {"settings": {"days": 7.0}}

        return compute

    def test_computes_once(self, tmp_path, evaluation, compute, computed):
        for _ in range(3):
            found, notes = cached(tmp_path, "key", compute)
            assert_same(found, evaluation)
            assert notes == {"settings": {"days": 7.0}}
        assert len(computed) == 1
        cached(tmp_path, "another key", compute)
        assert len(computed) == 2

    def test_computes_again_what_is_not_for_good(self, tmp_path, evaluation, compute, computed):
        for _ in range(2):
            found, _ = cached(tmp_path, "key", compute, is_for_good=lambda notes: "settings" not in notes)
            assert_same(found, evaluation)
        assert len(computed) == 2
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", [FACTS, ARRAYS, DIGESTS])
    @pytest.mark.parametrize("is_gone", [True, False])
    def test_a_damaged_entry_is_computed_again(self, tmp_path, evaluation, compute, computed, name, is_gone):
        cached(tmp_path, "key", compute)
        if is_gone:
            (tmp_path / "key" / name).unlink()
        else:
            content = (tmp_path / "key" / name).read_bytes()
            (tmp_path / "key" / name).write_bytes(content[: len(content) // 2])
        assert_same(cached(tmp_path, "key", compute)[0], evaluation)
        assert len(computed) == 2
        cached(tmp_path, "key", compute)
        assert len(computed) == 2

    def test_what_fails_leaves_nothing(self, tmp_path):
        def fail():
            raise UserError("no sound")

        with pytest.raises(UserError, match="no sound"):
            cached(tmp_path, "key", fail)
        assert list(tmp_path.iterdir()) == []


def test_the_fingerprint_changes_with_facts_and_format(monkeypatch):
    facts = {"store": "a", "node": {"l2": 1.0, "max_contents": 3}}
    first = fingerprint(facts)
    assert fingerprint({"node": {"max_contents": 3, "l2": 1.0}, "store": "a"}) == first
    assert fingerprint({**facts, "store": "b"}) != first
    monkeypatch.setattr("towers.evaluation.saved.FORMAT", 1_000_000)
    assert fingerprint(facts) != first
