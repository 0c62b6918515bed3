"""Nights and rollbacks as runs of Weights & Biases, read back by wandb's own programs."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import wandb

from tests.lifecycle.watching.wandb_reading import read_back, runs_in
from tests.lifecycle.watching.wandb_server import KEY, listening
from towers.data.store import Store
from towers.errors import UserError
from towers.lifecycle.gate.verdict import Outcome, Verdict
from towers.lifecycle.record import Bar, Record, Remark
from towers.lifecycle.watching import wandb_shown
from towers.lifecycle.watching.night_state import NightState, Serving, Step
from towers.lifecycle.watching.wandb_links import kept
from towers.lifecycle.watching.wandb_night import KEPT_COPIES, WandbNight, _alias, _drop_copies
from towers.manifest import read_json
from towers.retrieval.export import Export

pytestmark = pytest.mark.unhooked
SECRET = "hunter2-hunter2"
REGISTRY = "wandb-registry-model/towers"
SETTINGS = {"registry": None, "reference_above_mb": 1.0, "listeners": 3, "k": 4, "upload_within_s": 60.0}


@contextmanager
def only(home: Path, **variables: str):
    """Gives the block a fresh environment, with a secret and only the given variables of wandb's."""
    wandb.teardown()  # it keeps its settings for the rest of a process
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    given = {"HOME": str(home), "SOME_TOKEN": SECRET, "NO_PROXY": "*", **variables}
    with patch.dict(os.environ, {**own, **given}, clear=True), patch.object(sys, "argv", ["towers", f"key={SECRET}"]):
        try:
            yield
        finally:
            wandb.teardown()


def serving_at(folder: Path) -> Serving:
    manifest = read_json(folder / "manifest.json")
    return Serving(version=folder.name, folder=folder, space_id=manifest["space_id"], data_end=None, since=None)


@pytest.fixture(scope="module")
def state(demo, tmp_path_factory) -> NightState:
    """A night that has published the demo's version; the same one served before, under another name."""
    folder = demo[0]
    export, run = (folder / "exports" / "current").resolve(), next((folder / "runs" / "demo").iterdir())
    place = tmp_path_factory.mktemp("served")
    before = place / "exports" / "20260101-001-before"
    shutil.copytree(export, before, copy_function=os.link)  # elsewhere, so that files named by address are others
    store = Store((folder / "stores" / "world-0" / "current").resolve())
    outcomes = (
        Outcome(rule="finite", status="passed", words="9,204 figures", figures={"figures": 9204.0}),
        Outcome(rule="main_metric", status="refused", words=f"falls, says {SECRET}", limit=0.1, interval=(-0.3, -0.2)),
    )
    began = datetime(2026, 7, 14, 2, 15, tzinfo=UTC)
    return NightState(
        data="world-0",
        experiment="demo",
        started=began,
        root="raw",
        project="towers",
        nights=place / "nights" / "world-0",
        runs=folder / "runs",
        record=Record(
            night="20260713-0123456789", version=export.name, judged=f"demo/{run.name}", refit=f"demo/{run.name}",
            store=store.fingerprint, metrics={"recall@20": 0.5}, verdict=Verdict(outcomes=outcomes).to_json(),
        ),
        store=store.folder, twin=run, refit=run, export=export, rival=before.name,
        served_before=serving_at(before), serving=serving_at(export),
        config={"name": "demo", "evaluation": {"main_metric": "recall@20"}, "logger": {"project": "towers"}},
        means={
            "tonight": {"recall@20": 0.5, "recall@20/discovery": 0.25, "ndcg@20": 0.9},
            "champion": {"recall@20": 0.4},
        },
        steps=(Step(name="prepare", began=began, ended=began + timedelta(seconds=3), facts={"rows": {"events": 7}}),),
        ending="published", why=f"published {export} for {SECRET}", ended=began + timedelta(minutes=5),
    )  # fmt: skip


def at(state: NightState, folder: Path, **facts) -> NightState:
    return replace(state, nights=folder / "nights" / state.data, **facts)


@pytest.fixture(scope="module")
def offline(state, tmp_path_factory):
    """The night, offline: its state, the run read back, the output, and the home of the user who ran it."""
    folder = tmp_path_factory.mktemp("offline")
    home = tmp_path_factory.mktemp("home")
    told = at(state, folder)
    with only(home), patch("towers.training.wandb_runs.tell", (said := []).append):
        WandbNight(**{**SETTINGS, "registry": REGISTRY}).ended(told)
    (run,) = runs_in(told.nights)
    return told, read_back(run), said, home


