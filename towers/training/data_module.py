"""The batches of a run as a LightningDataModule that resumes at the module's progress."""

from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch

from towers.batch import HistoryBatch, TrainingBatch
from towers.data.loaders import Loaders, UserBatches
from towers.data.training_batches import Share
from towers.training.module import ours


class TowersDataModule(pl.LightningDataModule):
    """Training batches and validation histories for a `TowersModule`.

    Args:
        loaders: loaders of the store's batches.
        share: share of this process.
        is_judged: whether there is a validation set.
        max_batches: batches per epoch, further ones are left out; null: all. The Trainer's own
            `limit_train_batches` takes precedence.
    """

    def __init__(self, loaders: Loaders, share: Share, is_judged: bool, max_batches: int | None = None):
        super().__init__()
        self.loaders = loaders
        self._share = share
        self._is_judged = is_judged
        self._max_batches = max_batches
        self._epochs: _Epochs | None = None

    def train_dataloader(self) -> "_Epochs":
        """Returns the training batches: as many epochs, and as many batches of each, as the Trainer asks for."""
        self._epochs = _Epochs(self.loaders, self.trainer, self._max_batches)
        return self._epochs

    def val_dataloader(self) -> "_Own":
        """Returns this rank's share of the validation listeners."""
        histories = self.loaders.validation() if self._is_judged else ()
        part = self._share.of(len(histories))
        return _Own(histories, range(part.start, part.stop))

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Moves a batch to the device; null stands for an empty share of a small validation set, and stays null."""
        return batch if batch is None else batch.to(device)

    def teardown(self, stage: str) -> None:
        """Ends the worker processes that build batches."""
        if self._epochs is not None:
            self._epochs.close()

    def on_exception(self, exception: BaseException) -> None:
        """Ends the workers: they ignore signals, so Python could not end them at exit, and would wait for ever."""
        self.teardown("fit")


class _Epochs:
    """Training batches, epoch after epoch from the run's progress; the loader and its workers live through all epochs.

    It has no length: the number of batches is known only with an epoch's first batch, and Lightning asks only once.
    """

    def __init__(self, loaders: Loaders, trainer: Any, max_batches: int | None):
        self._loaders = loaders
        self._max_batches = max_batches
        self._trainer = trainer
        self._all: Iterator[TrainingBatch] | None = None

    def __iter__(self) -> Iterator[TrainingBatch]:
        """Yields the batches of one epoch. A generator, so that nothing starts when Lightning only calls `iter()`."""
        trainer = self._trainer
        progress = ours(trainer.lightning_module).progress
        if not progress.is_validated:  # Lightning re-enters the finished epoch, to validate it
            return
        if self._all is None:
            limit = trainer.limit_train_batches
            max_batches = limit if isinstance(limit, int) else self._max_batches
            self._all = iter(self._loaders.training(trainer.max_epochs, progress.epoch, progress.number, max_batches))
        for batch in self._all:
            yield batch
            if batch.number + 1 == batch.batches:
                return

    def close(self) -> None:
        """Releases the loader."""
        self._all = None


class _Own:
    """Validation batches of this rank by number; a rank without any yields one null, as all ranks must take part.

    It is no list, since Lightning takes a list for several loaders.
    """

    def __init__(self, histories: UserBatches | tuple[()], numbers: range):
        self._histories = histories
        self._numbers = numbers

    def __len__(self) -> int:
        return max(1, len(self._numbers))

    def __iter__(self) -> Iterator[HistoryBatch | None]:
        if not self._numbers:
            yield None
        for number in self._numbers:
            batch = self._histories[number]
            yield batch.pin_memory() if torch.cuda.is_available() else batch
