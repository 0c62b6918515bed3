"""A training, wired: settings and a store to a LightningModule, its data, and what follows them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback, StochasticWeightAveraging
from pytorch_lightning.loggers.logger import Logger

from towers.assembly import (
    build_content_table,
    evaluation_settings,
    heard_by,
    network_of,
    open_store,
    told_of_sound,
    training_store,
    vector_ranker,
)
from towers.config import complete, instantiate, takes, value
from towers.data.datamodule import DataModule
from towers.data.loaders import Loaders
from towers.data.store import Store
from towers.data.training_batches import Needs, Share
from towers.errors import UserError
from towers.evaluation.from_store import task_from_store
from towers.evaluation.harness import evaluate
from towers.evaluation.result import split_key
from towers.evaluation.task import EvaluationTask
from towers.models.audio.sounds import Sounds
from towers.models.cost import description, parameters
from towers.training.data_module import TowersDataModule
from towers.training.loggers import CsvLogger
from towers.training.module import TowersModule
from towers.training.placement import NoPlacement, Placement
from towers.training.processes import Processes
from towers.training.step import Learner
from towers.training.trainer import Trainer
from towers.training.validation import Judge, Validation


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A training, wired.

    Args:
        module: trains the learner.
        data: gives it batches.
        store: as training sees it.
        sounds: what the audio encoder reads; null without sound.
        crop_frames: of a sound in training.
        placement: of contents once training is over.
    """

    module: TowersModule
    data: TowersDataModule
    store: Store
    sounds: Sounds | None
    crop_frames: int
    placement: Placement | NoPlacement

    @property
    def learner(self) -> Learner:
        """What is trained."""
        return self.module.learner

    def describe(self) -> str:
        """Sizes and costs, for people."""
        two_tower = self.learner.two_tower
        told = told_of_sound(two_tower.audio_encoder, self.store, self.sounds)
        return "\n".join([description(two_tower, self.sounds, self.crop_frames), *told])


def build(config: DictConfig, store: Store, settings: Trainer, share: Share) -> Parts:
    """The parts for the process that has this share of every step."""
    two_tower = network_of(config, store)
    candidates = complete(config.objective.candidates, "objective.candidates", train_positives=store.train_positives)
    objective = instantiate(config.objective, "objective", candidates=candidates)
    sounds = heard_by(two_tower.audio_encoder, store)
    learner = Learner(two_tower, build_content_table(store, two_tower.audio_encoder.dim, sounds), objective)
    task = task_from_store(store, "validation")
    judge = None
    if not is_refit(config):
        judge = judge_of(task, config)
        check_monitor(task, judge, config)
    check_callbacks(task, judge, settings.callbacks)
    seed = value(config, "seed", int)
    needs = Needs(
        num_rejections=objective.num_rejections,
        has_times=objective.mask_unavailable,
        has_sound=sounds is not None and parameters(two_tower.audio_encoder) > 0,
    )
    datamodule: DataModule = instantiate(config.datamodule, "datamodule")
    loaders = Loaders(datamodule, store, candidates, needs, task.user_rows, seed, share)

    def optimizer(learner: Learner) -> torch.optim.Optimizer:
        return complete(config.optimizer, "optimizer", learner=learner)

    optimizer(learner)  # Lightning asks for it late: what will not do is refused before anything is written
    module = TowersModule(
        learner=learner,
        optimizer=optimizer,
        schedule=instantiate(config.schedule, "schedule"),
        validation=Validation(len(task.user_rows), judge, None if sounds is None else sounds.records),
        processes=Processes(share),
        autocast=settings.autocast,
        monitor=settings.monitor,
        gradient_clip=settings.gradient_clip,
        max_skipped=settings.max_skipped,
        refresh_sounds_every_steps=settings.refresh_sounds_every_steps,
        seed=seed,
    )
    return Parts(
        module=module, data=TowersDataModule(loaders, share, judge is not None, settings.limit_train_batches),
        store=store, sounds=sounds, crop_frames=datamodule.crop_frames(store.features.spectrogram),
        placement=instantiate(config.placement, "placement"),
    )  # fmt: skip


