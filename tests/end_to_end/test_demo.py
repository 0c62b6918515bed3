"""All commands in order, on a small world."""

import csv
import json
import re
import shutil
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from omegaconf import DictConfig

from tests.command_line import EXPORT, SMALL_WORLD, apart, kill_when, ok, refused, run_of
from tests.retrieval.test_export import damage
from towers.commands import recommend, verify
from towers.config.composing import compose
from towers.data.store import write_arrow
from towers.errors import UserError

pytestmark = pytest.mark.unhooked
EXPERIMENT = ("experiment=demo", *SMALL_WORLD)
DEMO = ("demo", *SMALL_WORLD, *EXPORT)


def test_ends_with_something_to_look_at(demo: tuple[Path, str]) -> None:
    _, printed = demo
    for part in ("towers", "popularity", "own most-played", "item-kNN", "EASE", "cold_among_cold"):
        assert part in printed
    assert "Lately chosen by listener" in printed
    assert "Recommended to listener" in printed
    assert "not played in training" in printed


def test_leaves_what_a_result_needs_beside_it(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    run = folder / run_of(folder)
    assert {"config.yaml", "environment.json", "metrics.csv", "best.ckpt", "last.ckpt", "finished.json"} <= {
        path.name for path in run.iterdir()
    }
    evaluation = run / "evaluation-test"
    figures = json.loads((evaluation / "metrics.json").read_text())
    assert figures["metadata"]["libraries"]["torch"]
    assert 0 <= figures["rankers"]["towers"]["means"]["recall@20"] <= 1
    assert set(pq.read_table(evaluation / "metrics.parquet")["ranker"].to_pylist()) >= {"towers", "EASE"}
    with (run / "metrics.csv").open() as file:
        assert any(row["validation/recall@20"] for row in csv.DictReader(file))


def test_the_same_command_does_nothing_the_second_time(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    printed = ok(folder, *DEMO)
    for stage in ("prepare", "train", "evaluate", "export"):
        assert f"nothing to {stage}" in printed
    changed = {path for path, at in before.items() if path.exists() and path.stat().st_mtime_ns != at}
    assert not {path for path in changed if path.name != "digests.json"}


def test_recommend_similar_verify(demo: tuple[Path, str], tmp_path: Path) -> None:
    folder, printed = demo
    user = re.findall(r"towers recommend user=(\S+)", printed)[0]
    content = re.findall(r"towers similar content=(\S+)", printed)[0]
    assert "verified" in ok(folder, "verify")
    assert "Recommended to listener" in ok(folder, "recommend", f"user={user}", "k=3")
    assert "Similar to" in ok(folder, "similar", f"content={content}", "k=3")
    contents = pq.read_table(folder / "exports" / "current" / "contents.parquet").to_pylist()
    artist = next(row for row in contents if row["kind"] == "artist")
    assert artist["title"] in ok(folder, "similar", f"content='{artist['title']}'")
    tracks = [row["content_id"] for row in contents if row["kind"] == "track"]
    assert "this history" in ok(folder, "recommend", f"history=[{tracks[0]},{tracks[1]}]", "k=2")
    events = pq.read_table(folder / "worlds" / "world-0" / "events").to_pylist()
    refused = {row["content_id"] for row in events if row["user_id"] == user and row["action"] in ("skip", "dislike")}
    first, second, *_ = (track for track in tracks if track not in refused)
    listed = ok(folder, "recommend", f"user={user}", f"among=[{first},{second}]", "include_heard=true")
    recommended = listed.split("Recommended to")[1]
    assert first in recommended
    assert second in recommended
    ok(folder, "recommend", "user=all", "k=2", f"output='{tmp_path / 'all.parquet'}'")
    everybody = pq.read_table(tmp_path / "all.parquet")
    assert everybody.column_names == ["user_id", "rank", "content_id", "score", "chance"]
    heard = {(row["user_id"], row["content_id"]) for row in events if row["action"] == "play"}
    assert not heard & {(row["user_id"], row["content_id"]) for row in everybody.to_pylist()}


def test_callers_mistakes_get_one_line(demo: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = demo
    runs = sorted((folder / "runs" / "demo").iterdir())
    assert "user=nobody" in refused(folder, "recommend", "user=nobody")
    assert "user=1e5" in refused(folder, "recommend", "user=1e5")
    assert "give either user, or history" in refused(folder, "recommend")
    assert "'Sigur Rós'" in refused(folder, "similar", "content='Sigur Rós'")
    assert "kind=song" in refused(folder, "recommend", "history=[]", "kind=song")
    assert "k='two'" in refused(folder, "recommend", "history=[]", "k=two")
    assert "run `towers export` first" in refused(tmp_path, "verify")
    assert "run `towers train` first" in refused(tmp_path, "evaluate")
    assert "run `towers prepare`" in refused(tmp_path, "train", "data.root=x")
    assert "no such folder" in refused(tmp_path, "prepare", "data.root=nowhere")
    assert "data.root" in refused(tmp_path, "prepare")
    assert "optimizer.lr='fast'" in refused(folder, "train", *EXPERIMENT, "optimizer.lr=fast")
    assert "seed='four'" in refused(folder, "train", *EXPERIMENT, "seed=four")
    train = ("train", *EXPERIMENT, "name=refused")
    assert "trainer.monitor=validation/ndcg@7" in refused(folder, *train, "trainer.monitor=validation/ndcg@7")
    many = (*train, "evaluation.min_users=1000")
    assert "enough for the slices (none)" in refused(folder, *many, "trainer.monitor=validation/ndcg@20")
    assert "user_tower: dim 64 must be a multiple" in refused(folder, *train, "user_tower.num_heads=3")
    assert "content_tower: part_dropout" in refused(folder, *train, "content_tower.part_dropout=2")
    assert "objective: temperature" in refused(folder, *train, "objective.temperature=0")
    assert "datamodule: max_length" in refused(folder, *train, "datamodule.max_length=0")
    assert "optimizer: Invalid learning rate" in refused(folder, *train, "optimizer.lr=-1.0")
    assert "trainer: max_epochs=0" in refused(folder, *train, "trainer.max_epochs=0")
    assert "trainer:" in refused(folder, *train, "trainer.accelerator=foo")
    assert "precision" in refused(folder, *train, "trainer.precision=foo")
    assert "was prepared with [country,age_band]" in refused(folder, *train, "features.user_columns=[country]")
    assert "was prepared with 15;" in refused(folder, *train, "data.split.test_days=3")
    assert "not data.root=elsewhere" in refused(folder, *train, "data.root=elsewhere")
    assert not (folder / "runs" / "refused").exists()
    evaluation = ("evaluate", "experiment=demo")
    assert "no metric 'recall@7'" in refused(folder, *evaluation, "evaluation.main_metric=recall@7")
    assert "evaluation.ks=[]" in refused(folder, *evaluation, "evaluation.ks=[]")
    assert "neighbours" in refused(folder, *evaluation, "evaluation.baselines.item_knn.neighbours=0")
    assert "period=tomorrow" in refused(folder, "evaluate", "experiment=demo", "evaluation.period=tomorrow")
    assert not list(tmp_path.rglob("*.partial"))
    assert sorted((folder / "runs" / "demo").iterdir()) == runs


def test_a_damaged_export_is_noticed(demo: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = demo
    for name, word in (
        ("content_vectors.npy", "checksum"),
        ("user_tower.onnx", "checksum"),
        ("manifest.json", "match"),
    ):
        copy = tmp_path / name
        shutil.copytree(folder / "exports" / "current", copy)
        path = copy / name
        damaged = bytearray(path.read_bytes())
        damaged[-100] ^= 1
        path.write_bytes(damaged)
        assert word in refused(tmp_path, "verify", f"export={copy}")


def test_parts_of_two_spaces_are_not_mixed(demo: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = demo
    copy = tmp_path / "export"
    shutil.copytree(folder / "exports" / "current", copy)
    path = copy / "users.arrow"
    table = pa.ipc.open_file(path.read_bytes()).read_all()
    path.unlink()  # it is mapped by name
    write_arrow(path, table.replace_schema_metadata({"space_id": "another"}))
    user = table["user_id"][0].as_py()
    assert "checksum" in refused(tmp_path, "recommend", f"user={user}", f"export={copy}")
    unchecked = ("recommend", f"user={user}", f"export={copy}", "check=false")
    assert "must not be mixed" in refused(tmp_path, *unchecked)


@pytest.fixture(scope="module")
def composed() -> dict[ModuleType, DictConfig]:
    """Commands that read an export, with their settings: these take longer to compose than a damage to find."""
    return {verify: compose("verify", []), recommend: compose("recommend", ["user=somebody"])}


@pytest.mark.parametrize("keep", [None, 0, 0.5])
@pytest.mark.parametrize(
    "name",
    [
        "manifest.json.sha256",
        "contents.parquet",
        "contents.arrow",
        "content_vectors.npy",
        "content_tower.onnx",
        "users.arrow",
        "user_embeddings/part-00000.parquet",
        "histories/events.arrow",
        "histories/offsets.npy",
        "histories/user_codes.npy",
        "user_tower.onnx",
        "index/contents.faiss",
        "index/space_id",
    ],
)
def test_missing_and_truncated_files_are_named(
    demo: tuple[Path, str], tmp_path: Path, composed: dict[ModuleType, DictConfig], name: str, keep: float | None
) -> None:
    """The command line prints one line about it, as about every mistake of a caller."""
    folder, _ = demo
    copy = tmp_path / "export"
    shutil.copytree(folder / "exports" / "current", copy)
    user = pq.read_table(copy / "user_embeddings")["user_id"][0].as_py()
    damage(copy / name, keep)
    composed[recommend].user = user
    for command, config in composed.items():
        config.export = str(copy)
        with pytest.raises(UserError, match=re.escape(Path(name).name)):
            command.run(config)


@pytest.mark.slow  # half a minute
def test_killed_at_any_stage_the_same_command_ends_well(tmp_path: Path) -> None:
    """A kill during any stage is survived; test_prepare.py kills prepare."""

    def partial(pattern: str):
        return lambda: any(tmp_path.glob(pattern))

    stages = {
        "world": partial("worlds/.*.partial"),
        "train": partial("runs/demo/*/last.ckpt"),
        "export": partial("exports/.*.partial"),
    }
    command = (*DEMO, "evaluation.baselines=null")
    for stage, ready in stages.items():
        assert kill_when(tmp_path, ready, *command), stage
        for link in tmp_path.rglob("current"):
            assert (link / "manifest.json").exists(), stage
    printed = ok(tmp_path, *command)
    assert "nothing to train" in printed
    assert "verified" in ok(tmp_path, "verify")
    assert not list(tmp_path.rglob("*.partial"))
    (run,) = (tmp_path / "runs" / "demo").iterdir()
    with (run / "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == sorted(steps)


@pytest.mark.slow
def test_a_sweep_trains_every_choice_and_each_has_its_own_wandb_run(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    still = ("audio_encoder=none", "placement=none", "trainer.max_epochs=1")
    sweep = ("-m", *EXPERIMENT, *still, "seed=3,4", "name=sweep", "logger=wandb")
    done = apart(folder, "train", *sweep)  # wandb keeps settings of its own for the rest of a process
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list((folder / "runs" / "sweep").glob("*/finished.json"))) == 2
    assert len(list((folder / "runs" / "sweep").glob("*/wandb/offline-run-*/*.wandb"))) == 2
    (table,) = (folder / "runs" / "sweeps").glob("seed-*/runs.parquet")
    assert f"checkpoint=best:{table.parent.relative_to(folder)} takes" in done.stdout.splitlines()[-1]
    assert "job 2 of 2: seed=4\n" in done.stdout
    assert sorted(pq.read_table(table)["seed"].to_pylist()) == ["3", "4"]
    assert list(table.parent.glob("wandb/offline-run-*/files/media/table/runs_*.table.json"))
    assert refused(folder, "train", "-m", *EXPERIMENT, "seed=3,four")
