"""A training: configuration to a plan, and a plan to a LightningModule, its data, and what follows training."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from towers.assembly.fitting import fitted
from towers.assembly.judging import Judging, judging_of
from towers.assembly.loggers import LoggerPart, logger_parts
from towers.assembly.monitoring import check_callbacks, check_monitor, measured_by
from towers.assembly.network import NetworkParts, build_content_table, heard_by, network_parts, told_of_sound
from towers.assembly.prepared import until_of
from towers.assembly.run import run_folder
from towers.assembly.warm_start import WarmStart, warm_start_of
from towers.config.composing import default, resolved, without_said
from towers.config.instantiate import Factory, factory, instantiate, value
from towers.data.datamodule import DataModule
from towers.data.histories import Until
from towers.data.loaders import Loaders
from towers.data.periods import lines
from towers.data.store import Store
from towers.data.training_batches import Needs, Share
from towers.errors import UserError
from towers.evaluation.from_store import task_from_store
from towers.features.sounds import Sounds
from towers.models.cost import description, parameters
from towers.secrets import masked_settings
from towers.training.checkpoints import ids_of_unfinished
from towers.training.data_module import TowersDataModule
from towers.training.module import TowersModule
from towers.training.placement import NoPlacement, Placement
from towers.training.processes import Processes
from towers.training.schedule import Schedule
from towers.training.step import Learner
from towers.training.stopping import StopRequest
from towers.training.trainer import Trainer
from towers.training.validation import Validation


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """Plan of `towers train`; parts that need sizes of a store are factories.

    Args:
        name: name of the experiment.
        folder: folder of the run.
        prepared: the store as it was prepared.
        store: the same store as training sees it.
        config: configuration as plain values, with what the store decides, for loggers and readers of the run's folder.
        told: lines on what the store decided.
        seed: seed of all random draws.
        until: period at whose start training ends, or the end of the data.
        judging: settings of validation.
        main_metric: metric that is shown beside the monitored one.
        trainer: settings of Lightning's Trainer.
        loggers: loggers beside the CSV.
        warm_start: run whose weights training starts from; null: random weights.
        network: builders of the network, which is built anew for placement.
        candidates: takes `train_positives`.
        objective: takes `candidates`.
        datamodule: draws batches.
        optimizer: takes `learner`.
        schedule: schedule of the learning rate.
        placement: placement of contents after training.
    """

    name: str
    folder: Path
    prepared: Store
    store: Store
    config: dict[str, Any]
    told: list[str]
    seed: int
    until: Until
    judging: Judging
    main_metric: str
    trainer: Trainer
    loggers: tuple[LoggerPart, ...]
    warm_start: WarmStart | None
    network: NetworkParts
    candidates: Factory
    objective: Factory
    datamodule: DataModule
    optimizer: Factory
    schedule: Schedule
    placement: Placement | NoPlacement

    @property
    def is_refit(self) -> bool:
        """Returns whether validation is trained on, so that no checkpoint can be chosen by it."""
        return self.until != "validation"

    def lightning(self, folder: Path, stop: StopRequest) -> pl.Trainer:
        """Builds Lightning's Trainer, without loggers.

        Args:
            folder: folder that it writes to.
            stop: receives signals.
        """
        monitor = self.trainer.monitor
        shown = tuple(dict.fromkeys(name for name in (f"validation/{self.main_metric}", monitor) if name is not None))
        is_judged = not self.is_refit and monitor is not None
        return self.trainer.lightning(folder, folder.name, stop, shown, is_judged=is_judged)

    def describe(self) -> list[str]:
        """Returns lines on the periods of the data, and on settings that follow from the data."""
        told = [*lines(self.prepared.periods), *self.told]
        if self.warm_start is not None:
            told.append(f"warm start from {self.warm_start.folder}, trained on {self.warm_start.trained_on.folder}")
        seen = {"test": "validation is trained on, too", "end": "validation and test are trained on, too"}
        return [*told, f"train_until={self.until}: {seen[self.until]}"] if self.is_refit else told


def training_plan(config: DictConfig, prepared: Store) -> TrainingPlan:
    """Turns the configuration of `towers train` into a plan for a prepared store.

    Raises:
        UserError: a key does not fit, or there is nothing to learn from.
    """
    until = until_of(config)
    if not prepared.train_targets.any():
        raise UserError(f"{prepared.folder}: no positive events in the training period; choose an earlier cut")
    warm_start = warm_start_of(config, prepared)
    store, network, seed = prepared.trained_until(until), network_parts(config), value(config, "seed", int)
    judging = judging_of(config)
    config, told = fitted(config, store, judging)
    if not 0 <= seed < 2**32:
        raise UserError(f"seed={seed}: must lie in 0 to {2**32 - 1}")
    if until != "validation" and config.trainer.patience is not None:
        raise UserError(
            f"trainer.patience: with train_until={until} nothing is validated; set it to null, and max_epochs"
        )
    trainer = instantiate(config.trainer, "trainer")
    objective = {name: node for name, node in resolved(config.objective).items() if name != "candidates"}
    return TrainingPlan(
        name=value(config, "name", str),
        folder=run_folder(config, prepared, network, warm_start),
        warm_start=warm_start,
        prepared=prepared,
        store=store,
        config=_of_run(config, prepared),
        told=[*told, *_told_of_id_lr(config)],
        seed=seed,
        until=until,
        judging=judging,
        main_metric=value(config, "evaluation.main_metric", str),
        trainer=trainer,
        loggers=logger_parts(config),
        network=network,
        candidates=factory(config.objective.candidates, "objective.candidates"),
        objective=factory({**objective, "_partial_": True}, "objective"),
        datamodule=instantiate({**resolved(config.datamodule), "_partial_": False}, "datamodule"),
        optimizer=factory(config.optimizer, "optimizer"),
        schedule=instantiate(config.schedule, "schedule"),
        placement=instantiate(config.placement, "placement"),
    )


def _told_of_id_lr(config: DictConfig) -> Iterator[str]:
    """Yields a line where the learning rate was changed and that of the id table was not."""
    keys, usual = ("optimizer.lr", "optimizer.id_lr"), default("train").optimizer
    lr, id_lr = (OmegaConf.select(config, key) for key in keys)
    if id_lr == usual.id_lr and lr not in (None, usual.lr):
        yield f"optimizer.lr={lr} leaves the id table at optimizer.id_lr={id_lr}, a key of its own"


def _of_run(config: DictConfig, store: Store) -> dict[str, Any]:
    """Returns the configuration with the store's features and cuts, secrets masked: it is written into the run's folder
    and passed to its loggers."""
    shown = without_said(config)
    found = masked_settings(resolved(shown), OmegaConf.to_container(shown))
    data = {**found["data"], "split": store.manifest["split"]}
    return {**found, "data": data, "features": store.features.to_dict()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Built parts of a training.

    Args:
        module: trains the learner.
        data: gives the module batches.
        store: store as training sees it.
        sounds: sounds that the audio encoder reads; null without sound.
        datamodule: draws the batches.
    """

    module: TowersModule
    data: TowersDataModule
    store: Store
    sounds: Sounds | None
    datamodule: DataModule

    @property
    def learner(self) -> Learner:
        """Network that is trained, with its tables and objective."""
        return self.module.learner

    @property
    def crop_frames(self) -> int:
        """Frames of a sound's crop in training."""
        return self.datamodule.crop_frames(self.store.features.spectrogram)

    def describe(self) -> str:
        """Returns lines on sizes and costs, and on crops that are shorter than configured."""
        two_tower = self.learner.two_tower
        told = [*told_of_sound(two_tower.audio_encoder, self.store, self.sounds)]
        if self.sounds is not None and parameters(two_tower.audio_encoder):
            told += self.datamodule.remarks(self.store.features.spectrogram)
        return "\n".join([description(two_tower, self.sounds, self.crop_frames), *told])


