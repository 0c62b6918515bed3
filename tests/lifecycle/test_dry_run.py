"""Any fault that would fail a night later refuses it before it begins."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.retrieval.small_export import content, small_export
from tests.service.conftest import VECTORS
from towers.data.sources.parquet_folder import ParquetFolder
from towers.errors import Unreachable, UserError
from towers.lifecycle import dry_run as module
from towers.lifecycle.dry_run import Headroom, Tried, dry_run
from towers.lifecycle.inventory import Folders
from towers.manifest import point_to, write_json
from towers.publishing.sinks.sink import NoSink

SETTINGS = Headroom(stores=1.5, runs=3.0, exports=1.5, spare_gb=0.5)


@pytest.fixture
def night(tmp_path: Path) -> Tried:
    """A data set that was prepared, trained on and published once."""
    (tmp_path / "raw" / "events").mkdir(parents=True)
    (tmp_path / "raw" / "events" / "part-0.parquet").write_bytes(bytes(1_000))
    for name, size in (("stores/music/v1", 2_000_000), ("runs/demo/abc", 1_000_000)):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "all.bin").write_bytes(bytes(size))
    point_to(tmp_path / "stores" / "music" / "current", Path("v1"))
    write_json(tmp_path / "runs" / "demo" / "abc" / "finished.json", {})
    small_export(tmp_path / "exports" / "first", [content(f"t{row}") for row in range(len(VECTORS))], VECTORS)
    point_to(tmp_path / "exports" / "current", Path("first"))
    folders = {name: tmp_path / name for name in ("stores", "runs", "exports", "evaluations", "nights")}
    return Tried(
        folders=Folders(**folders), nights=tmp_path / "nights", data="music", name="demo",
        source=ParquetFolder(str(tmp_path / "raw")), sink=NoSink(),
    )  # fmt: skip


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_a_good_night_begins_and_nothing_was_left(night: Tried, tmp_path: Path) -> None:
    before = everything(tmp_path)
    lines = dry_run(night, SETTINGS)
    assert everything(tmp_path) == before
    assert lines[0] == f"data.root={tmp_path}/raw: files: 1, 1 kB"
    assert any("paths.stores 3.0 MB, paths.runs 3.0 MB" in line for line in lines)
    assert any(line.startswith("first serves, and opens") for line in lines)


def test_the_very_first_night(night: Tried, tmp_path: Path) -> None:
    for name in ("stores", "runs", "exports"):
        shutil.rmtree(tmp_path / name)
    assert any("no version serves yet" in line for line in dry_run(night, SETTINGS))
    assert not (tmp_path / "stores").exists()


def lose_raw(folder: Path) -> None:
    (folder / "raw" / "events" / "part-0.parquet").unlink()


def bar_nights(folder: Path) -> None:
    (folder / "nights").write_text("a file where a folder is to be")


def damage(folder: Path) -> None:
    (folder / "exports" / "first" / "manifest.json").write_text("{}")


def lose_what_serves(folder: Path) -> None:
    shutil.rmtree(folder / "exports" / "first")


def copy_what_serves(folder: Path) -> None:
    (folder / "exports" / "current").unlink()
    (folder / "exports" / "first").rename(folder / "exports" / "current")


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (lose_raw, r"data\.root=.*raw: no events/\*\.parquet"),
    (bar_nights, r"paths\.nights=.*nights: cannot be written to \(.*nights: Not a directory\); give another"),
    (damage, r"paths\.exports: .*current: .*manifest\.json.*rollback"),
    (lose_what_serves, r"paths\.exports: .*current: .*first: no export here"),
    (copy_what_serves, r"paths\.exports: .*current is no link"),
]


@pytest.mark.parametrize(("spoil", "told"), FAULTS)
def test_what_would_fail_later_is_told_now(night: Tried, tmp_path: Path, spoil, told: str) -> None:
    spoil(tmp_path)
    with pytest.raises(UserError, match=told):
        dry_run(night, SETTINGS)


def test_all_of_it_is_told_at_once(night: Tried, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    class Closed(NoSink):
        def reach(self) -> None:
            raise UserError("sink.uri=nowhere: cannot be opened")

    for spoil in (lose_raw, bar_nights, damage):
        spoil(tmp_path)
    monkeypatch.setattr(module, "disk_usage", lambda _: Usage(free=1_000_000))
    with pytest.raises(UserError) as refusal:
        dry_run(replace(night, sink=Closed()), SETTINGS)
    told = str(refusal.value)
    for part in ("data.root=", "paths.nights=", "paths.exports: ", "sink.uri=nowhere"):
        assert part in told
    assert "a night needs about 506.0 MB" in told
    assert "1.0 MB are free; free some (towers clean), write elsewhere with paths.stores=FOLDER or" in told
    assert "\n" not in told


def test_settings_that_cannot_be() -> None:
    with pytest.raises(UserError, match=r"^headroom\.runs=-1"):
        replace(SETTINGS, runs=-1.0)


class Silent(NoSink):
    """An engine that does not answer."""

    def reach(self) -> None:
        raise Unreachable("sink.uri=http://nowhere: cannot be opened")


def test_where_nothing_is_wrong_but_what_does_not_answer_the_same_command_may_succeed(night: Tried) -> None:
    with pytest.raises(Unreachable, match=r"^nothing was begun: sink\.uri=http://nowhere: cannot be opened$"):
        dry_run(replace(night, sink=Silent()), SETTINGS)


def test_beside_a_mistake_it_is_a_mistake(night: Tried, tmp_path: Path) -> None:
    damage(tmp_path)
    with pytest.raises(UserError, match=r"sink\.uri=http://nowhere") as refusal:
        dry_run(replace(night, sink=Silent()), SETTINGS)
    assert not isinstance(refusal.value, Unreachable)
