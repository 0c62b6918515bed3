"""`towers clean`: deleted and kept folders, and that nothing is lost that serves."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.command_line import ok, refused, run_of
from towers.commands.clean import run as clean
from towers.config.composing import compose, resolved
from towers.config.signature import digest_of_run
from towers.data.refreshed import refreshed_fingerprint
from towers.lifecycle import cleaning
from towers.manifest import digest_of, point_to
from towers.training.run_folder import alone_in

DAY_S = 86_400
CLOSE = ("keep.runs=1", "keep.stores=1", "keep.exports=1")


def write(path, facts):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(facts if isinstance(facts, str) else json.dumps(facts))


class Place:
    """Folders as the commands leave them, with only the files that `towers clean` reads. Each night is a store, a run,
    an export and its evaluation, of the same configuration.
    """

    def __init__(self, folder):
        self.folder = folder

    def night(self, number, days_old, experiment="default"):
        store, run = f"store{number}", self.folder / f"runs/{experiment}/run{number}"
        version, data = self.folder / f"exports/v{number}", self.folder / "stores/parquet"
        write(data / store / "manifest.json", {"fingerprint": store, "spectrograms": f"set{number}"})
        write(data / f"spectrograms/set{number}/records.npy", "")
        write(run / "config.yaml", "{name: default, placement: {}}")
        write(run / "environment.json", {"store": store})
        write(run / "finished.json", {})
        (run / ".lock").touch()
        config = digest_of({"name": "default", "placement": {}})
        write(version / "manifest.json", {"space_id": "s", "config": config, "data_fingerprint": store})
        write(self.folder / f"evaluations/v{number}/evaluation-test/metrics.json", {"metadata": {"store": store}})
        write(self.folder / f"evaluations/baselines/key{number}/evaluation.json", {"store": store})
        point_to(version.parent / "current", version)
        point_to(data / "current", data / store)
        names = (data / store, data / f"spectrograms/set{number}", run, version, self.folder / f"evaluations/v{number}",
                 self.folder / f"evaluations/baselines/key{number}")  # fmt: skip
        for name in names:
            age(name, days_old)

    def clean(self, *overrides):
        paths = [
            f"paths.{name}={self.folder / name}" for name in ("stores", "runs", "exports", "evaluations", "nights")
        ]
        before = self.there()
        clean(compose("clean", [*paths, *overrides]))
        return sorted(before - self.there())

    def there(self):
        found = (str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if not path.is_symlink())
        return {path for path in found if path.count("/") == 1 + path.startswith(("runs/", "stores/", "evaluations/b"))}


def age(folder, days):
    """Sets the times of files and folders to so many days ago."""
    for path in [*folder.rglob("*"), folder] if folder.is_dir() and not folder.is_symlink() else [folder]:
        os.utime(path, (time.time() - days * DAY_S,) * 2, follow_symlinks=False)


@pytest.fixture
def place(tmp_path):
    """Six nights, the last of them today."""
    found = Place(tmp_path)
    for number, days_old in enumerate((50, 40, 30, 20, 10, 0)):
        found.night(number, days_old)
    return found


def of_night(number):
    return sorted([f"evaluations/baselines/key{number}", f"evaluations/v{number}", f"exports/v{number}",
                   f"runs/default/run{number}", f"stores/parquet/store{number}"])  # fmt: skip


def test_by_default_nothing_is_removed(place, capsys):
    assert place.clean(*CLOSE) == []
    printed = capsys.readouterr().out
    assert "would remove 24 things, " in printed
    assert "this was a dry run: dry_run=false removes them" in printed
    assert "4 baselines" in printed
    assert "not yet 14 days old" in printed


def test_old_ones_go_with_all_that_is_theirs(place):
    assert place.clean(*CLOSE, "dry_run=false") == sorted([name for number in range(4) for name in of_night(number)])
    assert sorted(path.name for path in place.folder.glob("stores/parquet/spectrograms/*")) == ["set4", "set5"]
    assert place.clean(*CLOSE, "dry_run=false") == []


def test_so_many_stay_however_old(place):
    gone = place.clean("older_than_days=0", "keep.runs=2", "keep.stores=3", "keep.exports=1", "dry_run=false")
    assert [name for name in gone if name.startswith("exports/")] == [f"exports/v{number}" for number in range(5)]
    assert [name for name in gone if name.startswith("runs/")] == [f"runs/default/run{number}" for number in range(4)]
    assert [name for name in gone if name.startswith("stores/")] == [f"stores/parquet/store{n}" for n in range(3)]


def test_each_experiment_has_its_newest(place):
    place.night(9, 99, experiment="other")
    (place.folder / "exports/current").unlink()
    point_to(place.folder / "stores/parquet/current", place.folder / "stores/parquet/store5")
    gone = place.clean("older_than_days=0", "keep.runs=1", "keep.exports=0", "keep.stores=0", "dry_run=false")
    assert {"runs/other/run9", "runs/default/run5"} & {*gone} == set()
    assert {"runs/default/run4", "stores/parquet/store4", "exports/v9", "evaluations/v9"} <= {*gone}
    assert "stores/parquet/store9" not in gone  # which the run needs
    assert (place.folder / "stores/parquet/spectrograms/set9").exists()


def test_what_serves_stays_with_all_that_it_came_from(place):
    point_to(place.folder / "exports/current", place.folder / "exports/v1")
    gone = place.clean("older_than_days=0", "keep.runs=0", "keep.exports=0", "keep.stores=0", "dry_run=false")
    assert not {*of_night(1)} & {*gone}
    assert {*of_night(2)} <= {*gone}
    assert (place.folder / "stores/parquet/spectrograms/set1").exists()
    assert "stores/parquet/store5" not in gone  # the current one of its data set


@pytest.mark.parametrize("warm", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_what_was_trained_on_its_window_stays_with_its_judged_twin(place, warm):
    """A version that a person exported and that serves keeps the run by which it is judged, and that run's store."""
    config = compose("train", ["seed=7"])
    served, twin = place.folder / "runs/default/run1", place.folder / "runs/default/run0"
    for run, until in ((twin, "validation"), (served, "end")):
        config.train_until = until
        config.warm_start.checkpoint = str(twin) if warm and until == "end" else None
        OmegaConf.save(config, run / "config.yaml")
    write(served / "environment.json", {"store": "store0"})
    digest = digest_of_run(resolved(config))
    write(place.folder / "exports/v1/manifest.json", {"space_id": "s", "config": digest, "data_fingerprint": "store0"})
    point_to(place.folder / "exports/current", place.folder / "exports/v1")
    gone = place.clean("older_than_days=0", "keep.runs=0", "keep.exports=0", "keep.stores=0", "dry_run=false")
    assert {"runs/default/run1", "runs/default/run0", "stores/parquet/store0"} & {*gone} == set()
    assert {"runs/default/run2", "stores/parquet/store1"} <= {*gone}


