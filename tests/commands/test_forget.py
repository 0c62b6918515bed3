"""`towers forget`: places that hold a listener are printed, and after the removal no byte of the id is left."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.command_line import SMALL_WORLD, ok, refused, run_of
from tests.lifecycle.naming import naming
from tests.service.test_home_log import NOW_US, row, show, written
from towers.lifecycle import forgetting, forgetting_exports
from towers.lifecycle.watching import wandb_shown
from towers.publishing.sinks.lancedb import LanceSink
from towers.retrieval.export import Export
from towers.service.home_log import HomeLog

pytestmark = pytest.mark.unhooked

PREPARED = (
    "data.root=worlds/world-0",
    "data.name=world-0",
    "data.split.validation_days=15",
    "data.split.test_days=15",
    *(given for given in SMALL_WORLD if given.startswith("features.")),
)
"""The raw data of the demo, as it was prepared."""
LANCE = {"prefix": "towers", "batch_size": 64, "min_indexed": 20_000, "keep": 2, "dim": None}


@pytest.fixture
def place(demo: tuple[Path, str], tmp_path: Path) -> Path:
    """Copies the demo's folder and adds recommendations for all listeners and an engine."""
    folder = tmp_path / "demo"
    shutil.copytree(demo[0], folder, symlinks=True, ignore=shutil.ignore_patterns("printed.txt", "wandb"))
    (folder / "playlists").mkdir()
    ok(folder, "recommend", "user=all", "output=playlists/all.parquet", "k=3")
    LanceSink(uri=str(folder / "lancedb"), **LANCE).write(Export(folder / "exports/current"), lambda *told: None)
    return folder


@pytest.fixture
def gone(place: Path) -> str:
    """A listener whom the page of the evaluation shows, and a night's run in Weights & Biases."""
    folder = place / run_of(place) / "evaluation-test"
    page = (folder / "report.html").read_text()
    name = next(name for name in pq.read_table(folder / "profiles.parquet")["user_id"].to_pylist() if name in page)
    run = place / "nights" / "world-0" / "wandb" / "offline-run-20260714_021500-a"
    run.mkdir(parents=True)
    (run / "run-a.wandb").write_text("what they chose")
    wandb_shown.note(run.parent, "a", [name])
    return name


def left(place: Path, *names: str) -> list[str]:
    """Returns the files that name a listener, except the raw data, which belongs to the caller."""
    found = (str(path.relative_to(place)) for path in naming(place, *names))
    return [path for path in found if not path.startswith("worlds/")]