def test_the_run_is_the_nights_and_in_its_group(offline):
    state, found, _, _ = offline
    run = found.run
    assert (run["run_id"], run["display_name"]) == (
        "world-0-night-20260713-0123456789",
        "world-0/night-20260713-0123456789",
    )
    assert (run["run_group"], run["job_type"], run["project"]) == ("nights of world-0", "night", "towers")
    assert found.config == {
        **state.config,
        "uses": {"store": state.store.name, "served_before": "20260101-001-before"},
    }
    summary = found.summary
    assert (summary["ending"], summary["version"], summary["seconds"]) == ("published", state.export.name, 300)
    assert (summary["metrics/recall@20"], summary["seconds/prepare"], summary["rows/events"]) == (0.5, 3, 7)
    assert summary["profile/counts/users"] == read_json(state.store / "profile.json")["counts"]["users"]
    assert summary["profile/level"] == "first"


def test_curves_have_steps_of_their_own(offline):
    _, found, _, _ = offline
    axes = {one.get("glob_name"): one.get("step_metric") for one in found.records["metric"]}
    assert axes["twin/*"] == "twin/step"
    assert axes["refit/*"] == "refit/step"
    curve = [row for row in found.history if "twin/step" in row]
    assert [row["twin/step"] for row in curve] == [3, 6]
    assert all("twin/temperature" in row for row in curve)
    assert not any("@" in key.removeprefix("twin/validation/recall@20") for row in curve for key in row)


