"""`towers train`: prepared store to checkpoint. The same command continues after a kill, and does nothing when done."""

import atexit
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers.logger import DummyLogger

from towers.assembly.loggers import loggers_of
from towers.assembly.placing import place
from towers.assembly.prepared import prepared_store
from towers.assembly.training import Parts, TrainingPlan, build, training_plan
from towers.commands.progress import StageProgress
from towers.config.composing import save_yaml
from towers.config.instantiate import value
from towers.errors import ExitCode, Unreachable, UserError
from towers.manifest import environment, write_json
from towers.secrets import named_secrets
from towers.training.loggers import CsvLogger, close_loggers
from towers.training.processes import leave
from towers.training.run_folder import CONFIG_FILE, ENVIRONMENT_FILE, FINISHED, alone_in
from towers.training.stopping import SIGNALS, Stopped, StopRequest
from towers.training.trainer import fit


def run(config: DictConfig) -> Path:
    """Trains unless the run is finished; returns the run's folder."""
    plan = training_plan(config, prepared_store(config).open())
    if plan.trainer.is_trial:
        _try(plan)
        return plan.folder
    if (plan.folder / FINISHED).exists():
        print(f"nothing to train: {plan.folder} is finished")
        return plan.folder
    stop = StopRequest()
    trainer = plan.lightning(plan.folder, stop)
    parts = _parts(plan, trainer)
    if not trainer.is_global_zero:
        _follow(plan, trainer, parts, stop)
        return plan.folder
    plan.folder.mkdir(parents=True, exist_ok=True)
    with alone_in(plan.folder):
        _lead(plan, trainer, parts, stop)
    return plan.folder


def run_whole(config: DictConfig) -> Path:
    """Trains as a step of a larger command. For several processes it starts a `towers train`, as each of them has to
    run its command from the beginning. Returns the run's folder.

    Raises:
        UserError: the training in other processes failed by the caller's mistake.
        Unreachable: it was killed, or failed otherwise; the same command may succeed.
        Stopped: one of its processes was told to end, and has saved.
    """
    processes = value(config, "trainer.devices", int) * value(config, "trainer.num_nodes", int)
    if processes == 1:
        return run(config)
    folder = training_plan(config, prepared_store(config).open()).folder
    with tempfile.TemporaryDirectory() as place:
        named = _written_down(config, Path(place))
        code = _waited_for(subprocess.Popen([sys.executable, "-m", "towers", "train", *named]))
    if code != 0 or not (folder / FINISHED).exists():
        raise _ended_badly(code, f"{folder}: the training in {processes} processes")
    return folder


def _ended_badly(code: int, training: str) -> UserError | Stopped:
    """Returns the exception by which this process has to end after a failed training in other processes.

    Args:
        code: the training's exit code; negative: minus the number of the signal that killed it.
        training: description of the training in a few words.
    """
    if code - 128 in SIGNALS:
        return Stopped(code - 128)
    if code == ExitCode.CALLER:
        return UserError(f"{training} has ended with {code}; its own lines say why")
    if code >= 0:
        return Unreachable(f"{training} has ended with {code}; its own lines say why, and the same command goes on")
    memory = "; for want of memory, unless you sent it (see the system's log)" if code == -signal.SIGKILL else ""
    return Unreachable(f"{training} was killed by signal {-code}{memory}; the same command goes on")


def _written_down(config: DictConfig, folder: Path) -> list[str]:
    """Writes a configuration as a file for `towers train`; returns the arguments that name it. It contains no secrets,
    as a killed process leaves the file behind: the started process reads them from the same environment.
    """
    values = named_secrets(OmegaConf.to_container(config))
    OmegaConf.save(OmegaConf.create(values), folder / "whole.yaml")
    return ["--config-dir", str(folder), "--config-name", "whole"]


def _waited_for(training: subprocess.Popen[bytes]) -> int:
    """Waits for a training in other processes and returns its exit code. A signal that ends this process is passed on,
    so that the training saves first.

    Raises:
        Stopped: raised again once the training has ended.
    """
    try:
        return training.wait()
    except Stopped as stopped:
        training.send_signal(stopped.signal)
        training.wait()
        raise
    except KeyboardInterrupt:  # the terminal sends it to the children, too
        training.wait()
        raise


def _parts(plan: TrainingPlan, trainer: pl.Trainer) -> Parts:
    pl.seed_everything(plan.seed, verbose=False)
    atexit.register(leave)
    parts = build(plan, plan.trainer.share_of(trainer.global_rank, trainer.world_size))
    if trainer.is_global_zero:
        print("\n".join([*plan.describe(), parts.describe()]))
    return parts


def _try(plan: TrainingPlan) -> None:
    """Runs some steps and a validation, whose figures mean nothing, to see that everything works."""
    stop = StopRequest()
    with tempfile.TemporaryDirectory() as folder:
        trainer = plan.lightning(Path(folder), stop)
        trainer.loggers = [DummyLogger()]
        parts = _parts(plan, trainer)
        fit(trainer, parts.module, parts.data, stop)
        if trainer.is_global_zero:
            print(f"fast_dev_run: {trainer.global_step} steps and a validation went through; nothing was kept")


def _lead(plan: TrainingPlan, trainer: pl.Trainer, parts: Parts, stop: StopRequest) -> None:
    """Runs the first process, which writes files and prints. The others wait for it at the end, however it ends."""
    folder, module, is_success = plan.folder, parts.module, False
    save_yaml(plan.config, folder / CONFIG_FILE)
    write_json(folder / ENVIRONMENT_FILE, {"store": plan.prepared.fingerprint, **environment()})
    trainer.loggers = loggers_of(plan.loggers, folder, plan.name, plan.config)
    try:
        fit(trainer, module, parts.data, stop)
        with StageProgress() as progress:
            device = trainer.strategy.root_device
            placed = place(plan, parts, folder, device, partial(progress.update, "placement"))
        is_success = True
    except Stopped as stopped:
        print(f"towers: {stopped.signal.name}: saved at step {module.progress.step:,} of {folder}; the same command "
              "goes on from there", file=sys.stderr, flush=True)  # fmt: skip
        module.processes.wait()
        raise
    except UserError:
        module.processes.wait()
        raise
    finally:  # a failure of this process alone waits for no other
        close_loggers(trainer.loggers, is_success)
    print(f"trained {folder}: {_finish(folder, parts, placed)}")
    module.processes.wait()


def _follow(plan: TrainingPlan, trainer: pl.Trainer, parts: Parts, stop: StopRequest) -> None:
    """Runs any other process. It leaves after the first, which would be killed as soon as another ended with an
    error."""
    trainer.loggers = [CsvLogger(plan.folder / "metrics.csv")]  # Lightning's callbacks need one; it writes nothing
    try:
        fit(trainer, parts.module, parts.data, stop)
    except (Stopped, UserError) as ended:
        parts.module.processes.wait()
        raise SystemExit(
            ended.code if isinstance(ended, Stopped) else ended.exit_code
        ) from ended  # the first process has printed why
    parts.module.processes.wait()


def _finish(folder: Path, parts: Parts, placed: dict[str, float]) -> str:
    """Writes the result of the run; returns a line on it."""
    progress = parts.module.progress
    write_json(folder / FINISHED, {**progress.summary(), "placement": placed})
    told = f"{progress.epoch} epochs in {progress.seconds:.0f} s, {progress.core_seconds:.0f} core-seconds"
    return told + (f"; the best after {progress.best_epoch}" if progress.best_epoch else "")
