"""Vectors of a night: kept by id, found again on a later store, judged on listening that they cannot have seen."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest

from tests.data.raw_set import TEST_START
from towers.contract.events import microseconds_of
from towers.contract.provenance import Provenance
from towers.data.store import Store
from towers.data.tomorrow import tomorrow_of
from towers.errors import UserError
from towers.evaluation.night_vectors import NightOnStore, NightVectors, judged_tomorrow
from towers.evaluation.protocol import EvaluationProtocol

NIGHT_US = microseconds_of(TEST_START)
BEFORE = Provenance(trained_on="earlier", trained_until_us=NIGHT_US)


@dataclass(frozen=True)
class Drawn:
    """A source of vectors with a random unit vector for every content and listener."""

    store: Store
    provenance: Provenance = BEFORE

    def content_vectors(self):
        return units(len(self.store.content_ids), 0)

    def user_vectors(self, user_rows, content_vectors, until):
        return units(len(self.store.user_ids), 1)[user_rows]


def units(rows, seed):
    drawn = np.random.default_rng(seed).normal(size=(rows, 8)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture
def protocol(store):
    view = tomorrow_of(store, NIGHT_US, 10.0)
    return EvaluationProtocol(view, "test", filter_seen=False, ks=(1, 2, 5), min_users=1, list_k=5)


def test_are_the_same_after_they_were_written(store, tmp_path):
    kept = NightVectors.of(Drawn(store))
    kept.write(tmp_path / "night.parquet")
    again = NightVectors.read(tmp_path / "night.parquet")
    assert again.content_ids.to_pylist() == [
        name for name, is_listed in zip(store.content_ids, store.is_listed, strict=True) if is_listed
    ]
    assert again.user_ids.to_pylist() == store.user_ids.tolist()
    np.testing.assert_array_equal(again.contents, kept.contents)
    np.testing.assert_array_equal(again.users, kept.users)
    assert again.provenance == BEFORE


def test_judge_as_those_that_they_were_taken_from(store, protocol):
    now = judged_tomorrow(protocol, "now", Drawn(protocol.store))
    later = judged_tomorrow(protocol, "later", NightOnStore(kept=NightVectors.of(Drawn(store)), store=protocol.store))
    assert now.means() == later.means()
    assert any(now.means().values())


def test_whoever_came_later_has_no_place_and_the_mean_of_listeners(store):
    kept = NightVectors.of(Drawn(store))
    left = replace(kept, content_ids=kept.content_ids[1:], contents=kept.contents[1:],
                   user_ids=pa.chunked_array([["ann", "ben"]]), users=np.eye(2, 8, dtype=np.float32))  # fmt: skip
    on = NightOnStore(kept=left, store=store)
    gone = store.content_ids.tolist().index(kept.content_ids[0].as_py())
    assert not on.content_vectors()[gone].any()
    rows = [store.user_ids.tolist().index(name) for name in ("ben", "eve", "ann")]
    users = on.user_vectors(np.array(rows), on.content_vectors(), "test")
    half = 0.5**0.5
    np.testing.assert_allclose(users[:, :2], [[0, 1], [half, half], [1, 0]], atol=1e-6)


def test_refuses_whoever_was_trained_on_tomorrow(protocol):
    seen = Drawn(protocol.store, replace(BEFORE, trained_until_us=NIGHT_US + 1))
    with pytest.raises(UserError, match="cheat: was trained on the days"):
        judged_tomorrow(protocol, "cheat", seen)
