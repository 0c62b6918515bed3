"""Today's store in the codes of the one that was trained on."""

from dataclasses import replace

import numpy as np
import pytest

from tests.data import raw_set
from towers.data.refreshed import RefreshedStore
from towers.errors import UserError


@pytest.fixture
def later(tmp_path, make_builder):
    """The small set a day later, with a listener, a content, a context and an event that are new."""
    raw = raw_set.write_raw(tmp_path / "raw")
    new = [("zoe", "a0", raw_set.at(50), "play", 100_000, "gym"), ("ann", "a1", raw_set.at(51), "play", 90_000, None)]
    raw_set.write_part(raw, "events", raw_set.event_table(new), part=7)
    raw_set.write_part(raw, "contents", raw_set.content_table([{"content_id": "a0", "kind": "track"}]), part=7)
    return make_builder(raw, tmp_path / "stores").build()[0]


def test_the_same_store_reads_the_same(store):
    found = RefreshedStore(store, store)
    np.testing.assert_array_equal(found.trained_rows, np.arange(len(store.content_ids)))
    np.testing.assert_array_equal(found.train_positives, store.train_positives)
    np.testing.assert_array_equal(found.user_codes, store.user_codes)
    np.testing.assert_array_equal(found.histories.context, store.histories.context)
    for part, codes in store.content_codes.items():
        np.testing.assert_array_equal(found.content_codes[part].offsets, codes.offsets)
        np.testing.assert_array_equal(found.content_codes[part].values, codes.values)


def test_rows_are_todays_and_codes_those_of_training(store, later):
    found = RefreshedStore(later, store)
    ids = found.content_ids.tolist()
    assert found.trained_rows[ids.index("a0")] == -1
    assert found.train_positives[ids.index("a0")] == 0
    for row, content_id in enumerate(ids):
        if content_id != "a0":
            before = store.content_ids.tolist().index(content_id)
            assert found.trained_rows[row] == before
            assert found.train_positives[row] == store.train_positives[before]
            for part in store.content_codes:
                assert found.content_codes[part][row].tolist() == store.content_codes[part][before].tolist()
    zoe = found.user_ids.tolist().index("zoe")
    (event,) = range(*found.histories.offsets[zoe : zoe + 2])
    assert found.histories.context[event] == 0  # no listener was at the gym while it was trained
    assert found.fingerprint not in (store.fingerprint, later.fingerprint)


def test_other_features_are_refused_with_both_values(store, later):
    later.features = replace(later.features, min_played_fraction=0.9)
    with pytest.raises(UserError, match=r"features\.min_played_fraction=0\.9, the network was trained with 0\.5"):
        RefreshedStore(later, store)
