"""Tests of the profile of the hand-written data set, counted by hand, and of the files beside a store."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.data import raw_set
from tests.data.profiling.made import a_day, a_profile
from towers.data.profiling.computing import profile_of
from towers.data.profiling.files import (
    FILE,
    located,
    newest_other,
    profile_at,
    verdict_at,
    verdict_beside,
    write_profile,
)
from towers.data.profiling.profile import Profile
from towers.data.profiling.thresholds import Thresholds
from towers.data.store import Store
from towers.errors import UserError


@pytest.fixture
def copied(store, tmp_path):
    """Copies the store's versions, so that a test may change them."""
    root = tmp_path / "stores"
    shutil.copytree(store.folder.parent, root, symlinks=True)
    return Store.open(root)


@pytest.fixture(scope="module")
def profile(store):
    return profile_of(store)


class TestOfTheHandWrittenSet:
    def test_counts(self, profile):
        counts = profile.counts
        assert (counts["events"], counts["users"], counts["users_with_events"]) == (17, 4, 3)
        assert counts["contents"] == len(raw_set.KNOWN_IDS)
        assert (counts["by_id_alone"], counts["withdrawn"]) == (1, 0)  # u9
        assert counts["listed"] == counts["contents"] - 1
        assert profile.actions == {
            "play": 10, "skip": 1, "like": 1, "dislike": 1, "save": 1, "unsave": 1, "search": 1, "browse": 1,
        }  # fmt: skip
        assert profile.contents_by_kind == {"track": 6, "episode": 1, "audiobook": 1, "artist": 2, "playlist": 2}
        assert sum(profile.kinds.values()) == 15

    def test_times(self, profile):
        assert profile.span == ("2026-01-05T00:00:00+00:00", "2026-02-07T00:00:00+00:00")
        assert (profile.first_day, profile.last_day) == ("2026-01-05", "2026-02-07")
        assert sum(profile.daily["events"]) == 17
        assert profile.daily["events"][:4] == (4, 2, 1, 1)
        assert sum(profile.daily["new_users"]) == 3
        assert profile.daily["new_users"][0] == 2
        assert profile.days[0].listeners == 2
        assert profile.days[-1].listeners == 1

    def test_what_is_lacking(self, profile):
        # Of seven listed playable contents five name a sound, of which one is none.
        assert profile.lacking["sound"]["contents"] == pytest.approx(3 / 7)
        assert profile.lacking["title"]["contents"] == 0
        assert profile.lacking["title"]["events"] == pytest.approx(1 / 15)  # u9, known by id alone
        assert profile.sessions == {"number": 0, "unknown_share": 1.0, "events_each": {}}

    def test_top_contents_and_signatures(self, profile):
        assert profile.top[0] == {"content_id": "a1", "title": "One", "kind": "track", "events": 6}
        assert profile.signatures["users"] == ""
        text = json.dumps(profile.to_json())
        assert not [user for user in ("ann", "ben", "dee") if f'"{user}"' in text]

    def test_json_gives_it_back(self, profile):
        assert Profile.from_json(json.loads(json.dumps(profile.to_json())), "here") == profile


def test_holes_and_withdrawn_contents_are_counted_apart(store, monkeypatch):
    import pyarrow as pa

    contents = store.contents
    ids = contents["content_id"].to_pylist()
    is_hole, is_withdrawn = [each == "a5" for each in ids], [each == "u9" for each in ids]
    columns = {name: contents[name] for name in contents.column_names}
    columns["content_id"] = pa.array([None if hole else each for each, hole in zip(ids, is_hole, strict=True)])
    kinds = contents["kind"].to_pylist()
    columns["kind"] = pa.array([None if hole else kind for kind, hole in zip(kinds, is_hole, strict=True)])
    changed = Store(store.folder)
    changed.__dict__["contents"] = pa.table({**columns, "is_withdrawn": is_withdrawn})
    counts = profile_of(changed).counts
    assert counts["contents"] == len(ids) - 1
    assert (counts["withdrawn"], counts["by_id_alone"], counts["listed"]) == (1, 0, len(ids) - 2)


