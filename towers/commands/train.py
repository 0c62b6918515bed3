"""`towers train`: prepared store to checkpoint. The same command goes on after a kill, and does nothing when done."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from towers.assembly import build_content_table, build_two_tower, evaluation_settings
from towers.config import CONFIG_DIR, instantiate, save_resolved, signature_of, value
from towers.data.store import Store
from towers.evaluation.from_store import task_from_store
from towers.evaluation.harness import evaluate
from towers.evaluation.task import EvaluationTask
from towers.evaluation.vectors import Vectors
from towers.manifest import library_versions, write_json
from towers.training.loggers import CsvLogger
from towers.training.module import TowersModule
from towers.training.trainer import FINISHED, LAST


def run(config: DictConfig) -> Path:
    """Trains unless the run is finished; returns the run's folder."""
    store = Store.open(Path(config.paths.stores) / config.data.name)
    folder = run_folder(config, store)
    if (folder / FINISHED).exists():
        print(f"nothing to train: {folder} is finished")
        return folder
    pl.seed_everything(value(config, "seed", int), workers=True, verbose=False)
    started = time.perf_counter(), time.process_time()
    trainer, module, data = build(config, store, folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_resolved(config, folder / "config.yaml")
    write_json(folder / "environment.json", {"store": store.fingerprint, "libraries": library_versions()})
    last = folder / f"{LAST}.ckpt"
    step = resume_step(last) if last.exists() else 0
    if step:
        print(f"going on from step {step:,} of {folder}")
    trainer.logger.cut_back(step)  # type: ignore[union-attr]  # the first logger is the CSV's
    trainer.fit(module, datamodule=data, ckpt_path=last if last.exists() else None, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    seconds, core_seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    write_json(
        folder / FINISHED,
        {"epochs": trainer.current_epoch, "steps": trainer.global_step, "seconds": seconds,
         "core_seconds": core_seconds, "metrics": metrics},
    )  # fmt: skip
    print(f"trained {folder}: {trainer.current_epoch} epochs in {seconds:.0f} s, {core_seconds:.0f} core-seconds")
    return folder


def resume_step(checkpoint: Path) -> int:
    """The number of steps behind a checkpoint."""
    return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"])


def run_folder(config: DictConfig, store: Store) -> Path:
    """Follows from whatever can change the result."""
    return Path(config.paths.runs) / config.name / signature_of(config, store.fingerprint)


def build(config: DictConfig, store: Store, folder: Path) -> tuple[pl.Trainer, TowersModule, pl.LightningDataModule]:
    """The parts, wired."""
    two_tower = build_two_tower(
        store,
        instantiate(config.audio_encoder, "audio_encoder"),
        instantiate(config.content_tower, "content_tower"),
        instantiate(config.user_tower, "user_tower"),
    )
    table = build_content_table(store, two_tower.audio_encoder.dim)
    candidates = instantiate(config.objective.candidates, "objective.candidates")(train_positives=store.train_positives)
    task = task_from_store(store, "validation", value(config, "evaluation.recent_days", float))
    has_sound = two_tower.audio_encoder.dim > 0 and store.spectrograms is not None
    module = TowersModule(
        two_tower=two_tower,
        table=table,
        objective=instantiate(config.objective, "objective", candidates=candidates),
        optimizer=instantiate(config.optimizer, "optimizer"),
        warmup_steps=value(config, "warmup_steps", int),
        records=store.spectrograms.records if has_sound and store.spectrograms else None,
        judge=judge_of(task, config),
        shown=config.trainer.monitor,
    )
    data = instantiate(config.datamodule, "datamodule")(
        store=store,
        candidates=candidates,
        has_sound=has_sound,
        validation_users=task.user_rows,
        seed=value(config, "seed", int),
    )
    metrics = CsvLogger(folder / "metrics.csv")
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    others = instantiate(config.logger, "logger")(folder=folder, name=f"{config.name}/{folder.name}", config=resolved)
    trainer = instantiate(config.trainer, "trainer")(folder=folder, loggers=[metrics, *others])
    return trainer, module, data


def judge_of(task: EvaluationTask, config: DictConfig) -> Callable[[np.ndarray, np.ndarray], dict[str, float]]:
    """Metrics of validation vectors, for the module."""
    settings = evaluation_settings(config)

    def judge(users: np.ndarray, contents: np.ndarray) -> dict[str, float]:
        return evaluate(task, Vectors("towers", users, contents), **settings).means()

    return judge


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="train")
def main(config: DictConfig) -> None:
    """The command."""
    run(config)