def build(plan: TrainingPlan, share: Share) -> Parts:
    """Builds the parts for the process that has this share of every step."""
    store, settings = plan.store, plan.trainer
    two_tower, rows = plan.network.build(store, share=share), plan.network.rows_of(share)
    candidates = plan.candidates(train_positives=store.train_targets)
    objective = plan.objective(candidates=candidates)
    sounds = heard_by(two_tower.audio_encoder, store)
    learner = Learner(two_tower, build_content_table(store, two_tower.audio_encoder.dim, sounds, rows), objective)
    if learner.divided_ids() is not None and (has_delta := ids_of_unfinished(plan.folder)) is not None:
        two_tower.content_tower.admit(has_delta)  # before loaders read which rows exist
    task = task_from_store(store, "validation")
    judge = None if plan.is_refit else plan.judging.judge(task)
    measured = measured_by(judge, task)
    if judge is not None and settings.monitor is not None:
        check_monitor(settings.monitor, measured, task, plan.judging)
    check_callbacks(settings.callbacks, measured)
    needs = Needs(
        num_rejections=objective.num_rejections,
        has_times=objective.mask_unavailable,
        sounds=sounds if two_tower.audio_encoder.learns else None,
        tables=learner.tables(),
    )
    loaders = Loaders(plan.datamodule, store, candidates, needs, task.user_rows, plan.seed, share)

    if plan.warm_start is not None:
        plan.warm_start.begin(learner, store)

    def optimizer(learner: Learner) -> torch.optim.Optimizer:
        made = plan.optimizer(learner=learner)
        return made if plan.warm_start is None else plan.warm_start.go_on(made, learner, store)

    optimizer(learner)  # Lightning builds it late; this refuses bad settings before anything is written
    module = TowersModule(
        learner=learner,
        optimizer=optimizer,
        schedule=plan.schedule,
        validation=Validation(len(task.user_rows), judge, None if sounds is None else sounds.records),
        processes=Processes(share),
        autocast=settings.autocast,
        monitor=settings.monitor,
        gradient_clip=settings.gradient_clip,
        max_skipped=settings.max_skipped,
        refresh_sounds_every_steps=settings.refresh_sounds_every_steps,
        seed=plan.seed,
    )
    return Parts(
        module=module, data=TowersDataModule(loaders, share, judge is not None, settings.limit_train_batches),
        store=store, sounds=sounds, datamodule=plan.datamodule,
    )  # fmt: skip


def modules_of(plan: TrainingPlan) -> tuple[TowersModule, TowersDataModule]:
    """Returns module and data for a caller's own Trainer, with the seed set."""
    pl.seed_everything(plan.seed, verbose=False)
    parts = build(plan, plan.trainer.share_of(0, 1))
    return parts.module, parts.data