def test_a_store_of_before_sessions_and_devices(copied):
    for name in ("session", "device"):
        (copied.folder / "histories" / f"{name}.npy").unlink()
    (copied.folder / "vocabularies" / "device.parquet").unlink()
    profile = profile_of(Store(copied.folder))
    assert profile.devices == {"unknown": 17}
    assert profile.sessions["unknown_share"] == 1


def test_stray_times_are_no_days_of_the_data(world_store):
    usual, store = profile_of(world_store), Store(world_store.folder)
    histories = world_store.histories
    times = np.array(histories.timestamp_us)
    times[histories.offsets[1] - 1] += 365 * 86_400_000_000
    store.__dict__["histories"] = replace(histories, timestamp_us=times)
    found = profile_of(store)
    assert found.counts["events_later"] == usual.counts["events_later"] + 1
    assert found.last_day == usual.last_day
    assert found.span[1] > usual.span[1]


class TestFiles:
    def test_written_once_with_a_verdict(self, copied):
        profile, verdict = write_profile(copied)
        assert verdict.level == "first"
        assert profile_at(copied.folder) == profile == profile_at(copied.folder / FILE)
        assert verdict_at(copied.folder) == verdict
        before = (copied.folder / FILE).stat().st_mtime_ns
        assert write_profile(copied) == (profile, verdict)
        assert (copied.folder / FILE).stat().st_mtime_ns == before

    @pytest.mark.parametrize("damage", ["{", "{}", '{"format": 1, "days": 3}', "[]"])
    def test_a_damaged_one_is_made_anew(self, copied, damage):
        profile, _ = write_profile(copied)
        (copied.folder / FILE).write_text(damage)
        assert write_profile(copied)[0] == profile
        assert profile_at(copied.folder / FILE) == profile

    def test_the_version_before_is_compared(self, copied):
        other = copied.folder.with_name("0" * 16)
        shutil.copytree(copied.folder, other)
        manifest = json.loads((other / "manifest.json").read_text())
        (other / "manifest.json").write_text(json.dumps({**manifest, "fingerprint": "0" * 16}))
        assert newest_other(other) == copied.folder
        verdict = write_profile(Store(other), copied.folder)[1]
        assert verdict.compared_with == copied.fingerprint
        assert [finding.rule for finding in verdict.findings] == ["nothing_new"]

    def test_a_version_before_that_is_gone_is_none(self, copied, tmp_path):
        (tmp_path / "empty").mkdir()
        assert write_profile(copied, tmp_path / "empty")[1].level == "first"

    def test_named_by_folder_fingerprint_or_file(self, copied):
        root = copied.folder.parent
        write_profile(copied)
        for given in (str(copied.folder), copied.fingerprint, str(copied.folder / FILE), str(root), "current"):
            assert profile_at(located(given, root)).store == copied.fingerprint
        with pytest.raises(UserError, match=f"nowhere: neither .* has {copied.fingerprint}"):
            located("nowhere", root)

    @pytest.mark.parametrize("text", ["{}", "{", "[1]", '{"days": null}'])
    def test_what_is_no_profile(self, tmp_path, text):
        path = tmp_path / "other.json"
        path.write_text(text)
        with pytest.raises(UserError, match=r"other\.json"):
            profile_at(path)

    def test_no_verdict(self, tmp_path):
        (tmp_path / "x.json").write_text("{}")
        with pytest.raises(UserError, match="has no verdict"):
            verdict_at(tmp_path / "x.json")


def test_a_fault_that_goes_on_is_seen_beside_a_version_from_before_it(tmp_path):
    clean, faulty = (tmp_path / f"{name}.json" for name in ("clean", "faulty"))
    days = [a_day(at) for at in range(35)]
    changed = [replace(a_day(at), contexts={"home": 4_000}) for at in range(37)]
    clean.write_text(json.dumps(a_profile(days).to_json()))
    faulty.write_text(json.dumps(a_profile(changed[:36]).to_json()))
    tonight = tmp_path / "tonight.json"
    tonight.write_text(json.dumps(a_profile(changed).to_json()))
    assert verdict_beside(tonight, faulty, Thresholds()).level == "fine"
    assert verdict_beside(tonight, clean, Thresholds()).level == "broken"
