"""Removals at the end of a night, and that disks stay as full as they are."""

import os
import shutil
import time

import pytest

from tests.lifecycle.test_cleaning import age, write
from tests.lifecycle.versions import ledger_in, night, states, version_in
from tests.publishing.sink_export import change_manifest
from towers.errors import Unreachable, UserError
from towers.lifecycle.cleaning import Keep, verdicts
from towers.lifecycle.inventory import Folders, Origin, inventory
from towers.lifecycle.pruning import KeptNights, prune
from towers.lifecycle.rollback import roll_back
from towers.manifest import point_to
from towers.publishing.sinks.sink import NoSink
from towers.training.run_folder import alone_in, is_held

KEEP = KeptNights(versions=3, nights=2)


class Place:
    """Nights as the cycle leaves them: a store, two runs, an export, its evaluation and baselines each."""

    def __init__(self, folder):
        self.folder, self.ledger = folder, ledger_in(folder)
        self.folders = Folders(
            stores=folder / "stores", runs=folder / "runs", exports=folder / "exports",
            evaluations=folder / "evaluations", nights=folder / "nights",
        )  # fmt: skip

    def night(self, number, **facts):
        store = self.folder / f"stores/small/store{number}"
        write(store / "manifest.json", {"fingerprint": store.name, "spectrograms": f"set{number}"})
        write(self.folder / f"stores/small/spectrograms/set{number}/records.npy", "")
        point_to(store.parent / "current", store)
        for name in (f"judged{number}", f"refit{number}"):
            self.run("default", name, store.name)
        write(self.folder / f"evaluations/v{number}/evaluation-test/metrics.json", {"metadata": {"store": store.name}})
        for kept in ("baselines", "twins"):
            write(self.folder / f"evaluations/{kept}/key{number}/evaluation.json", {"store": store.name})
        night(self.ledger, number, **facts)
        change_manifest(self.folder / f"exports/v{number}", config="same every night", data_fingerprint=store.name)

    def run(self, experiment, name, store):
        write(self.folder / f"runs/{experiment}/{name}/environment.json", {"store": store})

    def prune(self, keep=KEEP):
        before = self.there()
        prune(self.ledger, self.folders, keep, lambda run: Origin(config="same every night"), time.time())
        return before - self.there()

    def there(self):
        """Returns the folders of versions, runs, stores, spectrograms, evaluations and baselines."""
        patterns = ("exports/*", "runs/*/*", "stores/*/*", "stores/*/spectrograms/*", "evaluations/*",
                    "evaluations/baselines/*", "evaluations/twins/*")  # fmt: skip
        found = (str(path.relative_to(self.folder)) for each in patterns for path in self.folder.glob(each))
        return {name for name in found if not name.endswith(("current", "spectrograms", "baselines", "twins", ".lock"))}


def of_night(number):
    return {f"exports/v{number}", f"runs/default/judged{number}", f"runs/default/refit{number}",
            f"stores/small/store{number}", f"stores/small/spectrograms/set{number}", f"evaluations/v{number}",
            f"evaluations/baselines/key{number}", f"evaluations/twins/key{number}"}  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)
    return Place(tmp_path)


def test_after_each_of_many_nights_the_same_is_left(place):
    """Of 12 nights 3 versions stay with their twins, and the last 2 refused challengers."""
    refused = {"published": False, "verdict": {"passed": False, "refused": ["coverage"]}}
    for number in range(1, 13):
        place.night(number, **(refused if number % 3 == 0 else {}))
        place.prune()
    assert place.there() == set.union(*map(of_night, (11, 10, 8, 12, 9)))
    assert len(place.ledger.records()) == 12
    assert place.prune() == set()