def test_of_a_refreshed_export_both_stores_stay(place):
    manifest = place.folder / "exports/v5/manifest.json"
    facts = json.loads(manifest.read_text())
    write(manifest, {**facts, "data_fingerprint": refreshed_fingerprint("store1", "store4")})
    gone = place.clean("older_than_days=0", "keep.runs=0", "keep.exports=0", "keep.stores=0", "dry_run=false")
    assert {"runs/default/run1", "stores/parquet/store1", "stores/parquet/store4"} & {*gone} == set()
    assert {"runs/default/run2", "runs/default/run4", "stores/parquet/store2"} <= {*gone}


def test_where_its_run_cannot_be_told_all_on_its_store_stay(place):
    point_to(place.folder / "exports/current", place.folder / "exports/v1")
    write(place.folder / "exports/v1/manifest.json", {"space_id": "s", "data_fingerprint": "store1"})
    gone = place.clean("older_than_days=0", "keep.runs=0", "keep.exports=0", "keep.stores=0", "dry_run=false")
    assert "runs/default/run1" not in gone


def test_current_that_cannot_be_read_ends_it(place):
    from towers.errors import UserError

    write(place.folder / "exports/v5/manifest.json", "{")
    with pytest.raises(UserError, match=r"exports/v5/manifest\.json: not valid JSON"):
        place.clean("dry_run=false")


def test_a_run_that_is_being_trained(place):
    old = place.folder / "runs/default/run0"
    with alone_in(old):
        age(old, 50)
        gone = place.clean(*CLOSE, "dry_run=false")
        assert {"runs/default/run0", "stores/parquet/store0"} & {*gone} == set()
    age(old, 50)
    assert "runs/default/run0" in place.clean(*CLOSE, "dry_run=false")


def test_a_training_that_begins_meanwhile(place, monkeypatch, capsys):
    monkeypatch.setattr("towers.commands.clean.is_held", lambda folder: False)
    with alone_in(place.folder / "runs/default/run0"):
        age(place.folder / "runs/default/run0", 50)
        assert "runs/default/run0" not in place.clean(*CLOSE, "dry_run=false")
    assert "run0: another process is training there" in capsys.readouterr().out


def test_a_version_that_is_promoted_meanwhile(place, monkeypatch):
    """Its run and store would have been deleted: everything is kept, and the caller is told."""
    from towers.commands.clean import table
    from towers.errors import Unreachable

    def promoting(judged, now_s):
        point_to(place.folder / "exports/current", place.folder / "exports/v0")
        return table(judged, now_s)

    monkeypatch.setattr("towers.commands.clean.table", promoting)
    before = place.there()
    with pytest.raises(Unreachable, match="current has moved meanwhile"):
        place.clean(*CLOSE, "dry_run=false")
    assert place.there() == before


def test_a_store_that_is_being_made(place):
    (place.folder / f"stores/parquet/.work.{os.getpid()}.partial").mkdir()
    gone = place.clean(*CLOSE, "dry_run=false")
    assert not [name for name in gone if name.startswith("stores/")]
    assert (place.folder / "stores/parquet/spectrograms/set0").exists()


