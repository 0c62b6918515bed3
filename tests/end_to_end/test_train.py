"""Training on the command line: stopped, killed, shared between processes, swept."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.command_line import SMALL_WORLD, environment, ok, refused, towers
from towers.training.checkpoints import final_checkpoint

pytestmark = pytest.mark.unhooked
TRAIN = (
    "train", "experiment=demo", *SMALL_WORLD, "logger=csv", "trainer.max_epochs=5",
    "trainer.monitor=validation/recall@20", "trainer.checkpoint_every_s=0.2", "datamodule.max_tokens=256",
    "trainer.refresh_sounds_every_steps=7",
)  # fmt: skip


def finished(folder: Path, name: str) -> tuple[dict, dict, list[dict[str, str]]]:
    """Returns finished.json, the final weights, and the CSV without the columns that differ in every run."""
    (run,) = (folder / "runs" / name).iterdir()
    with (run / "metrics.csv").open(newline="") as file:
        rows = [
            {key: value for key, value in row.items() if key not in ("seconds", "core_seconds")}
            for row in csv.DictReader(file)
        ]
    weights = torch.load(final_checkpoint(run), weights_only=True)["learner"]
    return json.loads((run / "finished.json").read_text()), weights, rows


def stop(folder: Path, number: int, *arguments: str, command: tuple[str, ...] = ("-m", "towers")) -> int:
    """Starts a command, sends it a signal after its first save, and waits; returns the exit code."""
    process = subprocess.Popen(
        [sys.executable, *command, *arguments], cwd=folder, env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    (name,) = (argument.partition("=")[2] for argument in arguments if argument.startswith("name="))
    deadline = time.monotonic() + 120
    while process.poll() is None and not any((folder / "runs").glob(f"{name}/*/last.ckpt")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.15)  # into the middle of an epoch
    os.killpg(process.pid, number)  # the processes that build batches, too, as schedulers do
    return process.wait(timeout=60)


@pytest.fixture(scope="module")
def never_stopped(demo: tuple[Path, str]):
    folder, _ = demo
    ok(folder, *TRAIN, "name=whole")
    return finished(folder, "whole")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_stopped_and_started_again_it_ends_with_the_same_bits(
    demo: tuple[Path, str], never_stopped, number: int, code: int
) -> None:
    folder, _ = demo
    name = f"stopped{number.value}"
    assert stop(folder, number, *TRAIN, f"name={name}", "datamodule.num_workers=2") == code
    assert not list((folder / "runs").glob(f"{name}/*/finished.json"))
    assert "going on from step" in ok(folder, *TRAIN, f"name={name}")
    summary, weights, rows = finished(folder, name)
    assert rows == never_stopped[2]
    assert summary["metrics"] == never_stopped[0]["metrics"]
    assert weights.keys() == never_stopped[1].keys()
    assert all(torch.equal(weights[key], never_stopped[1][key]) for key in weights)


def test_a_kill_while_contents_are_placed_costs_the_placement_alone(demo: tuple[Path, str], never_stopped) -> None:
    folder, _ = demo
    (run,) = (folder / "runs" / "whole").iterdir()
    for name in ("finished.json", "placed.ckpt"):
        (run / name).unlink()
    assert "placed by sound and metadata" in ok(folder, *TRAIN, "name=whole")
    summary, weights, rows = finished(folder, "whole")
    assert rows == never_stopped[2]
    assert summary["steps"] == never_stopped[0]["steps"]
    assert summary["placement"]["cosine"] == never_stopped[0]["placement"]["cosine"]
    assert all(torch.equal(weights[key], never_stopped[1][key]) for key in weights)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(demo: tuple[Path, str], never_stopped) -> None:
    """The signature ignores how a step is shared: the run is begun by one process and ended by two."""
    folder, _ = demo
    assert stop(folder, signal.SIGTERM, *TRAIN, "name=grown") == 143
    assert "going on from step" in ok(folder, *TRAIN, "name=grown", "trainer=ddp")
    summary, weights, _ = finished(folder, "grown")
    assert summary["steps"] == never_stopped[0]["steps"]
    assert all(torch.isfinite(tensor).all() for tensor in weights.values() if tensor.is_floating_point())


@pytest.mark.slow
def test_two_processes_that_are_stopped_end_with_the_same_bits(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    pair = (*TRAIN, "trainer=ddp", "trainer.max_epochs=4")
    ok(folder, *pair, "name=pair")
    assert stop(folder, signal.SIGTERM, *pair, "name=stopped_pair") == 143
    assert not list((folder / "runs").glob("stopped_pair/*/finished.json"))
    assert "going on from step" in ok(folder, *pair, "name=stopped_pair")
    (_, whole, rows), (_, weights, again) = (finished(folder, name) for name in ("pair", "stopped_pair"))
    assert rows == again
    assert all(torch.equal(weights[key], whole[key]) for key in whole)


@pytest.mark.slow
def test_torchrun_brings_its_own_processes(demo: tuple[Path, str]) -> None:
    """Without dropout, which differs between processes, two processes make of the first epoch what one makes."""
    folder, _ = demo
    still = (
        *TRAIN, "trainer.max_epochs=1", "content_tower.part_dropout=0", "content_tower.id_dropout=0",
        "content_tower.dropout=0", "user_tower.dropout=0", "audio_encoder.dropout=0",
    )  # fmt: skip
    ok(folder, *still, "name=alone")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "towers"]
    done = subprocess.run(
        [*command, *still, "name=two"], cwd=folder, env={**environment(), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    losses = [[float(row["loss"]) for row in finished(folder, name)[2] if row["loss"]] for name in ("alone", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_learning_rate_that_explodes_ends_with_one_line(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    done = towers(folder, *TRAIN, "name=exploded", "optimizer.lr=1e38", "optimizer.id_lr=1e38")
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert "not finite, so no weight was moved" in line
    assert "of epoch 0" in line


@pytest.mark.usefixtures("no_page")
def test_with_its_settings_chosen_it_is_fitted_on_everything_before_the_test(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    still = ("audio_encoder=none", "placement=none")
    refit = ("experiment=demo", *SMALL_WORLD, *still, "name=refit", "train_until=test")
    ok(folder, "train", *refit, "logger=csv")
    (run,) = (folder / "runs" / "refit").iterdir()
    assert not (run / "best.ckpt").exists()
    evaluation = (*refit, f"checkpoint={run}", "evaluation.tuning.max_trials=0")
    assert "recall@20" in ok(folder, "evaluate", *evaluation)
    checks = json.loads((run / "evaluation-test" / "metrics.json").read_text())["metadata"]["checks"]
    assert not any("validation" in check["name"] for check in checks)
    done = towers(folder, "evaluate", *evaluation, "evaluation.period=validation")
    assert done.returncode == 3  # it has learnt these targets
    assert "trainer.patience: with train_until=test" in refused(folder, "train", *refit, "trainer.patience=2")


@pytest.mark.slow
def test_the_example_of_a_sweep_goes_on_after_a_stop(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    example = str(Path(__file__).parents[2] / "examples" / "sweep.py")
    overrides = (
        *(argument for argument in TRAIN[1:] if "max_epochs" not in argument), "trainer.max_epochs=4", "name=optuna"
    )  # fmt: skip
    assert stop(folder, signal.SIGTERM, "--trials", "2", *overrides, command=(example,)) == 143
    done = subprocess.run(
        [sys.executable, example, "--trials", "2", *overrides],
        cwd=folder, capture_output=True, text=True, timeout=200, env=environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "best" in done.stdout
    assert len(list((folder / "runs" / "optuna").glob("*/finished.json"))) == 2
    assert len(list((folder / "runs" / "optuna").iterdir())) == 2  # the first trial's run went on
    assert (folder / "sweep.db").exists()


def test_what_lightnings_users_expect(demo: tuple[Path, str]) -> None:
    """A stock callback and logger by name, a profile, some batches of an epoch; and a trial that keeps no file."""
    folder, _ = demo
    stock = (
        *TRAIN, "trainer.max_epochs=2", "name=stock", "trainer.profiler=simple", "trainer.limit_train_batches=6",
        "trainer.callbacks=[{_target_: pytorch_lightning.callbacks.LearningRateMonitor}]",
        "loggers=[{_target_: pytorch_lightning.loggers.CSVLogger, name: mine}]",
    )  # fmt: skip
    assert "nothing was kept" in ok(folder, *stock, "trainer.fast_dev_run=2")
    assert not (folder / "runs" / "stock").exists()
    ok(folder, *stock)
    summary, _, rows = finished(folder, "stock")
    assert summary["steps"] == 12
    assert any(row["lr-AdamW/pg1"] for row in rows)
    (run,) = (folder / "runs" / "stock").iterdir()
    assert "training_step" in (run / "fit-profile.txt").read_text()
    (beside,) = run.glob("mine/*/metrics.csv")
    assert "validation/recall@20" in beside.read_text()


def test_an_unfinished_run_of_before_is_refused(demo: tuple[Path, str], never_stopped) -> None:
    folder, _ = demo
    (whole,) = (folder / "runs" / "whole").iterdir()
    run = folder / "runs" / "before" / whole.name
    shutil.copytree(whole, run)
    (run / "finished.json").unlink()
    state = torch.load(run / "last.ckpt", weights_only=True)
    learner = {name.removeprefix("learner."): tensor for name, tensor in state["state_dict"].items()}
    torch.save({"signature": state["signature"], "learner": learner, "has_ended": False}, run / "last.ckpt")
    assert "was written by an earlier version of towers" in refused(folder, *TRAIN, "name=before")


def test_a_key_that_is_none(demo: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = demo
    monkeypatch.setenv("WANDB_API_KEY", "short")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    line = refused(folder, *(key for key in TRAIN if key != "logger=csv"), "name=key", "logger=wandb")
    assert line.startswith("towers: WANDB_API_KEY: ")


def test_environment_is_clean() -> None:
    """The processes above must not assume that torchrun has started them."""
    assert "LOCAL_WORLD_SIZE" not in os.environ
