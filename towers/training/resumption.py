"""`last.ckpt`: a run stopped or killed at any moment resumes with the same bits as one never interrupted."""

import signal
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, Checkpoint

from towers.errors import UserError
from towers.training.loggers import CsvLogger
from towers.training.module import TowersModule, ours
from towers.training.run_folder import LAST
from towers.training.stopping import Stopped, StopRequest

STOP, SAVE = 1.0, 1024.0
"""Requests of a process in a step. They are summed over ranks, so all ranks save, and stop, after the same step."""


class Resumption(Checkpoint):
    """Saves at intervals of time, before and after every validation, after every epoch and on a signal.

    `ModelCheckpoint` does not suffice: with manual optimisation it skips saves by time, and a checkpoint that it saves
    at the end of an epoch would resume after the validation that follows.

    Args:
        folder: folder of the run.
        signature: signature of the run.
        every_s: seconds between checkpoints.
        stop: stop request that signals set.
    """

    def __init__(self, folder: Path, signature: str, every_s: float, stop: StopRequest):
        self._folder = folder
        self._signature = signature
        self._every_s = every_s
        self._stop = stop
        self._rows = 0
        self._saved_at = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """Returns the number of rows of metrics at the checkpoint."""
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the result of `state_dict`."""
        self._rows = state_dict["rows"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks that all ranks resume from the same checkpoint, and cuts off rows of metrics after it.

        Raises:
            UserError: the processes see different runs or checkpoints.
        """
        module = ours(pl_module)
        place = self._signature, module.progress.step if module.is_restored else None
        found = module.processes.all_of(place)
        if any(other != found[0] for other in found):
            raise UserError(
                f"{self._folder}: the processes see different runs or checkpoints there ({found}); give all of them "
                "the same command, and paths.runs on a disk that they share"
            )
        if not module.processes.is_first:
            return
        for logger in _csv(trainer):
            logger.cut_back(self._rows)
        if module.is_restored:
            print(f"going on from step {module.progress.step:,} of {self._folder}", flush=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replaces Lightning's signal handlers, which were set just before.

        Lightning's SIGTERM handler communicates with other ranks from within the handler and saves nothing; its SLURM
        handler saves in the middle of a step.
        """
        module = ours(pl_module)
        self._stop.listen()
        # With several ranks Lightning would broadcast in every step whether a signal has come, and wait for the device.
        # Here signals travel in the step's own message. There is no public way to switch the broadcast off.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
        self._saved_at = time.perf_counter()
        module.before_validation = lambda: self._save(trainer, module)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Sets this rank's request, which reaches the other ranks with the step."""
        module = ours(pl_module)
        is_due = module.processes.is_first and time.perf_counter() - self._saved_at >= self._every_s
        module.wish = (STOP if self._stop.signal else 0.0) + (SAVE if is_due else 0.0)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves where a rank requested it.

        Never after an epoch's last batch: Lightning would resume from there after the validation that follows.
        """
        module = ours(pl_module)
        if module.wished and not trainer.is_last_batch:
            self._save(trainer, module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves, after the validation if there was one, and takes account of a signal received during it."""
        module = ours(pl_module)
        if any(module.processes.all_of(self._stop.signal is not None)):
            module.wished = STOP
        self._save(trainer, module)

    def _save(self, trainer: pl.Trainer, module: TowersModule) -> None:
        """Saves; raises `Stopped` where a rank asked for it, and UserError instead of saving after a bad batch."""
        module.read_rest()
        module.count_time()
        for logger in trainer.loggers:
            logger.save()  # rows are on disk before a checkpoint counts them
        self._rows = sum(logger.rows for logger in _csv(trainer))
        trainer.save_checkpoint(self._folder / LAST)
        self._saved_at = time.perf_counter()
        if module.wished % SAVE >= STOP:
            raise Stopped(self._stop.signal or signal.SIGTERM)  # another rank got the signal


class LastEpochValidated(Callback):
    """Makes sure that the last epoch is validated, also with `check_val_every_n_epoch` above 1.

    So is an epoch in which an earlier callback ends the training.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Covers a run that resumes within its last epoch."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validates this epoch if it is the last."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Validates this epoch if the training ends here."""
        if trainer.should_stop:
            trainer.check_val_every_n_epoch = 1


def _csv(trainer: pl.Trainer) -> list[CsvLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, CsvLogger)]