NOBODY = 2**22 + 1
"""An id that no process can have."""


def test_what_killed_processes_have_left(place):
    old = [f"exports/.v7.{NOBODY}.partial", f"runs/default/run5/.last.ckpt.{NOBODY}.partial",
           f"stores/parquet/.work.{NOBODY}.partial", f"exports/.current.{NOBODY}.partial"]  # fmt: skip
    for name in old[:3]:
        write(place.folder / name / "file", "half")
    (place.folder / old[3]).symlink_to("v5")
    young = place.folder / f"evaluations/.table.txt.{NOBODY}.partial"
    write(young, "half")
    for name in old:
        age(place.folder / name, 2)
    place.clean("dry_run=false")
    assert [name for name in old if os.path.lexists(place.folder / name)] == []
    assert young.exists()


def test_a_kill_in_the_middle_is_made_good(place, monkeypatch):
    monkeypatch.setattr(cleaning.shutil, "rmtree", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        place.clean(*CLOSE, "dry_run=false")
    monkeypatch.undo()
    assert len(list(place.folder.rglob("*.removed"))) == 1
    place.clean(*CLOSE, "dry_run=false")
    assert list(place.folder.rglob("*.removed")) == []
    assert not (place.folder / "exports/v0").exists()


def test_links_are_not_followed(place):
    elsewhere = place.folder / "elsewhere"
    write(elsewhere / "kept.txt", "kept")
    (place.folder / "runs/default/run0/big").symlink_to(elsewhere)
    (place.folder / "runs/default/run1").rename(elsewhere / "run1")
    (place.folder / "runs/default/run1").symlink_to(elsewhere / "run1")
    age(place.folder / "runs/default/run0", 50)
    place.clean(*CLOSE, "dry_run=false")
    assert not (place.folder / "runs/default/run0").exists()
    assert (elsewhere / "kept.txt").exists()
    assert (elsewhere / "run1/finished.json").exists()
    assert (place.folder / "runs/default/run1").is_symlink()


def test_a_name_may_have_a_slash(place):
    """A run in a deeper folder needs its store like any other, and is deleted like any other."""
    place.night(9, 99, experiment="team/other")
    point_to(place.folder / "exports/current", place.folder / "exports/v5")
    point_to(place.folder / "stores/parquet/current", place.folder / "stores/parquet/store5")
    gone = place.clean("older_than_days=0", "keep.runs=1", "keep.exports=0", "keep.stores=0", "dry_run=false")
    assert "exports/v9" in gone
    assert "stores/parquet/store9" not in gone
    assert (place.folder / "runs/team/other/run9").exists()
    place.clean("older_than_days=0", "keep.runs=0", "keep.exports=0", "keep.stores=0", "dry_run=false")
    assert not (place.folder / "runs/team/other/run9").exists()


def test_what_is_not_ours_is_left_alone(place):
    names = ("runs/notes/old/readme.txt", "exports/mine/data.bin", "stores/parquet/mine/x", "evaluations/mine/x.txt",
             "runs/other_program/version_0/config.yaml")  # fmt: skip
    for name in names:
        write(place.folder / name, "mine")
        age((place.folder / name).parent, 99)
    place.clean("older_than_days=0", "keep.runs=0", "keep.exports=0", "keep.stores=0", "dry_run=false")
    assert [name for name in names if not (place.folder / name).exists()] == []


@pytest.mark.parametrize("override", ["keep.runs=-1", "older_than_days=-1", "keep.stores=few"])
def test_numbers_that_will_not_do(tmp_path, override):
    assert override.partition("=")[0] in refused(tmp_path, "clean", override)


def test_nothing_there(tmp_path):
    assert ok(tmp_path, "clean") == "nothing to clean: 0 things stay\n"


@pytest.mark.unhooked
def test_the_demos_own_folders(demo: tuple[Path, str], tmp_path: Path) -> None:
    """A real run, store and export are kept while `current` exists, and all of them are deleted without it."""
    folder = tmp_path / "demo"
    shutil.copytree(demo[0], folder, symlinks=True, ignore=shutil.ignore_patterns("worlds", "wandb"))
    for name in ("runs", "stores", "exports", "evaluations"):
        age(folder / name, 99)
    run = run_of(folder)
    hard = ("clean", "keep.runs=0", "keep.stores=0", "keep.exports=0", "dry_run=false")
    ok(folder, *hard)
    assert (folder / run / "finished.json").exists()
    ok(folder, "verify")
    (folder / "exports/current").unlink()
    next(folder.glob("stores/*/current")).unlink()
    ok(folder, *hard)
    assert not (folder / run).exists()
    assert list(folder.glob("stores/*/*/manifest.json")) == []
    assert list(folder.glob("stores/*/spectrograms/*/records.npy")) == []
    assert list(folder.glob("exports/*/manifest.json")) == []
    assert list(folder.glob("evaluations/baselines/*")) == []
