"""The LightningModule of a training: one step, one validation, and the run's progress.

Optimisation is manual, because a step's gradient is summed over ranks and micro-batches by `accumulate_gradient`, and a
gradient that is not finite must change no weight. The module writes no files: Lightning's callbacks save checkpoints.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from towers.batch import HistoryBatch, TrainingBatch
from towers.data.training_batches import Share
from towers.errors import UserError
from towers.models.rows import Division
from towers.training.checkpoints import OF_LEARNER, Progress
from towers.training.optimizing import Reports, advance, clip_gradients
from towers.training.processes import Processes
from towers.training.schedule import Schedule
from towers.training.step import Learner, accumulate_gradient
from towers.training.validation import Validation

LOG_EVERY_STEPS = 10
WEIGHTS = ("state_dict", "current_model_state")
"""Keys of the weights in a Lightning checkpoint; with weight averaging, the latter holds the weights not averaged."""


class TowersModule(pl.LightningModule):
    """Trains a learner under any Lightning Trainer.

    Args:
        learner: network, tables and objective to train.
        optimizer: makes the optimiser of the learner's parameters, once the learner is on its device.
        schedule: schedule of the learning rate.
        validation: validation of the learner.
        processes: processes that share the work.
        autocast: returns the precision of a device, as a reusable context.
        monitor: name of the metric whose best value `progress` keeps; higher is better; null: none.
        gradient_clip: norm to which gradients are clipped.
        max_skipped: number of batches without a finite gradient that may be skipped; one more ends the run.
        refresh_sounds_every_steps: steps between full refreshes of the audio vectors; null: only at validations.
        seed: seed of dropout.

    Attributes:
        progress: progress of the run.
        is_restored: whether the run resumed from a checkpoint.
        loss: loss of the last step whose figures were read.
        wish: request of this process in its next step; a number that is summed over ranks.
        wished: sum of the requests in the last step whose figures were read.
        before_validation: called when a validation within training begins; the only place where a saved checkpoint
            makes Lightning resume in that validation.
    """

    def __init__(
        self,
        *,
        learner: Learner,
        optimizer: Callable[[Learner], torch.optim.Optimizer],
        schedule: Schedule,
        validation: Validation,
        processes: Processes,
        autocast: Callable[[torch.device], AbstractContextManager],
        monitor: str | None,
        gradient_clip: float,
        max_skipped: int,
        refresh_sounds_every_steps: int | None,
        seed: int,
    ):
        super().__init__()
        self.automatic_optimization = False
        self.learner = learner
        self.progress = Progress(metrics={})
        self.is_restored = False
        self.loss = math.nan
        self.wish = self.wished = 0.0
        self.before_validation: Callable[[], None] = lambda: None
        self.processes = processes
        self._optimizer = optimizer
        self._rates: list[float] = []
        self._schedule = schedule
        self._validation = validation
        self.autocast = autocast
        self._monitor = monitor
        self.gradient_clip = gradient_clip
        self._max_skipped = max_skipped
        self._refresh_every = refresh_sounds_every_steps
        self._seed = seed
        self._reports: Reports[_Label] = Reports()
        self._staleness: dict[str, float] = {}
        self._clocks = time.perf_counter(), time.process_time()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Makes the optimiser; its learning rates follow the schedule in every step."""
        optimizer = self._optimizer(self.learner)
        self._rates = [group["lr"] for group in optimizer.param_groups]
        return optimizer

    def setup(self, stage: str) -> None:
        """Resets the progress of a training, not the weights; Lightning loads a checkpoint after this."""
        if stage == TrainerFn.FITTING:
            self.progress = Progress(metrics={})
            self.is_restored = False

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the run's progress, and marks divided tables as this rank's part."""
        checkpoint["progress"] = self.progress.to_dict()
        self._turn_tables(checkpoint, Division.spread)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the progress and this rank's part of divided tables, for any number of ranks that saved them."""
        self.progress = Progress(**checkpoint["progress"])
        self.is_restored = True
        self._turn_tables(checkpoint, Division.part)

    def on_fit_start(self) -> None:
        """Starts with the same weights on all ranks and every sound encoded, unless the run is resumed.

        Raises:
            UserError: the Trainer's number of processes is not that of the module; it would average their gradients.
        """
        if self.trainer.world_size != self.processes.share.ranks:
            raise UserError(
                f"the module was made for {self.processes.share.ranks} processes and the Trainer has "
                f"{self.trainer.world_size}; several processes train by `towers train trainer.devices=...`"
            )
        self._clocks = time.perf_counter(), time.process_time()
        if self.is_restored:
            self.trainer.should_stop |= self.progress.has_ended
            return
        self.processes.same_everywhere(
            self.learner, but=self.learner.divisions()
        )  # before ranks encode each other's sounds
        with self.autocast(self.device):
            self._validation.refresh(self.learner, self.processes)  # no step shall learn from zeros

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> Float[Tensor, ""]:
        """Trains on one batch and returns its loss, which callbacks see as `outputs["loss"]`.

        Raises:
            UserError: too many gradients were not finite; the last one changed no weight.
        """
        learner, progress, optimizer = self.learner, self.progress, self._wrapped_optimizer()
        self._seed_dropout(progress.step)
        factor = self._schedule.factor(progress.step, self._share_behind(batch))
        for group, rate in zip(optimizer.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        loss, fresh = accumulate_gradient(learner, batch, self.processes, self.autocast(self.device))
        self.processes.sum_gradients(learner.parameters())
        ids, sum_ = learner.divided_ids(), self.processes.sum_
        norm = clip_gradients(learner.parameters(), self.gradient_clip, ids, sum_)
        is_finite = torch.isfinite(norm) & torch.isfinite(loss)
        advance(optimizer.optimizer, is_finite, optimizer.step)
        if fresh is not None:
            learner.table.remember(fresh.content_rows, fresh.vectors, is_finite, fresh.routes)
        progress.passed(batch)
        # `torch.full` rather than `torch.tensor`, which copies from the host and waits for all queued work.
        wished = self.processes.sum_(torch.full((), self.wish, device=loss.device))
        label = _Label(batch.name, progress.step, factor * self._rates[0])
        self.wished = self._read(self._reports.add(label, torch.stack([loss, norm, wished])))
        self._refresh_if_due()
        return loss

    def read_rest(self) -> None:
        """Reads the figures still on the device, so that a bad batch is noticed before anything is saved or logged.

        Raises:
            UserError: see `training_step`.
        """
        self.wished = max(self.wished, self._read(self._reports.rest()))

    def on_train_epoch_end(self) -> None:
        """Marks the epoch as done."""
        self.read_rest()
        self.progress.is_validated = True
        self.progress.has_ended = self.trainer.should_stop

    def validation_step(self, batch: HistoryBatch | None, batch_idx: int) -> None:
        """Encodes a batch of listeners; the first batch is preceded by a refresh of all sounds."""
        if batch_idx == 0:
            self.read_rest()
            if self._is_training:
                self.before_validation()
            with self.autocast(self.device):
                self._staleness = self._validation.refresh(self.learner, self.processes)
                self._validation.begin(self.learner)
        if batch is not None:
            with self.autocast(self.device):
                self._validation.add(self.learner, batch)

    def on_validation_epoch_end(self) -> None:
        """Computes the metrics; Lightning's callbacks get them, and its loggers get them without rounding."""
        is_dev_run = bool(self.trainer.fast_dev_run)  # type: ignore[attr-defined]  # set by a function of Lightning's
        is_trial = is_dev_run or self.trainer.sanity_checking
        metrics = {**self._validation.metrics(self.processes, is_trial), **self._staleness}
        # A training writes its rows with `write`; `Trainer.validate` returns what was logged.
        is_logged = self.trainer.state.fn == TrainerFn.VALIDATING
        self.log_dict(metrics, logger=is_logged, batch_size=1, sync_dist=self.processes.share.ranks > 1)
        if not self._is_training:
            return
        progress = self.progress
        progress.metrics = metrics
        progress.note_best(math.nan if self._monitor is None else metrics.get(self._monitor, math.nan))
        self.count_time()
        logged = {name: value.item() for name, value in self.learner.objective.logged().items()}
        times = {"seconds": progress.seconds, "core_seconds": progress.core_seconds}
        self.write({"epoch": float(progress.epoch), **metrics, **logged, **times})

    def placed_metrics(self, placed: Learner, histories: Iterable[HistoryBatch]) -> dict[str, float]:
        """Validates the learner with placed contents, in this process alone; logs at the last step."""
        with self.autocast(placed.table.device):
            self._validation.begin(placed)
            for batch in histories:
                self._validation.add(placed, batch)
        metrics = self._validation.metrics(Processes(Share()), is_trial=False)
        if metrics:
            self.write({f"placed/{name}": value for name, value in metrics.items()})
        return metrics

    def count_time(self) -> None:
        """Adds the time since the last call to the progress."""
        now = time.perf_counter(), time.process_time()
        self.progress.seconds += now[0] - self._clocks[0]
        self.progress.core_seconds += now[1] - self._clocks[1]
        self._clocks = now

    def write(self, figures: Mapping[str, float], step: int | None = None) -> None:
        """Logs a row with every logger; `self.log` would round to float32 and take half a millisecond."""
        for logger in self.trainer.loggers:
            logger.log_metrics(dict(figures), self.progress.step if step is None else step)

    def _turn_tables(self, checkpoint: dict[str, Any], turned: Callable[[Division, Tensor], Tensor]) -> None:
        """Turns the divided tables of a checkpoint into this rank's part, or this rank's part into one of a whole."""
        for weights in (checkpoint[name] for name in WEIGHTS if name in checkpoint):
            for name, division in self.learner.divisions().items():
                weights[f"{OF_LEARNER}.{name}"] = turned(division, weights[f"{OF_LEARNER}.{name}"])

    @property
    def _is_training(self) -> bool:
        return self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking

    def _wrapped_optimizer(self) -> LightningOptimizer:
        """Returns Lightning's wrapper: its `step` counts steps, profiles, and calls `on_before_optimizer_step`."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        return optimizer

    def _share_behind(self, batch: TrainingBatch) -> float:
        """Returns the share of the training before a batch, by `max_epochs` or `max_steps`; 0 where neither is set."""
        epochs, steps = self.trainer.max_epochs or -1, self.trainer.max_steps  # -1: no limit
        by_epochs = (batch.epoch + batch.number / batch.batches) / epochs if epochs > 0 else 0.0
        by_steps = self.progress.step / steps if steps > 0 else 0.0
        return max(by_epochs, by_steps)

    def _seed_dropout(self, step: int) -> None:
        """Seeds dropout from the step's number and the rank alone."""
        place = np.random.SeedSequence((self._seed, step, self.processes.share.rank))
        number = int(place.generate_state(1, np.uint64)[0])
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.device.index or 0].manual_seed(number)
        torch.default_generator.manual_seed(number)

    def _read(self, reports: "list[tuple[_Label, list[float]]]") -> float:
        found = 0.0
        for label, (loss, norm, wished) in reports:
            found = max(found, wished)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._refuse(label, loss, norm)
            self.loss = loss
            if label.step % LOG_EVERY_STEPS == 0:
                rate = label.learning_rate
                self.write({"loss": loss, "gradient_norm": norm, "learning_rate": rate}, label.step)
        return found

    def _refuse(self, label: "_Label", loss: float, norm: float) -> None:
        self.progress.skipped += 1
        if self.progress.skipped > self._max_skipped:
            raise UserError(
                f"{label.batch} (step {label.step}): loss {loss}, gradient norm {norm}: not finite, so no weight was "
                f"moved; the last good checkpoint is in {self.trainer.default_root_dir}; lower optimizer.lr, or "
                f"allow more skipped batches with trainer.max_skipped={self.progress.skipped}"
            )

    def _refresh_if_due(self) -> None:
        """Refreshes the audio vectors every so many steps of the run; a resumed run does the same: none is random."""
        every, progress = self._refresh_every, self.progress
        if every is None or progress.step % every or (not progress.is_validated and self._is_validated_next()):
            return  # the validation refreshes them
        self.read_rest()  # so that rows are logged in the order of steps
        with self.autocast(self.device):
            staleness = self._validation.refresh(self.learner, self.processes)
        if staleness:
            self.write(staleness)

    def _is_validated_next(self) -> bool:
        """Returns whether a validation follows the epoch."""
        every = self.trainer.check_val_every_n_epoch
        return self.trainer.enable_validation and every is not None and self.progress.epoch % every == 0


def ours(module: pl.LightningModule) -> TowersModule:
    """Returns the module as `TowersModule`; this package's callbacks work with no other."""
    assert isinstance(module, TowersModule)
    return module


@dataclass(frozen=True, slots=True)
class _Label:
    batch: str
    step: int
    learning_rate: float
