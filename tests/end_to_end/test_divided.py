"""`rows=divided` on the command line: begun by two processes, ended by any number, evaluated and exported by one."""

import shutil
import signal
from pathlib import Path

import pytest
import torch

from tests.command_line import SMALL_WORLD, ok, refused
from tests.end_to_end.test_train import TRAIN, finished, stop

pytestmark = [pytest.mark.unhooked, pytest.mark.slow]
DIVIDED = (*TRAIN, "rows=divided", "trainer.max_epochs=3")
DELTA = "two_tower.content_tower._id_delta.weight"


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
    """A warm start, averaged weights, ids of few events, and an export of the newest store's contents."""
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