def test_tables_and_the_map(offline):
    state, found, _, _ = offline
    columns, rows = found.table("gate")
    assert columns == ["rule", "status", "words", "figures", "limit", "lower", "upper"]
    assert rows[0] == ["finite", "passed", "9,204 figures", '{"figures": 9204.0}', None, None, None]
    assert rows[1][4:] == [0.1, -0.3, -0.2]
    assert found.table("slices") == (["slice", "tonight", "champion"], [["all", 0.5, 0.4], ["discovery", 0.25, None]])
    assert found.table("findings")[0] == ["rule", "severity", "text", "figures"]
    picture = found.folder / "files" / found.summary["map.path"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    columns, rows = found.table("recommendations")
    assert len(rows) == 3 * 4
    export = Export(state.export, check_files=False)
    titles = set(export.contents["title"].to_pylist())
    assert {row[columns.index("title")] for row in rows} <= titles
    last = len(export.user_ids) - 1
    assert {row[0] for row in rows} == {0, last // 2, last}


def test_artifacts_have_their_lineage_and_aliases(offline):
    state, found, _, _ = offline
    (store,), (checkpoint,) = found.artifacts("world-0-store"), found.artifacts("world-0-checkpoint")
    before, version = found.artifacts("world-0-export")
    assert [one["type"] for one in (store, checkpoint, version)] == ["dataset", "model", "embeddings"]
    assert [one.get("use_after_commit", False) for one in (store, before)] == [True, True]
    assert [one.get("use_after_commit", False) for one in (checkpoint, version)] == [False, False]
    assert {state.store.name} < set(store["aliases"])
    assert {"20260101-001-before"} < set(before["aliases"])
    assert "champion" not in before["aliases"]
    for made in (checkpoint, version):
        assert {"champion", state.export.name} < set(made["aliases"])
    assert json.loads(version["metadata"])["space_id"] == state.serving.space_id
    assert version["files"]["axes.npy"]["local_path"].startswith(str(state.nights))
    assert (state.export / "content_tower.onnx").stat().st_size > 1_000_000
    for name in ("users.arrow", "manifest.json", "content_tower.onnx"):  # with ids of listeners, or large
        assert version["files"][name]["ref"] == (state.export / name).as_uri()
        assert "local_path" not in version["files"][name]
    assert {"config.yaml", "last.ckpt", "best.ckpt"} <= checkpoint["files"].keys()


def test_no_listener_and_no_secret_is_in_it(offline):
    """Every file that could be uploaded is searched; the ids of shown listeners stand in a file beside the runs."""
    state, found, _, home = offline
    ids = Export(state.export, check_files=False).user_ids
    names = [str(user) for user in pa.ipc.open_file(state.export / "users.arrow").read_all()["user_id"].to_pylist()]
    beside = state.nights / "wandb" / wandb_shown.FILE
    shown = read_json(beside)["runs"][found.run["run_id"]]
    assert set(shown) <= set(names)
    assert len(ids) == len(names)
    for path in state.nights.rglob("*"):
        if not path.is_file() or path == beside:
            continue
        data = path.read_bytes()
        assert SECRET.encode() not in data, path
        if data[:4] == b"PAR1":
            data = str(pq.read_table(path).to_pylist()).encode()
        assert not [name for name in names if name.encode() in data], path
    assert "environment" not in found.records
    assert "output_raw" not in found.records
    assert [path for path in home.rglob("*") if path.is_file() and "wandb" in path.parts] == []


def test_a_version_that_was_put_away_before_its_run_is_written_is_no_champion(state):
    away = replace(state, serving=state.served_before)
    assert _alias(state) == "champion"
    assert _alias(away) is None
    bar = Bar(when="2026-07-14T03:00:00", who="ann@here", why="wrong covers")
    assert _alias(replace(away, record=replace(state.record, bar=bar))) == "rejected"


def test_copies_go_with_their_run_and_the_oldest_of_many(tmp_path):
    copies = tmp_path / wandb_shown.COPIES
    for day in range(KEPT_COPIES + 2):
        (copies / f"night-{day}").mkdir(parents=True)
        run = tmp_path / f"offline-run-202607{day:02}_021500-night-{day}"
        run.mkdir()
        (run / f"run-night-{day}.wandb").touch()
    (copies / "cleaned").mkdir()
    (tmp_path / "offline-run-20260731_021500-night-31" / "run-night-31.wandb.synced").touch()
    _drop_copies(tmp_path)
    assert {path.name for path in copies.iterdir()} == {f"night-{day}" for day in range(1, KEPT_COPIES + 1)}


def test_who_was_shown_before_a_night_went_on_is_found(tmp_path):
    folder = tmp_path / "small" / "wandb"
    wandb_shown.note(folder, "r", ["u1", "u2"])
    wandb_shown.note(folder, "r", ["u2", "u3"])
    assert [count for *_, count in wandb_shown.runs_with(tmp_path, ["u1", "u2", "u3"])] == [3]


def test_what_cannot_be_linked_offline_is_kept(offline):
    state, _, _, _ = offline
    (link,) = kept(state.nights / "wandb")
    assert (link.artifact, link.version, link.registry) == ("world-0-export", state.export.name, REGISTRY)
    assert link.aliases == ("champion", state.export.name)


def test_who_is_forgotten_is_found_and_goes(offline, tmp_path):
    state, found, _, _ = offline
    copy = tmp_path / "nights" / state.data
    subprocess.run(["cp", "-r", state.nights, copy.parent.mkdir() or copy], check=True)
    (one, *_) = read_json(copy / "wandb" / wandb_shown.FILE)["runs"][found.run["run_id"]]
    ((folder, run_id, count),) = wandb_shown.runs_with(copy.parent, [one, "nobody"])
    assert (folder, run_id, count) == (copy / "wandb", found.run["run_id"], 1)
    wandb_shown.remove_run(folder, run_id)
    assert [path for path in runs_in(copy) if path.exists()] == []
    assert list((folder / wandb_shown.COPIES).iterdir()) == []
    assert list(wandb_shown.runs_with(copy.parent, [one])) == []


def test_a_roll_back_moves_the_aliases(offline, tmp_path):
    """The artifacts are those of the night: they have the same digest."""
    state, night, _, home = offline
    remark = Remark(
        when="2026-07-15T08:00:00.000001+00:00", who="ann@here", event="put back", why=f"wrong covers {SECRET}"
    )
    record = replace(state.record, remarks=(remark,))
    told = at(state, tmp_path, record=record, served_before=state.serving, serving=state.served_before, ending=None)
    with only(home):
        WandbNight(**SETTINGS).put_back(told)
    (folder,) = runs_in(told.nights)
    found = read_back(folder)
    assert (found.run["job_type"], found.run["run_id"]) == ("rollback", "world-0-rollback-20260715080000")
    assert found.run["run_group"] == night.run["run_group"]
    assert (found.summary["who"], found.summary["why"]) == ("ann@here", "wrong covers ***")
    bad, good = found.artifacts("world-0-export")
    assert {"rejected", state.export.name} < set(bad["aliases"])
    assert {"champion", "20260101-001-before"} < set(good["aliases"])
    digests = [one["digest"] for one in night.artifacts("world-0-export")]
    assert [one["digest"] for one in (good, bad)] == digests
    assert len(set(digests)) == 2


def test_an_early_ending_tells_what_there_is(state, tmp_path):
    nothing = {"record": None, "store": None, "twin": None, "refit": None, "export": None, "means": {}}
    told = at(state, tmp_path, **nothing, ending="failed", why="data.root: no folder", served_before=None)
    with only(tmp_path):
        WandbNight(**SETTINGS).ended(told)
    (folder,) = runs_in(told.nights)
    found = read_back(folder)
    assert found.run["run_id"] == "world-0-night-20260714-021500"
    assert (found.summary["ending"], found.summary["why"]) == ("failed", "data.root: no folder")
    assert "artifact" not in found.records


@pytest.mark.parametrize(
    ("facts", "mode"), [({"project": None}, "offline"), ({"ending": "nothing"}, "offline"), ({}, "disabled")]
)
def test_where_there_is_to_be_no_run_there_is_none(state, tmp_path, facts, mode):
    told = at(state, tmp_path, **facts)
    with only(tmp_path, WANDB_MODE=mode):
        WandbNight(**SETTINGS).ended(told)
    assert not told.nights.exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("registry", "model/towers"),
        ("registry", "wandb-registry-model"),
        ("k", 0),
        ("listeners", -1),
        ("reference_above_mb", float("nan")),
        ("reference_above_mb", -1.0),
    ],
)
def test_a_value_that_will_not_do_is_one_line(key, value):
    with pytest.raises(UserError, match=rf"^watchers\.wandb\.{key}={value}: must be "):
        WandbNight(**{**SETTINGS, key: value})


