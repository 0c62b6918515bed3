"""The events of the hand-written store that baselines may know before a period (they are listed in
`test_from_store`).
"""

from datetime import timedelta

import numpy as np
import pytest

from tests.data.raw_set import START, VALIDATION_START
from towers.data.store import Store
from towers.evaluation.baselines.chance import Random
from towers.evaluation.baselines.counts import Popularity, Recency
from towers.evaluation.known import Known

LISTENERS = ["ann", "ben", "dee", "eve"]


@pytest.mark.parametrize("period", ["validation", "test"])
def test_times_are_those_of_the_histories(store, period):
    known = Known(store, period)
    assert store.user_ids.tolist() == LISTENERS
    before = [(0, "a1", 0), (0, "a1", 160), (0, "u9", 86_460), (0, "e1", 2 * 86_400)]
    if period == "test":
        before += [(0, "a4", 20 * 86_400), (0, "a1", 25 * 86_400)]
    times = [START + timedelta(microseconds=int(at) - START.timestamp() * 1e6) for at in known.times_us]
    heard = zip(known.histories.list_of_value, store.content_ids[known.histories.values], times, strict=True)
    found = [(user, content, (at - START).total_seconds()) for user, content, at in heard]
    assert [one for one in found if one[0] == 0] == before
    assert max(times) < VALIDATION_START or period == "test"


def test_recency_counts_the_last_days(store):
    """The last positive event before the period is ben's a3, just before 25 January; his a2 was 15 days before."""
    known = Known(store, "validation")
    for days, expected in [(1.0, {"a3"}), (14.0, {"a3"}), (15.5, {"a3", "a2"})]:
        scores = Recency(known.task, known.histories, known.times_us, days=days).scores(np.array([0]))[0]
        ranks = dict(zip(store.content_ids.tolist(), scores, strict=True))
        others = max(rank for content, rank in ranks.items() if content not in expected)
        assert min(ranks[content] for content in expected) > others


def test_no_times_without_a_clock(store, tmp_path, world_folder, make_builder):
    from towers.data.splits.leave_one_out import LeaveOneOut

    assert store.has_clock
    clockless, _ = make_builder(world_folder, tmp_path / "stores", split=LeaveOneOut()).build()
    clockless.manifest["has_clock"] = False
    assert Known(clockless, "test").times_us is None


def test_artists_share_codes(store):
    artists = Known(store, "test").content_artists
    names = {"a1": ["art-x"], "a2": ["art-x", "art-y"], "a3": ["art-y"]}
    codes = {"art-x": 0, "art-y": 1}
    for row, content in enumerate(store.content_ids.tolist()):
        assert artists[row].tolist() == [codes[name] for name in names.get(content, [])]


def test_sound_by_blocks_is_sound_at_once(store, monkeypatch):
    whole = Known(store, "test").sounds
    monkeypatch.setattr("towers.evaluation.known._BLOCK_BYTES", 1)
    np.testing.assert_array_equal(Known(store, "test").sounds, whole)
    assert np.isfinite(whole).all(axis=1).tolist() == (store.audio_rows >= 0).tolist()
    row = store.content_ids.tolist().index("a1")
    record = store.spectrograms.records[store.audio_rows[row]].astype(np.float64)
    np.testing.assert_allclose(whole[row], [*record.mean(axis=1), *record.std(axis=1)], rtol=1e-5)


def test_no_sound_where_the_data_has_none(store):
    silent = Store(store.folder)
    silent.manifest = {**store.manifest, "spectrograms": None}
    assert Known(silent, "test").sounds is None


def test_gives_what_is_asked_for(store):
    known = Known(store, "test")
    assert known.give(Popularity).scores(np.array([0])).shape == (1, len(store.content_ids))
    asked = known.give(lambda task: Random(task, seed=4))
    np.testing.assert_array_equal(asked.scores(np.array([1])), Random(known.task, seed=4).scores(np.array([1])))
    assert "sounds" not in vars(known)  # made when it is asked for, and not before
