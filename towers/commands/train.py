"""`towers train`: prepared store to checkpoint. The same command goes on after a kill, and does nothing when done."""

import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from lightning_fabric import seed_everything
from omegaconf import DictConfig, OmegaConf

from towers.assembly import (
    build_content_table,
    evaluation_settings,
    heard_by,
    network_of,
    open_store,
    run_folder,
    told_of_sound,
    training_store,
    vector_ranker,
)
from towers.commands.progress import StageProgress
from towers.config import CONFIG_DIR, complete, instantiate, save_resolved, value
from towers.data.store import Store
from towers.errors import UserError
from towers.evaluation.from_store import task_from_store
from towers.evaluation.harness import evaluate
from towers.evaluation.result import split_key
from towers.evaluation.task import EvaluationTask
from towers.manifest import environment, write_json
from towers.models.cost import description, parameters
from towers.models.sounds import Sounds
from towers.training.checkpoints import (
    FINISHED,
    PLACED,
    Progress,
    alone_in,
    load_checkpoint,
    save_checkpoint,
    trained_checkpoint,
)
from towers.training.loggers import CsvLogger, MetricsLogger
from towers.training.loop import Loop
from towers.training.placement import NoPlacement, Placement
from towers.training.ranks import Ranks
from towers.training.step import Learner
from towers.training.stopping import Stopped
from towers.training.trainer import Trainer
from towers.training.validation import Judge, Validation
from towers.training.watching import chosen_watch

CALLER = 2
"""Exit code of a process that is not the first, where the first ends with the caller's mistake."""


def run(config: DictConfig) -> Path:
    """Trains unless the run is finished; returns the run's folder."""
    store = open_store(config)
    if not store.train_positives.any():
        raise UserError(f"{store.folder}: nobody has a positive event in the training period; choose an earlier cut")
    folder = run_folder(config, store)
    if (folder / FINISHED).exists():
        print(f"nothing to train: {folder} is finished")
        return folder
    trainer: Trainer = instantiate(config.trainer, "trainer")
    ranks = trainer.launch()
    seed = value(config, "seed", int)
    if not 0 <= seed < 2**32:
        raise UserError(f"seed={seed}: must lie in 0 to {2**32 - 1}")
    seed_everything(seed, verbose=False)
    parts = build(config, training_store(config, store), folder, trainer, ranks)
    if not ranks.is_first:
        _follow(parts.loop, ranks)
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        _lead(config, store, folder, parts, ranks)
    return folder


def _lead(config: DictConfig, store: Store, folder: Path, parts: "Parts", ranks: Ranks) -> None:
    """The first process: it writes and tells. The others wait for it at the end, whatever the end is."""
    save_resolved(config, folder / "config.yaml")
    write_json(folder / "environment.json", {"store": store.fingerprint, **environment()})
    loop, is_success = parts.loop, False
    try:
        csv = CsvLogger(folder / "metrics.csv")
        if loop.resume():
            print(f"going on from step {loop.progress.step:,} of {folder}")
        csv.cut_back(loop.progress.logged)
        loop.loggers = [csv, *_other_loggers(config, folder)]
        progress = loop.run()
        placed = _place(config, folder, parts)
        is_success = True
    except Stopped as stopped:
        print(f"towers: {stopped.signal.name}: saved at step {loop.progress.step:,} of {folder}; the same command goes "
              "on from there", file=sys.stderr, flush=True)  # fmt: skip
        loop.close(is_success)
        ranks.wait()
        raise
    except UserError:
        loop.close(is_success)
        ranks.wait()
        raise
    except BaseException:  # of this process alone, as far as anybody knows: there is nobody to wait for
        loop.close(is_success)
        raise
    loop.close(is_success)
    _finish(folder, progress, placed)
    ranks.wait()


def _follow(loop: Loop, ranks: Ranks) -> None:
    """The other processes. They leave after the first, which would be killed as soon as one of them has ended badly."""
    try:
        loop.resume()
        loop.run()
    except (Stopped, UserError) as ended:
        ranks.wait()
        raise SystemExit(ended.code if isinstance(ended, Stopped) else CALLER) from ended  # the first has told why
    ranks.wait()


def _place(config: DictConfig, folder: Path, parts: "Parts") -> dict[str, float]:
    """Fits sound and metadata to where training has put the contents; gives figures of the network after it."""
    learner, store, seed = parts.learner, parts.store, value(config, "seed", int)
    device = learner.table.device
    learner.load_state_dict(load_checkpoint(trained_checkpoint(folder))["learner"])
    seed_everything(seed, verbose=False)
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
    metrics = parts.loop.log_placed(placed)
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


