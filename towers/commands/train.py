"""`towers train`: prepared store to checkpoint. The same command goes on after a kill, and does nothing when done."""

import atexit
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import hydra
import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.loggers.logger import DummyLogger

from towers.assembly import build_content_table, heard_by, network_of, open_store, run_folder, training_store
from towers.commands.progress import StageProgress
from towers.commands.wiring import Parts, build, is_refit, loggers_of
from towers.config import CONFIG_DIR, instantiate, save_resolved, value
from towers.data.store import Store
from towers.errors import UserError
from towers.manifest import environment, write_json
from towers.training.checkpoints import (
    FINISHED,
    PLACED,
    Progress,
    alone_in,
    load_weights,
    save_checkpoint,
    trained_checkpoint,
)
from towers.training.loggers import CsvLogger, close_loggers
from towers.training.processes import leave
from towers.training.step import Learner
from towers.training.stopping import Stopped, StopRequest
from towers.training.trainer import Trainer, fit

CALLER = 2
"""Exit code of a process that is not the first, where the first ends with the caller's mistake."""


def run(config: DictConfig) -> Path:
    """Trains unless the run is finished; returns the run's folder."""
    store = open_store(config)
    if not store.train_positives.any():
        raise UserError(f"{store.folder}: nobody has a positive event in the training period; choose an earlier cut")
    settings: Trainer = instantiate(config.trainer, "trainer")
    folder = run_folder(config, store)
    if settings.is_trial:
        _try(config, store, settings)
        return folder
    if (folder / FINISHED).exists():
        print(f"nothing to train: {folder} is finished")
        return folder
    stop = StopRequest()
    trainer = _lightning(config, folder, settings, stop)
    parts = _parts(config, store, settings, trainer)
    if not trainer.is_global_zero:
        _follow(trainer, parts, folder, stop)
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        _lead(config, store, folder, trainer, parts, stop)
    return folder


def _try(config: DictConfig, store: Store, settings: Trainer) -> None:
    """Some steps and a validation whose figures mean nothing, to see that all of it works."""
    stop = StopRequest()
    with tempfile.TemporaryDirectory() as folder:
        trainer = _lightning(config, Path(folder), settings, stop)
        trainer.loggers = [DummyLogger()]
        parts = _parts(config, store, settings, trainer)
        fit(trainer, parts.module, parts.data, stop)
        if trainer.is_global_zero:
            print(f"fast_dev_run: {trainer.global_step} steps and a validation went through; nothing was kept")


def _lightning(config: DictConfig, folder: Path, settings: Trainer, stop: StopRequest) -> pl.Trainer:
    shown = dict.fromkeys((f"validation/{config.evaluation.main_metric}", settings.monitor))
    return settings.lightning(folder, folder.name, stop, tuple(shown), is_judged=not is_refit(config))


def _parts(config: DictConfig, store: Store, settings: Trainer, trainer: pl.Trainer) -> Parts:
    seed = value(config, "seed", int)
    if not 0 <= seed < 2**32:
        raise UserError(f"seed={seed}: must lie in 0 to {2**32 - 1}")
    pl.seed_everything(seed, verbose=False)
    atexit.register(leave)
    parts = build(
        config, training_store(config, store), settings, settings.share_of(trainer.global_rank, trainer.world_size)
    )
    if trainer.is_global_zero:
        print(parts.describe())
    return parts


def _lead(config: DictConfig, store: Store, folder: Path, trainer: pl.Trainer, parts: Parts, stop: StopRequest) -> None:
    """The first process: it writes and tells. The others wait for it at the end, whatever the end is."""
    save_resolved(config, folder / "config.yaml")
    write_json(folder / "environment.json", {"store": store.fingerprint, **environment()})
    module, is_success = parts.module, False
    trainer.loggers = loggers_of(config, folder)
    try:
        fit(trainer, parts.module, parts.data, stop)
        placed = _place(config, folder, trainer, parts)
        is_success = True
    except Stopped as stopped:
        print(f"towers: {stopped.signal.name}: saved at step {module.progress.step:,} of {folder}; the same command "
              "goes on from there", file=sys.stderr, flush=True)  # fmt: skip
        module.processes.wait()
        raise
    except UserError:
        module.processes.wait()
        raise
    finally:  # where this process alone has failed there is nobody to wait for
        close_loggers(trainer.loggers, is_success)
    _finish(folder, module.progress, placed)
    module.processes.wait()


def _follow(trainer: pl.Trainer, parts: Parts, folder: Path, stop: StopRequest) -> None:
    """The other processes. They leave after the first, which would be killed as soon as one of them has ended badly."""
    trainer.loggers = [CsvLogger(folder / "metrics.csv")]  # Lightning's callbacks ask for one; it writes nothing here
    try:
        fit(trainer, parts.module, parts.data, stop)
    except (Stopped, UserError) as ended:
        parts.module.processes.wait()
        raise SystemExit(ended.code if isinstance(ended, Stopped) else CALLER) from ended  # the first has told why
    parts.module.processes.wait()


def _place(config: DictConfig, folder: Path, trainer: pl.Trainer, parts: Parts) -> dict[str, float]:
    """Fits sound and metadata to where training has put the contents; gives figures of the network after it."""
    learner, store, seed = parts.learner, parts.store, value(config, "seed", int)
    device = trainer.strategy.root_device
    learner.load_state_dict(load_weights(trained_checkpoint(folder)))
    learner.to(device)  # Lightning has moved it away
    pl.seed_everything(seed, verbose=False)
    two_tower = network_of(config, store, is_placed=True)
    sounds = heard_by(two_tower.audio_encoder, store)
    table = build_content_table(store, two_tower.audio_encoder.dim, sounds)
    placed = Learner(two_tower, table, learner.objective).to(device)
    started = time.perf_counter(), time.process_time()
    with StageProgress() as progress:
        cosine = parts.placement.fit(
            trained=learner,
            placed=placed,
            sounds=parts.sounds,
            placed_sounds=sounds,
            rows=torch.from_numpy(np.flatnonzero(store.train_positives > 0)).to(device),
            crop_frames=parts.crop_frames,
            seed=seed,
            passed=partial(progress.update, "placement"),
        )
    if cosine is None:
        return {}
    seconds, core_seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    save_checkpoint(folder / PLACED, {"signature": folder.name, "learner": placed.state_dict()})
    metrics = parts.module.placed_metrics(placed, parts.data.loaders.validation())
    print(f"placed by sound and metadata in {seconds:.0f} s: cosine {cosine:.3f} with where training has put contents")
    return {"cosine": cosine, "seconds": seconds, "core_seconds": core_seconds, **metrics}


def _finish(folder: Path, progress: Progress, placed: dict[str, float]) -> None:
    write_json(
        folder / FINISHED,
        {"epochs": progress.epoch, "steps": progress.step, "skipped": progress.skipped, "best": progress.best,
         "best_epoch": progress.best_epoch, "seconds": progress.seconds, "core_seconds": progress.core_seconds,
         "metrics": progress.metrics, "placement": placed},
    )  # fmt: skip
    print(
        f"trained {folder}: {progress.epoch} epochs in {progress.seconds:.0f} s, "
        f"{progress.core_seconds:.0f} core-seconds"
        + (f"; the best after {progress.best_epoch}" if progress.best_epoch else "")
    )


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="train")
def main(config: DictConfig) -> None:
    """The command."""
    run(config)
