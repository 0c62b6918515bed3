"""`last.ckpt`: a run that is stopped or killed, at whatever moment, goes on with every bit it would have had."""

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
"""What a process may wish for in a step. Wishes are added up over ranks, so all save, and stop, after the same one."""


class Resumption(Checkpoint):
    """Saves every so many seconds, before and after every validation, after every epoch and on a signal.

    `ModelCheckpoint` does none of it: with manual optimisation it leaves out saves by time, and one of its saves at the
    end of an epoch would go on behind the validation that follows.

    Args:
        folder: of the run.
        signature: of the run.
        every_s: seconds between checkpoints.
        stop: hears of signals.
    """

    def __init__(self, folder: Path, signature: str, every_s: float, stop: StopRequest):
        self._folder = folder
        self._signature = signature
        self._every_s = every_s
        self._stop = stop
        self._rows = 0
        self._saved_at = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """The rows of metrics that the checkpoint counts."""
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As `state_dict` gave it."""
        self._rows = state_dict["rows"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """All go on from the same checkpoint, and metrics that are ahead of it are cut off.

        Raises:
            UserError: processes see different runs or checkpoints.
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
        """Puts Lightning's handlers of signals aside.

        They were set a moment ago. The one of SIGTERM talks to the other ranks from within the handler and saves
        nothing; under SLURM there is one that saves in the middle of a step.
        """
        module = ours(pl_module)
        self._stop.listen()
        # In every step of several ranks it would broadcast whether a signal has come, and wait for the device. Signals
        # are in the step's own message here. There is no public way.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
        self._saved_at = time.perf_counter()
        module.before_validation = lambda: self._save(trainer, module)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Tells the other ranks, by way of the step, what this one wishes for."""
        module = ours(pl_module)
        is_due = module.processes.is_first and time.perf_counter() - self._saved_at >= self._every_s
        module.wish = (STOP if self._stop.signal else 0.0) + (SAVE if is_due else 0.0)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves where somebody wished for it.

        Never on an epoch's last batch, from where Lightning would go on behind the validation that follows.
        """
        module = ours(pl_module)
        if module.wished and not trainer.is_last_batch:
            self._save(trainer, module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves; after the validation, where there was one. A signal that came in it is heard now."""
        module = ours(pl_module)
        if any(module.processes.all_of(self._stop.signal is not None)):
            module.wished = STOP
        self._save(trainer, module)

    def _save(self, trainer: pl.Trainer, module: TowersModule) -> None:
        """Raises Stopped where somebody has asked for it; UserError instead of saving what a bad batch has left."""
        module.read_rest()
        module.count_time()
        for logger in trainer.loggers:
            logger.save()  # rows are on disk before a checkpoint counts them
        self._rows = sum(logger.rows for logger in _csv(trainer))
        trainer.save_checkpoint(self._folder / LAST)
        self._saved_at = time.perf_counter()
        if module.wished % SAVE >= STOP:
            raise Stopped(self._stop.signal or signal.SIGTERM)  # or another rank heard one


class LastEpochValidated(Callback):
    """The last epoch is validated, whatever `check_val_every_n_epoch` says of the others.

    So is one that a callback before this one ends.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Where a run goes on within its last epoch."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Looks whether it is the last."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Looks whether it ends here."""
        if trainer.should_stop:
            trainer.check_val_every_n_epoch = 1


def _csv(trainer: pl.Trainer) -> list[CsvLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, CsvLogger)]