@pytest.mark.slow
def test_what_was_offline_is_synced_and_then_linked(offline, state, tmp_path, capfd):
    """`wandb sync` uploads the night with its inputs; the next night uploads itself, links both and deletes the
    copies.
    """
    told, night, _, home = offline
    nights = tmp_path / "nights" / state.data
    with listening() as house, only(home, WANDB_BASE_URL=house.address, WANDB_API_KEY=KEY):
        command = [sys.executable, "-m", "wandb", "sync", night.folder]
        synced = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert synced.returncode == 0, synced.stderr
        run = house.runs[night.run["run_id"]]
        assert (run["groupName"], run["jobType"]) == ("nights of world-0", "night")
        version = house.artifact("world-0-export", "champion")
        assert version.logged_by == night.run["run_id"]
        assert version.is_committed
        assert house.artifact("world-0-store", told.store.name).used_by == {night.run["run_id"]}
        assert house.artifact("world-0-export", "20260101-001-before").used_by == {night.run["run_id"]}
        nights.parent.mkdir()
        told.nights.rename(nights)
        later = at(state, tmp_path, record=replace(state.record, night="20260714-9876543210"))
        WandbNight(**{**SETTINGS, "registry": REGISTRY}).ended(later)
        nights.rename(told.nights)
        assert house.unknown == []
        assert house.runs["world-0-night-20260714-9876543210"]["jobType"] == "night"
    collection = f"household_entity/{REGISTRY}"
    assert house.links == [
        (version.id, collection, ("champion", state.export.name)),  # the newest first
        (version.id, collection, (state.export.name,)),  # the alias is the later night's
    ]
    assert version.used_by == set()
    said = capfd.readouterr().err
    assert "wandb: uploaded; files in " in said
    assert f"wandb: world-0-export:{state.export.name} is linked to {REGISTRY}" in said
    assert kept(told.nights / "wandb") == []
    assert list((told.nights / "wandb" / wandb_shown.COPIES).iterdir()) == []


@pytest.mark.slow
def test_a_server_that_goes_away_holds_no_night(state, tmp_path, capfd):
    """The upload ends after its time; the whole run is kept to be synced."""
    told = at(state, tmp_path)
    with listening() as house, only(tmp_path, WANDB_BASE_URL=house.address, WANDB_API_KEY=KEY):
        house.dies_at = "CreateArtifact"
        begun = time.monotonic()
        WandbNight(**{**SETTINGS, "upload_within_s": 2.0, "registry": REGISTRY}).ended(told)
        assert time.monotonic() - begun < 10
    said = capfd.readouterr().err
    assert "wandb: not uploaded (it took more than 2 s); `wandb sync " in said
    assert f"wandb: not linked so far: world-0-export:{state.export.name}; " in said
    (folder,) = runs_in(told.nights)
    assert read_back(folder).summary["ending"] == "published"
    assert list((told.nights / "wandb" / wandb_shown.COPIES / "world-0-night-20260713-0123456789").rglob("tmp*"))


@pytest.mark.slow
@pytest.mark.parametrize("refuses", ["CreateArtifact", "PUT"])
def test_what_a_server_refuses_is_not_said_to_be_uploaded(state, tmp_path, capfd, refuses):
    """`wandb sync` itself ends well; the run is kept to be synced, with the copies of its files."""
    told = at(state, tmp_path)
    with listening() as house, only(tmp_path, WANDB_BASE_URL=house.address, WANDB_API_KEY=KEY):
        house.refuses = refuses
        WandbNight(**SETTINGS).ended(told)
    said = capfd.readouterr().err
    assert "wandb: not uploaded (the server lacks artifacts: " in said
    assert "wandb: uploaded" not in said
    (folder,) = runs_in(told.nights)
    assert not list(folder.glob("*.synced"))
    assert list((told.nights / "wandb" / wandb_shown.COPIES / "world-0-night-20260713-0123456789").rglob("tmp*"))
