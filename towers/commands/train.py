"""`towers train`: prepared store to checkpoint. The same command goes on after a kill, and does nothing when done."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from towers.assembly import PARTS, build_content_table, build_two_tower, evaluation_settings, open_store, vector_ranker
from towers.config import CONFIG_DIR, complete, instantiate, save_resolved, signature_of, value
from towers.data.store import Store
from towers.errors import UserError
from towers.evaluation.from_store import task_from_store
from towers.evaluation.harness import evaluate
from towers.evaluation.result import split_key
from towers.evaluation.task import EvaluationTask
from towers.manifest import environment, write_json
from towers.training.loggers import CsvLogger
from towers.training.module import Judge, TowersModule
from towers.training.trainer import FINISHED, LAST


def run(config: DictConfig) -> Path:
    """Trains unless the run is finished; returns the run's folder."""
    store = open_store(config)
    folder = run_folder(config, store)
    if (folder / FINISHED).exists():
        print(f"nothing to train: {folder} is finished")
        return folder
    pl.seed_everything(value(config, "seed", int), workers=True, verbose=False)
    started = time.perf_counter(), time.process_time()
    trainer, module, data = build(config, store, folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_resolved(config, folder / "config.yaml")
    write_json(folder / "environment.json", {"store": store.fingerprint, **environment()})
    last = folder / f"{LAST}.ckpt"
    step = resume_step(last) if last.exists() else 0
    if step:
        print(f"going on from step {step:,} of {folder}")
    trainer.logger.cut_back(step)  # type: ignore[union-attr]  # the first logger is the CSV's
    trainer.fit(module, datamodule=data, ckpt_path=last if last.exists() else None, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    metrics = {name: float(figure) for name, figure in trainer.callback_metrics.items()}
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
    two_tower = build_two_tower(store, *(partial(complete, config[part], part) for part in PARTS))
    table = build_content_table(store, two_tower.audio_encoder.dim)
    positives = store.train_positives
    candidates = complete(config.objective.candidates, "objective.candidates", train_positives=positives)
    task = task_from_store(store, "validation")
    judge = judge_of(task, config)
    check_monitor(task, judge, config)
    complete(config.optimizer, "optimizer", params=[torch.nn.Parameter(torch.zeros(1))])  # a bad value is told now
    has_sound = two_tower.audio_encoder.dim > 0 and store.spectrograms is not None
    module = TowersModule(
        two_tower=two_tower,
        table=table,
        objective=instantiate(config.objective, "objective", candidates=candidates),
        optimizer=instantiate(config.optimizer, "optimizer"),
        warmup_steps=value(config, "warmup_steps", int),
        records=store.spectrograms.records if has_sound and store.spectrograms else None,
        judge=judge,
        shown=(config.trainer.monitor, f"validation/{config.evaluation.main_metric}"),
    )
    data = complete(
        config.datamodule,
        "datamodule",
        store=store,
        candidates=candidates,
        has_sound=has_sound,
        validation_users=task.user_rows,
        seed=value(config, "seed", int),
    )
    metrics = CsvLogger(folder / "metrics.csv")
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    name = f"{config.name}/{folder.name}"
    others = complete(config.logger, "logger", folder=folder, name=name, config=resolved)
    trainer = complete(config.trainer, "trainer", folder=folder, loggers=[metrics, *others])
    return trainer, module, data


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
    """Metrics of validation vectors, for the module."""
    settings, ranker = evaluation_settings(config), vector_ranker()

    def judge(users: np.ndarray, contents: np.ndarray) -> dict[str, float]:
        return evaluate(task, ranker(task, "towers", users, contents), **settings).means()

    return judge


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="train")
def main(config: DictConfig) -> None:
    """The command."""
    run(config)