def test_what_serves_and_what_served_before_it_stay_whatever_is_newer(place):
    for number in (1, 2, 3, 4, 5):
        place.night(number)
    roll_back(place.ledger, NoSink(), "v2", "too loud", pytest.fail)
    place.night(6, published=False)
    place.night(7, published=False)
    gone = place.prune()
    assert gone == of_night(1) | of_night(5)  # 5 was marked bad before the last two
    assert states(place.ledger)["v2"] == "champion"
    roll_back(place.ledger, NoSink(), "v4", "too loud", pytest.fail)


def test_what_others_made_stays(place):
    for number in range(1, 6):
        place.night(number)
    place.run("mine", "by_hand", "store1")
    write(place.folder / "stores/other/store1/manifest.json", {"fingerprint": "store1 of another"})
    version_in(place.folders.exports, "by_hand")
    write(place.folder / "evaluations/comparison1/comparison.json", {"metadata": {"store": "gone"}})
    with alone_in(place.folder / "runs/default/refit2"):
        gone = place.prune()
    left = of_night(2) & {"runs/default/refit2", "stores/small/store2"}
    left |= {"stores/small/spectrograms/set2", "evaluations/baselines/key2", "evaluations/twins/key2"}
    stores = {"stores/small/store1", "stores/small/spectrograms/set1", "evaluations/baselines/key1"}
    stores |= {"evaluations/twins/key1"}
    assert gone == (of_night(1) | of_night(2)) - left - stores


def test_a_version_that_cannot_be_read_just_now_is_not_lost_and_replaces_none(place):
    for number in range(1, 6):
        place.night(number)
    index = place.folder / "exports/v4/index/contents.faiss"
    whole = index.read_bytes()
    index.write_bytes(b"")
    assert place.prune() == of_night(1)
    index.write_bytes(whole)
    assert place.prune() == of_night(2)


def test_a_move_of_current_meanwhile_ends_it(place, monkeypatch):
    for number in range(1, 6):
        place.night(number)
    whole = place.there()

    def moving(*arguments):
        point_to(place.folders.exports / "current", place.folders.exports / "v1")
        return verdicts(*arguments)

    monkeypatch.setattr("towers.lifecycle.pruning.verdicts", moving)
    with pytest.raises(Unreachable, match="current has moved meanwhile"):
        place.prune()
    assert place.there() == whole


def test_cleaning_keeps_what_a_roll_back_needs(place):
    """Refused nights leave newer versions; the two that served before are kept all the same, with all that they
    need.
    """
    for number in (1, 2, 3, 4):
        place.night(number)
    place.night(5, published=False)
    for path in place.folder.rglob("*"):
        age(path, 50)
    items = inventory(place.folders, lambda run: Origin(config="same every night"), is_held, time.time())
    judged = verdicts(items, Keep(runs=0, stores=0, exports=0), 1.0, time.time())
    stays = {verdict.item.path.name for verdict in judged if not verdict.goes}
    assert {"v4", "v3", "v2", "judged2", "refit2", "store2"} <= stays
    assert not {"v1", "v5"} & stays


def test_cleaning_knows_the_twins_of_versions(place):
    """`towers clean` keeps the twin by which a kept version is judged, not only the run that was exported."""
    for number in (1, 2):
        place.night(number)
    shutil.rmtree(place.folder / "exports/v1")
    for path in place.folder.rglob("*"):
        age(path, 50)
    items = inventory(place.folders, lambda run: Origin(config="same every night"), is_held, time.time())
    judged = verdicts(items, Keep(runs=0, stores=0, exports=0), 1.0, time.time())
    stays = {verdict.item.path.name for verdict in judged if not verdict.goes}
    assert {"v2", "judged2", "refit2", "store2"} <= stays
    assert not {"judged1", "refit1", "store1"} & stays


def test_numbers_that_do_not_fit():
    with pytest.raises(UserError, match=r"^keep\.versions=2: must be at least 3"):
        KeptNights(versions=2, nights=1)
    with pytest.raises(UserError, match=r"^keep\.nights=0: must be at least 1"):
        KeptNights(versions=3, nights=0)