def modules_of(config: DictConfig) -> tuple[TowersModule, TowersDataModule]:
    """Module and data for a Trainer of somebody's own, with the seed set."""
    pl.seed_everything(value(config, "seed", int), verbose=False)
    settings: Trainer = instantiate(config.trainer, "trainer")
    parts = build(config, training_store(config, open_store(config)), settings, settings.share_of(0, 1))
    return parts.module, parts.data


def loggers_of(config: DictConfig, folder: Path) -> list[Logger]:
    """The CSV, and whatever `logger` and `loggers` name, told the configuration; they write into the run's folder."""
    nodes = {"logger": config.logger, **{f"loggers[{place}]": node for place, node in enumerate(config.loggers)}}
    named = [_logger(node, key, folder, config.name) for key, node in nodes.items() if node]
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    for logger in named:
        logger.log_hyperparams(resolved)
    return [CsvLogger(folder / "metrics.csv"), *named]


def _logger(node: Any, key: str, folder: Path, experiment: str) -> Logger:
    if not OmegaConf.is_dict(node):
        raise UserError(f"{key}={node}: give a logger by its _target_, such as pytorch_lightning.loggers.CSVLogger")
    at_run_time: dict[str, Any] = {"save_dir": folder, "name": f"{experiment}/{folder.name}"}
    if node.get("_partial_"):  # one of ours
        return complete(node, key, **at_run_time)
    given = {"save_dir": folder} if takes(node, key, "save_dir") and "save_dir" not in node else {}
    logger = instantiate(node, key, **given)
    if not isinstance(logger, Logger):
        raise UserError(f"{key}: {node._target_} is no logger of Lightning")
    return logger


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
    names = _measured(task, judge)
    if monitor not in names:
        metrics = {split_key(name.removeprefix("validation/"))[0] for name in names}
        metric = split_key(monitor.removeprefix("validation/"))[0]
        if metrics and metric not in metrics:
            raise UserError(
                f"trainer.monitor={monitor}: validation measures no {metric} with evaluation.ks="
                f"{list(config.evaluation.ks)}; add its length to evaluation.ks, or choose one of "
                f"{', '.join(sorted(metrics))}"
            )
        slices = sorted({split_key(name.removeprefix("validation/"))[1] for name in names})
        raise UserError(
            f"trainer.monitor={monitor}: validation has {len(task.user_rows)} listeners with a target, enough for the "
            f"slices {', '.join(slices) or '(none)'}; choose a metric of these, or lower evaluation.min_users="
            f"{config.evaluation.min_users}"
        )


def check_callbacks(task: EvaluationTask, judge: Judge | None, callbacks: list[Callback]) -> None:
    """The same for callbacks of Lightning's own, which tell it after the first epoch; others may log what they watch.

    Nor one that would do nothing here.

    Args:
        task: of validation.
        judge: of its vectors; null where nothing is left to judge by.
        callbacks: the caller's.
    """
    if any(isinstance(one, StochasticWeightAveraging) for one in callbacks):
        raise UserError(
            "trainer.callbacks: StochasticWeightAveraging ends behind the last checkpoint, so nothing would come of "
            "it; EMAWeightAveraging with use_buffers=false is validated and saved"
        )
    watched = [(type(one).__name__, name) for one in callbacks if (name := getattr(one, "monitor", None)) is not None]
    if not watched or not all(type(one).__module__.startswith("pytorch_lightning.") for one in callbacks):
        return
    names = set() if judge is None else _measured(task, judge)
    for callback, name in watched:
        if name not in names and not name.startswith("audio/"):
            raise UserError(
                f"trainer.callbacks: {callback} watches {name}, which nothing here gives; "
                + (f"give it a monitor such as {min(names)}" if names else "train_until=test validates nothing")
            )


def _measured(task: EvaluationTask, judge: Judge) -> set[str]:
    """What a validation gives, by its names."""
    vectors = np.zeros((len(task.user_rows), 1)), np.zeros((task.num_contents, 1))
    return {f"validation/{name}" for name in judge(*vectors)}


def judge_of(task: EvaluationTask, config: DictConfig) -> Judge:
    """Metrics of validation vectors."""
    settings, ranker = evaluation_settings(config), vector_ranker()

    def judge(users: np.ndarray, contents: np.ndarray) -> dict[str, float]:
        return evaluate(task, ranker(task, "towers", users, contents), **settings).means()

    return judge