def _other_loggers(config: DictConfig, folder: Path) -> list[MetricsLogger]:
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    return complete(config.logger, "logger", folder=folder, name=f"{config.name}/{folder.name}", config=resolved)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A run, wired.

    Args:
        loop: trains.
        learner: what it trains.
        store: as training sees it.
        sounds: what the audio encoder reads; null without sound.
        crop_frames: of a sound in training.
        placement: of contents once training is over.
    """

    loop: Loop
    learner: Learner
    store: Store
    sounds: Sounds | None
    crop_frames: int
    placement: Placement | NoPlacement


def build(config: DictConfig, store: Store, folder: Path, trainer: Trainer, ranks: Ranks) -> Parts:
    """The parts, wired."""
    seed = value(config, "seed", int)
    two_tower = network_of(config, store)
    candidates = complete(config.objective.candidates, "objective.candidates", train_positives=store.train_positives)
    objective = instantiate(config.objective, "objective", candidates=candidates)
    sounds = heard_by(two_tower.audio_encoder, store)
    table = build_content_table(store, two_tower.audio_encoder.dim, sounds)
    learner = Learner(two_tower, table, objective).to(trainer.device)
    task = task_from_store(store, "validation")
    judge = None
    if not is_refit(config):
        judge = judge_of(task, config)
        check_monitor(task, judge, config)
    data = complete(
        config.datamodule,
        "datamodule",
        store=store,
        candidates=candidates,
        has_sound=sounds is not None and parameters(two_tower.audio_encoder) > 0,
        num_rejections=objective.num_rejections,
        has_times=objective.mask_unavailable,
        validation_users=task.user_rows,
        seed=seed,
        max_epochs=trainer.max_epochs,
        share=ranks.share,
    )
    if ranks.is_first:
        told = told_of_sound(two_tower.audio_encoder, store, sounds)
        print(description(two_tower, sounds, data.crop_frames), *told, sep="\n")
    shown = (f"validation/{config.evaluation.main_metric}", trainer.monitor)
    loop = Loop(
        learner=learner,
        optimizer=complete(config.optimizer, "optimizer", learner=learner),
        schedule=instantiate(config.schedule, "schedule"),
        batches=data.training,
        validation=Validation(data.validation(), judge, None if sounds is None else sounds.records),
        ranks=ranks,
        precision=trainer.autocast(),
        settings=trainer.settings(seed),
        folder=folder,
        signature=folder.name,
        watch=chosen_watch(trainer.progress and ranks.is_first, trainer.max_epochs, tuple(dict.fromkeys(shown))),
    )
    return Parts(
        loop=loop, learner=learner, store=store, sounds=sounds, crop_frames=data.crop_frames,
        placement=instantiate(config.placement, "placement"),
    )  # fmt: skip


def is_refit(config: DictConfig) -> bool:
    """Whether everything before the test is trained on, so that nothing is left to choose by.

    Raises:
        UserError: training shall end by itself then.
    """
    if config.train_until != "test":
        return False
    if config.trainer.patience is not None:
        raise UserError("trainer.patience: with train_until=test nothing is validated; set it to null, and max_epochs")
    return True


def check_monitor(task: EvaluationTask, judge: Judge, config: DictConfig) -> None:
    """Refuses a metric that validation will not give, before the first step and not after the first epochs."""
    monitor = config.trainer.monitor
    names = {
        f"validation/{name}" for name in judge(np.zeros((len(task.user_rows), 1)), np.zeros((task.num_contents, 1)))
    }
    if monitor not in names:
        slices = sorted({split_key(name.removeprefix("validation/"))[1] for name in names})
        raise UserError(
            f"trainer.monitor={monitor}: validation has {len(task.user_rows)} listeners with a target, enough for the "
            f"slices {', '.join(slices) or '(none)'}; choose a metric of these, or lower evaluation.min_users="
            f"{config.evaluation.min_users}"
        )


def judge_of(task: EvaluationTask, config: DictConfig) -> Judge:
    """Metrics of validation vectors."""
    settings, ranker = evaluation_settings(config), vector_ranker()

    def judge(users: np.ndarray, contents: np.ndarray) -> dict[str, float]:
        return evaluate(task, ranker(task, "towers", users, contents), **settings).means()

    return judge


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="train")
def main(config: DictConfig) -> None:
    """The command."""
    run(config)