def everything(place: Path) -> dict[str, tuple[int, int]]:
    files = (path for path in place.rglob("*") if path.is_file())
    return {str(path.relative_to(place)): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def test_by_default_it_is_said_and_stays(place: Path, gone: str) -> None:
    before = everything(place)
    told = ok(place, "forget", f"user={gone}", "sink=lancedb")
    assert everything(place) == before
    for kind in ("lists", "evaluation", "baselines", "night's run", "export", "engine", "event log", "store"):
        assert f"\n{kind}" in told or f" {kind}" in told, kind
    assert "this was a dry run: remove=true removes them" in told
    assert "worlds/world-0 is yours and still names them: " in told
    assert ok(place, "forget", "user=nobody").startswith("nothing holds data of the listeners\n")


def test_not_a_byte_stays(place: Path, gone: str) -> None:
    served = (place / "exports/current").resolve().name
    others = [name for name in Export(place / "exports/current").user_ids if name != gone]
    assert len(left(place, gone)) >= 8
    told = ok(place, "forget", f"user={gone}", "remove=true", "sink=lancedb", *PREPARED)
    assert "nothing holds data of the listeners any more" in told
    assert left(place, gone) == []
    assert (place / "exports/current").resolve().name == f"{served}-1"
    ok(place, "verify")
    assert list(Export(place / "exports/current").user_ids) == others
    assert "no such listener" in refused(place, "recommend", f"user={gone}")
    ok(place, "recommend", f"user={others[0]}")
    lists = pq.read_table(place / "playlists/all.parquet")["user_id"].to_pylist()
    assert gone not in lists
    assert others[0] in lists
    assert not (place / run_of(place) / "evaluation-test/report.html").exists()
    assert [path.name for path in (place / "nights/world-0/wandb").iterdir()] == [wandb_shown.FILE]
    (entry,) = json.loads((place / "stores/forgotten.json").read_text())["forgotten"]
    assert (entry["listeners"], entry["finished"]) == (1, True)
    assert "export" in {one["kind"] for one in entry["removed"]}

    once = everything(place)
    again = ok(place, "forget", f"user={gone}", "remove=true", "sink=lancedb", *PREPARED)
    assert "nothing holds data of the listeners any more: 0 things changed" in again
    differ = {path for path, state in everything(place).items() if once.get(path) != state}
    assert {path.split("/")[0] for path in differ} <= {"stores", "lancedb"}
    ok(place, "prepare", *PREPARED)
    assert left(place, gone) == []


@pytest.mark.slow
def test_a_second_listener_of_a_file_and_no_raw_data(place: Path, gone: str) -> None:
    """The event log still has to forget the first listener; all other places have."""
    (place / "gone.txt").write_text(f"{gone}\n")
    line = refused(place, "forget", "users=gone.txt", "remove=true")
    assert (
        "1 things still hold data of the listeners: stores/world-0/log: needs data= and data.root= of world-0" in line
    )
    assert all(path.startswith(("stores/world-0/log/", "lancedb/", "gone.txt")) for path in left(place, gone))
    ok(place, "forget", "users=gone.txt", "remove=true", "sink=lancedb", *PREPARED)
    assert left(place, gone) == ["gone.txt"]


@pytest.mark.slow
def test_killed_and_run_again(place: Path, gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed after the prepare, after a file, between two exports and at the end; each next call goes on."""
    command = ("forget", f"user={gone}", "remove=true", *PREPARED)
    add = forgetting.Record.add

    def dead(*given: object) -> None:
        raise KeyboardInterrupt

    def killed_at(kind: str) -> None:
        def dying(record: forgetting.Record, trace: forgetting.Trace) -> None:
            (dead if trace.kind == kind else add)(record, trace)

        monkeypatch.setattr(forgetting.Record, "add", dying)
        with pytest.raises(AssertionError, match="the same command goes on"):
            ok(place, *command)
        monkeypatch.undo()

    shutil.rmtree(place / "lancedb")
    monkeypatch.setattr(forgetting.Places, "traces", dead)
    killed_at("nothing")
    assert left(place, gone)
    killed_at("lists")
    monkeypatch.setattr(forgetting_exports, "remove", dead)
    killed_at("nothing")
    assert len(list((place / "exports").glob("*/manifest.json"))) == 3  # both, and current
    killed_at("store")
    ok(place, *command)
    assert left(place, gone) == []
    ok(place, "verify")


def test_what_is_not_understood(tmp_path: Path) -> None:
    assert refused(tmp_path, "forget").startswith("towers: user: no listener is named; give user=ID")
    assert "gone.txt: no such file" in refused(tmp_path, "forget", "users=gone.txt")
    assert "several ids are users=[ID,ID]" in ok(tmp_path, "forget", "user=[a,b]")
    assert ok(tmp_path, "forget", "users=[a,b]") == "nothing holds data of the listeners\n"
    assert list(tmp_path.iterdir()) == []


def test_the_log_of_a_home_page(tmp_path: Path) -> None:
    log = HomeLog(tmp_path / "log")
    show(log, row(user_id="gone-listener"), row("r2", user_id="bob"))
    log.write_parts(NOW_US, everything=True)
    told = ok(tmp_path, "forget", "user=gone-listener", "home_log=log")
    assert "home log" in told
    assert "1 rows of 1 parts" in told
    assert "this was a dry run: remove=true removes them" in told
    assert naming(tmp_path, "gone-listener")
    told = ok(tmp_path, "forget", "user=gone-listener", "home_log=log", "remove=true")
    assert "nothing holds data of the listeners any more: 1 things changed" in told
    assert naming(tmp_path, "gone-listener") == []
    assert written(log)["user_id"].to_pylist() == ["bob"]
    assert ok(tmp_path, "forget", "user=gone-listener", "home_log=log") == "nothing holds data of the listeners\n"
    assert "elsewhere: no log of a home page here" in refused(
        tmp_path, "forget", "user=gone-listener", "home_log=elsewhere"
    )
    log.close()
