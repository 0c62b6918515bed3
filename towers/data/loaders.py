"""Loaders for training and validation over the memory-mapped store."""

import signal
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int
from torch.utils.data import DataLoader, Dataset

from towers.batch import HistoryBatch
from towers.data.batches import PlanSampler, Windows, fill_batches, last_windows
from towers.data.datamodule import DataModule
from towers.data.history_reader import HistoryReader
from towers.data.store import Store
from towers.data.training_batches import CandidateSampler, Needs, Share, TrainingBatches
from towers.errors import UserError


class Loaders:
    """Loaders of training batches and of validation histories.

    Args:
        settings: settings of windows, targets and crops.
        store: the prepared store.
        candidates: sampler of the candidates that targets compete with.
        needs: needs of the model that is trained.
        validation_users: `[users]`, rows of the listeners with validation targets.
        seed: seed of windows, order, negatives and crops.
        share: share of this process in every step.

    Raises:
        UserError: the model needs times and the data has no clock, or crops are shorter than a frame.
    """

    def __init__(
        self,
        settings: DataModule,
        store: Store,
        candidates: CandidateSampler,
        needs: Needs,
        validation_users: Int[np.ndarray, " users"],
        seed: int,
        share: Share,
    ):
        if needs.has_times and not store.has_clock:
            raise UserError(
                "datamodule: objective.mask_unavailable=true: the data has no clock, so nothing is known to be new"
            )
        self._store = store
        self._settings = settings
        self._validation_users = validation_users
        self._batches = TrainingBatches(store, candidates, settings, needs, share)
        histories = store.histories
        self._sampler = PlanSampler(
            histories.offsets[:-1], histories.train_end, settings.max_length, settings.max_tokens, seed
        )

    def training(self, max_epochs: int, epoch: int = 0, number: int = 0, max_batches: int | None = None) -> DataLoader:
        """Returns a loader of `TrainingBatch`es, one epoch after another, from batch `number` of `epoch` on.

        Args:
            max_epochs: passes over the training windows; -1: without an end.
            epoch: epoch of the first batch.
            number: number of the first batch in its epoch.
            max_batches: number of batches of an epoch that are used; null: all.
        """
        sampler = self._sampler.going(max_epochs, epoch, number, max_batches)
        return DataLoader(
            self._batches,
            sampler=sampler,
            batch_size=None,
            num_workers=self._settings.num_workers,
            worker_init_fn=_leave_signals_to_the_training,
            pin_memory=torch.cuda.is_available(),
        )

    def validation(self) -> "UserBatches":
        """Returns `HistoryBatch`es with the validation listeners' training histories, in the order of the listeners."""
        settings, end = self._settings, self._store.histories.train_end
        return UserBatches(self._store, end, self._validation_users, settings.max_length, settings.max_tokens)


def _leave_signals_to_the_training(worker: int) -> None:
    """Ignores signals in a loader's process: a scheduler signals the whole group, and a loader that ended by it would
    end the training."""
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


class UserBatches(Dataset):
    """Batches of listeners' last events before an end; `content_index` is the content's row in the store.

    Args:
        store: the prepared store.
        end: `[all users]`, one past the last event that may be seen.
        user_rows: rows of the listeners.
        max_length: greatest number of events of a listener.
        max_tokens: greatest number of padded tokens in a batch.
    """

    def __init__(self, store: Store, end: np.ndarray, user_rows: np.ndarray, max_length: int, max_tokens: int):
        self._reader = HistoryReader(store)
        self._windows = last_windows(store.histories.offsets[:-1], np.asarray(end), max_length, user_rows)
        self._batches = fill_batches(self._windows.end - self._windows.start + 1, max_tokens)

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> HistoryBatch:
        if number >= len(self):
            raise IndexError(number)
        windows: Windows = self._windows.take(self._batches[number])
        places = self._reader.places(windows.start, windows.end)
        return self._reader.batch(places, windows.user_rows, self._reader.content_rows(places))

    def __iter__(self) -> Iterator[HistoryBatch]:
        return (self[number] for number in range(len(self)))
