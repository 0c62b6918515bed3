"""`rows=divided` on the command line: begun by two processes, continued by any number, evaluated and exported by
one.
"""

import shutil
import signal
from pathlib import Path

import pytest
import torch

from tests.command_line import SMALL_WORLD, ok, refused
from tests.commands.test_forget import PREPARED
from tests.end_to_end.test_train import TRAIN, finished, stop
from towers.assembly.warm_start import store_of_run
from towers.data.store import Store
from towers.training.checkpoints import load_weights

pytestmark = [pytest.mark.unhooked, pytest.mark.slow]
DIVIDED = (*TRAIN, "rows=divided", "trainer.max_epochs=3")
DELTA, IS_TRAINED = "two_tower.content_tower._id_delta.weight", "two_tower.content_tower._is_trained"


@pytest.fixture(scope="module")
def begun(demo: tuple[Path, str]) -> tuple[Path, Path]:
    """A run of two processes that were stopped; each has written its rows."""
    folder, _ = demo
    assert stop(folder, signal.SIGTERM, *DIVIDED, "name=begun", "trainer=ddp") == 143
    (run,) = (folder / "runs" / "begun").iterdir()
    (rows,) = run.glob("last.rows-*")
    assert {path.name for path in rows.iterdir()} == {".metadata", "__0_0.distcp", "__1_0.distcp"}
    state = torch.load(run / "last.ckpt", weights_only=True)
    assert state["rows"]["folder"] == rows.name
    assert state["state_dict"][f"learner.{DELTA}"] is None
    return folder, run


def copied(begun: tuple[Path, Path], name: str) -> None:
    folder, run = begun
    shutil.copytree(run, folder / "runs" / name / run.name)


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_ended_by_any_number_of_processes(begun: tuple[Path, Path], processes: int) -> None:
    folder, run = begun
    name = f"ended{processes}"
    copied(begun, name)
    more = ("trainer=ddp", f"trainer.devices={processes}") if processes > 1 else ()
    assert "going on from step" in ok(folder, *DIVIDED, f"name={name}", *more)
    summary, weights, _ = finished(folder, name)
    assert summary["epochs"] == 3
    assert all(torch.isfinite(tensor).all() for tensor in weights.values() if tensor.is_floating_point())
    assert len(weights[DELTA]) == weights["two_tower.content_tower._is_trained"].sum()
    of_run = ("experiment=demo", *SMALL_WORLD, f"checkpoint=runs/{name}/{run.name}")
    assert "recall@20" in ok(folder, "evaluate", *of_run)
    ok(folder, "export", *of_run, f"paths.exports={name}", "promote=true")
    assert (folder / name / "current").exists()


def test_what_comes_before_and_beside_a_training(begun: tuple[Path, Path]) -> None:
    """The run has a warm start, averaged weights, ids of few events, and an export of the newest store's contents."""
    folder, run = begun
    copied(begun, "earlier")
    ok(folder, *DIVIDED, "name=earlier")
    pair = (*DIVIDED, "trainer=ddp", "trainer.max_epochs=1", "content_tower.id_min_events=20")
    average = "{_target_: pytorch_lightning.callbacks.EMAWeightAveraging, use_buffers: false}"
    warm = (f"warm_start.checkpoint=runs/earlier/{run.name}", f"trainer.callbacks=[{average}]")
    ok(folder, *pair, "name=later", *warm)
    weights = finished(folder, "later")[1]
    assert len(weights[DELTA]) < len(finished(folder, "earlier")[1][DELTA])
    line = refused(folder, *pair, "name=carried", *warm, "warm_start.optimizer=carry")
    assert "warm_start.optimizer=carry: " in line
    later = next((folder / "runs" / "later").iterdir()).relative_to(folder)
    of_run = ("experiment=demo", *SMALL_WORLD, f"checkpoint={later}", "paths.exports=later")
    ok(folder, "export", *of_run, "promote=true")
    ok(folder, "export", *of_run, "promote=true", "refresh=true")


def test_a_run_goes_on_and_opens_after_listeners_are_forgotten(demo: tuple[Path, str], tmp_path: Path) -> None:
    """Contents whose counts fall below the limit keep their trained row, and no other content gets it."""
    folder = tmp_path / "demo"
    shutil.copytree(demo[0], folder, symlinks=True, ignore=shutil.ignore_patterns("exports", "printed.txt", "wandb"))
    given = (*DIVIDED, "content_tower.id_min_events=20", "train_until=test", "placement=none", "name=forgetful")
    assert stop(folder, signal.SIGTERM, *given) == 143
    (run,) = (folder / "runs" / "forgetful").iterdir()
    state = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    before = state[f"learner.{IS_TRAINED}"]
    names = Store.open(folder / "stores" / "world-0").user_ids.tolist()[::4]
    ok(folder, "forget", f"users=[{','.join(names)}]", "remove=true", *PREPARED)
    store = store_of_run(run, folder / "stores")
    current = store.folder.parent / "current"
    current.unlink()  # the store that is prepared next begins a run of its own; this one goes on with its own store
    current.symlink_to(store.folder.name)
    counts = store.trained_until("test").train_positives
    assert int((counts >= 20).sum()) < int(before.sum())
    assert "going on from step" in ok(folder, *given)
    weights = load_weights(run / "last.ckpt")
    assert torch.equal(weights[IS_TRAINED], before)
    assert len(weights[DELTA]) == before.sum()
    ok(folder, "evaluate", "experiment=demo", *SMALL_WORLD, f"checkpoint=runs/forgetful/{run.name}")


def test_two_that_are_killed_end_with_the_same_bits(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    pair = (*DIVIDED, "trainer=ddp")
    ok(folder, *pair, "name=whole_pair")
    assert stop(folder, signal.SIGKILL, *pair, "name=killed_pair") == -9
    assert "going on from step" in ok(folder, *pair, "name=killed_pair")
    (_, whole, rows), (_, weights, again) = (finished(folder, name) for name in ("whole_pair", "killed_pair"))
    assert rows == again
    assert all(torch.equal(weights[key], whole[key]) for key in whole)
    (run,) = (folder / "runs" / "killed_pair").iterdir()
    assert len(list(run.glob("*.rows-*"))) == 2  # of the last and of the best
    assert not list(run.glob(".*.partial"))
