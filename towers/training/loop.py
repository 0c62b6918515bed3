"""Batch after batch until the end: steps, validations, checkpoints. Knows no configuration and no files but a run's."""

import math
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from towers.batch import TrainingBatch
from towers.data.training_batches import Share
from towers.errors import UserError
from towers.training.checkpoints import BEST, LAST, Progress, load_checkpoint, save_checkpoint
from towers.training.loggers import MetricsLogger
from towers.training.optimizing import Reports, advance, clip_gradients
from towers.training.ranks import Ranks
from towers.training.schedule import Schedule
from towers.training.step import Learner, accumulate_gradient
from towers.training.stopping import Stopped, StopRequest
from towers.training.validation import Validation

LOG_EVERY_STEPS = 10


@runtime_checkable  # for the tests, which check annotations at run time
class Watch(Protocol):
    """Shows where a run stands."""

    def stepped(self, step: int, epoch: float, loss: float) -> None:
        """After a step; `epoch` counts the passes behind it, with the part of the present one."""
        ...

    def validated(self, epoch: int, metrics: dict[str, float], loss: float) -> None:
        """After a validation."""
        ...

    def close(self) -> None:
        """The run is over, or has failed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """When things happen.

    Args:
        max_epochs: passes over the training windows.
        validate_every_epochs: epochs from one validation to the next.
        refresh_sounds_every_steps: steps from one full refresh of the audio vectors to the next; null: at validations
            alone.
        monitor: the metric by which the best checkpoint is chosen; higher is better.
        patience: validations without a better one after which training ends; null: never.
        gradient_clip: norm to which gradients are clipped.
        max_skipped: batches with a gradient that is not finite that are left out; one more ends the run.
        checkpoint_every_s: seconds between checkpoints.
        seed: of dropout.
    """

    max_epochs: int
    validate_every_epochs: int
    refresh_sounds_every_steps: int | None
    monitor: str
    patience: int | None
    gradient_clip: float
    max_skipped: int
    checkpoint_every_s: float
    seed: int


class Loop:
    """One run.

    Args:
        learner: what is trained, on its device.
        optimizer: of its parameters.
        schedule: of the learning rate.
        batches: training batches from batch `number` of `epoch` on.
        validation: judges the learner.
        ranks: who shares the work.
        precision: autocast that can be entered again and again, or none.
        settings: when things happen.
        folder: of the run.
        signature: of the run; a checkpoint of another is refused.
        watch: hears where the run stands after every step and validation: what it is shown by.

    Attributes:
        progress: where the run stands.
        loggers: hear of metrics; set on the first rank alone.
    """

    def __init__(
        self,
        *,
        learner: Learner,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        batches: Callable[[int, int], Iterable[TrainingBatch]],
        validation: Validation,
        ranks: Ranks,
        precision: AbstractContextManager,
        settings: LoopSettings,
        folder: Path,
        signature: str,
        watch: Watch,
    ):
        self.progress = Progress(metrics={})
        self._learner = learner
        self._optimizer = optimizer
        self._rates = [group["lr"] for group in optimizer.param_groups]
        self._schedule = schedule
        self._batches = batches
        self._validation = validation
        self._ranks = ranks
        self._precision = precision
        self._settings = settings
        self._folder = folder
        self._signature = signature
        self.loggers: Sequence[MetricsLogger] = ()
        self._watch = watch
        self._device = next(learner.parameters()).device
        self._reports: Reports[_Label] = Reports()
        self._has_ended = False
        self._loss = math.nan
        self._clocks = time.perf_counter(), time.process_time()

    def resume(self) -> bool:
        """Goes back to the last checkpoint, where there is one."""
        path = self._folder / LAST
        if not path.exists():
            self._agree_on(None)
            self._ranks.same_everywhere(self._learner)  # before ranks encode each other's sounds
            with self._precision:
                self._validation.refresh(self._learner, self._ranks)  # so that no step learns from zeros
            return False
        state = load_checkpoint(path, self._signature)
        self._agree_on(state["progress"]["step"])
        self._learner.load_state_dict(state["learner"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        self._has_ended = state["has_ended"]
        return True

    def _agree_on(self, step: int | None) -> None:
        """Raises UserError unless all ranks go on with the same run from the same step."""
        found = self._ranks.all_of((self._signature, step))
        if any(other != found[0] for other in found):
            raise UserError(
                f"{self._folder}: the processes see different runs or checkpoints there ({found}); give all of them "
                "the same command, and paths.runs on a disk that they share"
            )

    def run(self) -> Progress:
        """Trains to the end.

        Raises:
            UserError: a batch whose loss or gradient is not finite; no weight has moved by it.
            Stopped: a signal asked for an end; everything is saved.
        """
        learner, settings, progress = self._learner, self._settings, self.progress
        self._clocks = time.perf_counter(), time.process_time()
        saved_at = self._clocks[0]
        learner.train()
        with StopRequest() as stop:
            if not progress.is_validated:
                self._close_epoch()
            for batch in self._batches(progress.epoch, progress.number) if not self._has_ended else ():
                is_asked = self._step(batch.to(self._device), stop)
                if batch.number + 1 == batch.batches:
                    self._read(self._reports.rest())
                    self._end_epoch(batch.epoch + 1)
                else:
                    self._refresh_if_due()
                if is_asked:
                    self._read(self._reports.rest())
                    self._save()
                    raise Stopped(stop.signal or signal.SIGTERM)  # or another rank heard one
                if self._has_ended:
                    break
                if time.perf_counter() - saved_at >= settings.checkpoint_every_s:
                    self._read(self._reports.rest())  # of a bad batch no checkpoint is made
                    self._save()
                    saved_at = time.perf_counter()
        return self.progress

    def log_placed(self, placed: Learner) -> dict[str, float]:
        """Validation of what training was followed by, by the first rank alone; logged at the last step."""
        with self._precision:
            metrics = self._validation.judged(placed, Ranks(Share()))
        if metrics:
            self._log({f"placed/{name}": value for name, value in metrics.items()}, self.progress.step)
        return metrics

    def close(self, is_success: bool) -> None:
        """Ends what shows and logs the run."""
        self._watch.close()
        for logger in self.loggers:
            logger.close(is_success)

    def _step(self, batch: TrainingBatch, stop: StopRequest) -> bool:
        """One batch; says whether somebody asked for an end."""
        learner, progress = self._learner, self.progress
        self._seed(progress.step)
        done = (batch.epoch + batch.number / batch.batches) / self._settings.max_epochs
        factor = self._schedule.factor(progress.step, done)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        loss, fresh = accumulate_gradient(learner, batch, self._ranks, self._precision)
        self._ranks.sum_gradients(learner.parameters())
        norm = clip_gradients(learner.parameters(), self._settings.gradient_clip)
        is_finite = torch.isfinite(norm) & torch.isfinite(loss)
        advance(self._optimizer, is_finite)
        if fresh is not None:
            learner.table.remember(fresh.content_rows, fresh.vectors, is_finite)
        progress.step += 1
        progress.epoch, progress.number = batch.epoch, batch.number + 1
        # `full` and not `tensor`, which would copy from the host and wait for all that is queued.
        asked = self._ranks.sum_(torch.full((), float(stop.signal is not None), device=self._device))
        epoch = batch.epoch + (batch.number + 1) / batch.batches
        label = _Label(batch.name, progress.step, epoch, factor * self._rates[0])
        return self._read(self._reports.add(label, torch.stack([loss, norm, asked])))

    def _seed(self, step: int) -> None:
        """Dropout follows from the step alone, and differs between ranks."""
        place = np.random.SeedSequence((self._settings.seed, step, self._ranks.share.rank))
        number = int(place.generate_state(1, np.uint64)[0])
        if self._device.type == "cuda":
            torch.cuda.default_generators[self._device.index or 0].manual_seed(number)
        torch.default_generator.manual_seed(number)

    def _read(self, reports: list[tuple["_Label", list[float]]]) -> bool:
        is_asked = False
        for label, (loss, norm, asked) in reports:
            is_asked |= asked > 0
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._refuse(label, loss, norm)
            self._loss = loss
            self._watch.stepped(label.step, label.epoch, loss)
            if label.step % LOG_EVERY_STEPS == 0:
                figures = {"loss": loss, "gradient_norm": norm, "learning_rate": label.learning_rate}
                self._log(figures, label.step)
        return is_asked

    def _refuse(self, label: "_Label", loss: float, norm: float) -> None:
        self.progress.skipped += 1
        if self.progress.skipped > self._settings.max_skipped:
            raise UserError(
                f"{label.batch} (step {label.step}): loss {loss}, gradient norm {norm}: not finite, so no weight was "
                f"moved; the last good checkpoint stands in {self._folder}; lower optimizer.lr, or leave such batches "
                f"out by trainer.max_skipped={self.progress.skipped}"
            )

    def _end_epoch(self, epochs: int) -> None:
        settings, progress = self._settings, self.progress
        progress.epoch, progress.number = epochs, 0
        progress.is_validated = epochs < settings.max_epochs and epochs % settings.validate_every_epochs > 0
        if progress.is_validated:
            self._refresh_if_due()
        else:  # a validation refreshes by itself
            self._save()  # it may take longer than a scheduler waits
        self._close_epoch()

    def _refresh_if_due(self) -> None:
        """After every so many steps, whenever the run was started; draws nothing, so a run that resumes is the same."""
        every, step = self._settings.refresh_sounds_every_steps, self.progress.step
        if every is None or step % every:
            return
        self._read(self._reports.rest())  # of the step before it, so that rows are logged in order
        with self._precision:
            staleness = self._validation.refresh(self._learner, self._ranks)
        if staleness:
            self._log(staleness, step)

    def _close_epoch(self) -> None:
        settings, progress = self._settings, self.progress
        if not progress.is_validated:
            self._validate(progress.epoch)
            progress.is_validated = True
        is_patient = settings.patience is None or progress.validations_since_best < settings.patience
        self._has_ended = progress.epoch >= settings.max_epochs or not is_patient
        self._save()

    def _validate(self, epochs: int) -> None:
        progress = self.progress
        self._learner.eval()
        with self._precision:
            metrics = self._validation.metrics(self._learner, self._ranks)
        self._learner.train()
        progress.metrics = metrics
        self._count()
        logged = {name: value.item() for name, value in self._learner.objective.logged().items()}
        times = {"seconds": progress.seconds, "core_seconds": progress.core_seconds}
        self._log({"epoch": float(epochs), **metrics, **logged, **times}, progress.step)
        found = metrics.get(self._settings.monitor, math.nan)
        is_better = math.isfinite(found) and (progress.best is None or found > progress.best)
        progress.validations_since_best = 0 if is_better else progress.validations_since_best + 1
        if is_better:
            progress.best, progress.best_epoch = found, epochs
            if self._ranks.is_first:
                state = {"signature": self._signature, "learner": self._learner.state_dict()}
                save_checkpoint(self._folder / BEST, {**state, "progress": progress.to_dict()})
        self._watch.validated(epochs, metrics, self._loss)

    def _count(self) -> None:
        """Adds the time since it was last counted."""
        now = time.perf_counter(), time.process_time()
        self.progress.seconds += now[0] - self._clocks[0]
        self.progress.core_seconds += now[1] - self._clocks[1]
        self._clocks = now

    def _save(self) -> None:
        self._count()
        if not self._ranks.is_first:
            return
        for logger in self.loggers:
            logger.save()
        save_checkpoint(
            self._folder / LAST,
            {
                "signature": self._signature,
                "learner": self._learner.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "progress": self.progress.to_dict(),
                "has_ended": self._has_ended,
            },
        )

    def _log(self, figures: dict[str, float], step: int) -> None:
        self.progress.logged += 1
        for logger in self.loggers:
            logger.log(figures, step)


@dataclass(frozen=True, slots=True)
class _Label:
    batch: str
    step: int
    epoch: float
    learning_rate: float
