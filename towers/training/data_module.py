"""The batches of a run as a LightningDataModule: training goes on from where the module stands."""

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
        loaders: make them.
        share: of this process.
        is_judged: whether there is something to validate by.
        max_batches: of an epoch, the others are left out; null: all. A Trainer's own `limit_train_batches` goes before.
    """

    def __init__(self, loaders: Loaders, share: Share, is_judged: bool, max_batches: int | None = None):
        super().__init__()
        self.loaders = loaders
        self._share = share
        self._is_judged = is_judged
        self._max_batches = max_batches
        self._epochs: _Epochs | None = None

    def train_dataloader(self) -> "_Epochs":
        """Gives the batches of as many epochs, and as many of each, as the Trainer asks for."""
        self._epochs = _Epochs(self.loaders, self.trainer, self._max_batches)
        return self._epochs

    def val_dataloader(self) -> "_Own":
        """This rank's share of the listeners."""
        histories = self.loaders.validation() if self._is_judged else ()
        part = self._share.of(len(histories))
        return _Own(histories, range(part.start, part.stop))

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Batches know how to move themselves; null is a rank's share of a validation that has less than a batch."""
        return batch if batch is None else batch.to(device)

    def teardown(self, stage: str) -> None:
        """Ends the processes that build batches."""
        if self._epochs is not None:
            self._epochs.close()

    def on_exception(self, exception: BaseException) -> None:
        """Ends them, too: they ignore signals, so Python could not end them when it exits, and would wait for ever."""
        self.teardown("fit")


class _Epochs:
    """Epoch after epoch from where the run stands; the loader, and its workers, live through all of them.

    It has no length: how many batches an epoch has is known with its first one, and Lightning asks only once.
    """

    def __init__(self, loaders: Loaders, trainer: Any, max_batches: int | None):
        self._loaders = loaders
        self._max_batches = max_batches
        self._trainer = trainer
        self._all: Iterator[TrainingBatch] | None = None

    def __iter__(self) -> Iterator[TrainingBatch]:
        """One epoch. A generator: Lightning calls iter() for a look, and nothing may begin by that."""
        trainer = self._trainer
        progress = ours(trainer.lightning_module).progress
        if not progress.is_validated:  # Lightning goes back into the epoch behind, for its validation
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
        """Lets go of the loader."""
        self._all = None


class _Own:
    """Histories by number; a rank without any has one null, as it would be left out of a validation that all wait for.

    Lightning takes a list for several loaders, so this is none.
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
