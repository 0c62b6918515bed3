"""What is trained, as a LightningModule: one step, one validation, and where the run stands.

Optimisation is manual, because a step's gradient is summed over ranks and micro-batches by `accumulate_gradient`, and a
gradient that is not finite must move no weight. It knows no files: what is kept, and when, is Lightning's callbacks'.
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
"""Where a checkpoint of Lightning has them; the latter is of weights whose average is the former."""


class TowersModule(pl.LightningModule):
    """Trains a learner, whatever Lightning Trainer runs it.

    Args:
        learner: what is trained.
        optimizer: makes the optimiser of its parameters, once it is on its device.
        schedule: of the learning rate.
        validation: judges the learner.
        processes: who shares the work.
        autocast: gives the precision of a device, as a context that can be entered again and again.
        monitor: the metric that `progress` keeps the best of; higher is better; null: none.
        gradient_clip: norm to which gradients are clipped.
        max_skipped: batches with a gradient that is not finite that are left out; one more ends the run.
        refresh_sounds_every_steps: steps from one full refresh of the audio vectors to the next; null: at validations
            alone.
        seed: of dropout.

    Attributes:
        progress: where the run stands.
        is_restored: whether it goes on from a checkpoint.
        loss: of the last step that has been read.
        wish: what this process asks of all in its next step; a number that ranks add up.
        wished: what all have asked for in the last step that has been read.
        before_validation: called when a validation of training begins, from the only place where a checkpoint makes
            Lightning go back into that validation.
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
        """The optimiser; its rates follow the schedule in every step."""
        optimizer = self._optimizer(self.learner)
        self._rates = [group["lr"] for group in optimizer.param_groups]
        return optimizer

    def setup(self, stage: str) -> None:
        """A training begins anew, with the weights as they are; Lightning reads a checkpoint after this."""
        if stage == TrainerFn.FITTING:
            self.progress = Progress(metrics={})
            self.is_restored = False

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds where the run stands, and says of divided tables that each rank has its part."""
        checkpoint["progress"] = self.progress.to_dict()
        self._turn_tables(checkpoint, Division.spread)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes back to where the run stood, whatever number of ranks it had."""
        self.progress = Progress(**checkpoint["progress"])
        self.is_restored = True
        self._turn_tables(checkpoint, Division.part)

    def on_fit_start(self) -> None:
        """Begins with the same weights on all ranks and every sound encoded, unless a run goes on.

        Raises:
            UserError: the Trainer has other processes than the module was made for, and would average their gradients.
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
            self._validation.refresh(self.learner, self.processes)  # so that no step learns from zeros

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> Float[Tensor, ""]:
        """One batch; gives its loss, which callbacks see as `outputs["loss"]`.

        Raises:
            UserError: one gradient too many that is not finite; no weight has moved by it.
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
        # `full` and not `tensor`, which would copy from the host and wait for all that is queued.
        wished = self.processes.sum_(torch.full((), self.wish, device=loss.device))
        label = _Label(batch.name, progress.step, factor * self._rates[0])
        self.wished = self._read(self._reports.add(label, torch.stack([loss, norm, wished])))
        self._refresh_if_due()
        return loss

    def read_rest(self) -> None:
        """Reads what is still on the device, so that nothing is saved or logged ahead of a bad batch.

        Raises:
            UserError: as `training_step`.
        """
        self.wished = max(self.wished, self._read(self._reports.rest()))

    def on_train_epoch_end(self) -> None:
        """Nothing is left to do for the epoch behind."""
        self.read_rest()
        self.progress.is_validated = True
        self.progress.has_ended = self.trainer.should_stop

    def validation_step(self, batch: HistoryBatch | None, batch_idx: int) -> None:
        """Encodes listeners; the first batch comes after a refresh of all sounds."""
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
        """Judges the vectors; metrics go to Lightning's callbacks, and exactly as they are to its loggers."""
        is_dev_run = bool(self.trainer.fast_dev_run)  # type: ignore[attr-defined]  # set by a function of Lightning's
        is_trial = is_dev_run or self.trainer.sanity_checking
        metrics = {**self._validation.metrics(self.processes, is_trial), **self._staleness}
        # A training writes its rows by itself; `Trainer.validate` gives what went to its loggers.
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
        """Validation of what training was followed by, by this process alone; logged at the last step."""
        with self.autocast(placed.table.device):
            self._validation.begin(placed)
            for batch in histories:
                self._validation.add(placed, batch)
        metrics = self._validation.metrics(Processes(Share()), is_trial=False)
        if metrics:
            self.write({f"placed/{name}": value for name, value in metrics.items()})
        return metrics

    def count_time(self) -> None:
        """Adds the time since it was last counted."""
        now = time.perf_counter(), time.process_time()
        self.progress.seconds += now[0] - self._clocks[0]
        self.progress.core_seconds += now[1] - self._clocks[1]
        self._clocks = now

    def write(self, figures: Mapping[str, float], step: int | None = None) -> None:
        """A row for every logger; not by `self.log`, which rounds to float32 and costs half a millisecond."""
        for logger in self.trainer.loggers:
            logger.log_metrics(dict(figures), self.progress.step if step is None else step)

    def _turn_tables(self, checkpoint: dict[str, Any], turned: Callable[[Division, Tensor], Tensor]) -> None:
        """Turns divided tables of a checkpoint into this rank's part, or into parts of a whole."""
        for weights in (checkpoint[name] for name in WEIGHTS if name in checkpoint):
            for name, division in self.learner.divisions().items():
                weights[f"{OF_LEARNER}.{name}"] = turned(division, weights[f"{OF_LEARNER}.{name}"])

    @property
    def _is_training(self) -> bool:
        return self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking

    def _wrapped_optimizer(self) -> LightningOptimizer:
        """By whose `step` Lightning counts steps, profiles, and calls `on_before_optimizer_step`."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        return optimizer

    def _share_behind(self, batch: TrainingBatch) -> float:
        """Share of the training that lies before a batch, by `max_epochs` or `max_steps`; 0 where neither is known."""
        epochs, steps = self.trainer.max_epochs or -1, self.trainer.max_steps  # -1: without an end
        by_epochs = (batch.epoch + batch.number / batch.batches) / epochs if epochs > 0 else 0.0
        by_steps = self.progress.step / steps if steps > 0 else 0.0
        return max(by_epochs, by_steps)

    def _seed_dropout(self, step: int) -> None:
        """Dropout follows from the step alone, and differs between ranks."""
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
                f"moved; the last good checkpoint stands in {self.trainer.default_root_dir}; lower optimizer.lr, or "
                f"leave such batches out by trainer.max_skipped={self.progress.skipped}"
            )

    def _refresh_if_due(self) -> None:
        """After every so many steps, whenever the run was started; draws nothing, so a run that resumes is the same."""
        every, progress = self._refresh_every, self.progress
        if every is None or progress.step % every or (not progress.is_validated and self._is_validated_next()):
            return  # a validation refreshes by itself
        self.read_rest()  # of the step before it, so that rows are logged in order
        with self.autocast(self.device):
            staleness = self._validation.refresh(self.learner, self.processes)
        if staleness:
            self.write(staleness)

    def _is_validated_next(self) -> bool:
        """Whether a validation follows the epoch."""
        every = self.trainer.check_val_every_n_epoch
        return self.trainer.enable_validation and every is not None and self.progress.epoch % every == 0


def ours(module: pl.LightningModule) -> TowersModule:
    """The module that a callback of ours is given: it works with no other."""
    assert isinstance(module, TowersModule)
    return module


@dataclass(frozen=True, slots=True)
class _Label:
    batch: str
    step: int
    learning_rate: float
