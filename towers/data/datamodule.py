"""Loaders for training and validation over the memory-mapped store."""

import signal
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from towers.batch import HistoryBatch
from towers.data.batches import PlanSampler, Windows, fill_batches, last_windows
from towers.data.history_reader import HistoryReader
from towers.data.store import Store
from towers.data.training_batches import CandidateSampler, Share, TrainingBatches
from towers.errors import require_counts


class DataModule:
    """Training windows and validation histories.

    Args:
        store: the prepared store.
        candidates: draws what targets compete with.
        has_sound: whether steps encode sounds anew.
        num_rejections: contents turned down that the objective wants with every target, at most.
        has_times: whether the objective wants to know when targets happened, and since when contents have been there.
        validation_users: `[users]`, rows of the listeners with validation targets.
        seed: of windows, order, negatives and crops.
        share: of this process in every step.
        max_length: of a history or a window, in events.
        max_tokens: padded tokens of a step (listeners times length), over all ranks and micro-batches.
        repeat_weight: weight of a target that the listener has chosen before; a first choice has 1.
        lookahead: a target is predicted from a state at most so many events before it, drawn at random. 1 asks for
            what comes next; more asks for what comes at some time, as a list for the next weeks has to (dense
            all-action loss, Pancha et al. 2022, "PinnerFormer").
        num_fresh_sounds: sounds encoded anew, with gradient, in a step; 0: the audio encoder is not trained.
        crop_s: of a sound in training, in seconds.
        num_workers: processes that build batches.

    Attributes:
        crop_frames: of a sound in training, in frames.

    Raises:
        ValueError: a length, a budget or a lookahead below 1, another number below 0; times wanted of data without a
            clock.
    """

    def __init__(
        self,
        store: Store,
        candidates: CandidateSampler,
        has_sound: bool,
        num_rejections: int,
        has_times: bool,
        validation_users: np.ndarray,
        seed: int,
        share: Share,
        max_length: int,
        max_tokens: int,
        repeat_weight: float,
        lookahead: int,
        num_fresh_sounds: int,
        crop_s: float,
        num_workers: int,
    ):
        require_counts(max_length=max_length, max_tokens=max_tokens, lookahead=lookahead)
        for name, number in {
            "repeat_weight": repeat_weight, "num_fresh_sounds": num_fresh_sounds, "num_workers": num_workers
        }.items():  # fmt: skip
            if not number >= 0:
                raise ValueError(f"{name} must be 0 or more, got {number}")
        if has_times and not store.has_clock:
            raise ValueError("objective.mask_unavailable=true: the data has no clock, so nothing is known to be new")
        settings = store.features.spectrogram
        self.crop_frames = round(crop_s * settings.sample_rate / settings.hop_length)
        if self.crop_frames < 1:
            raise ValueError(f"crop_s={crop_s} is shorter than a frame of {settings.hop_length} samples")
        self._store = store
        self._batches = TrainingBatches(
            store,
            candidates,
            repeat_weight,
            lookahead,
            num_rejections,
            num_fresh_sounds if has_sound else 0,
            self.crop_frames,
            has_times,
            share,
        )
        histories = store.histories
        self._sampler = PlanSampler(histories.offsets[:-1], histories.train_end, max_length, max_tokens, seed)
        self._validation_users = validation_users
        self._max_length = max_length
        self._max_tokens = max_tokens
        self._num_workers = num_workers

    def training(self, max_epochs: int, epoch: int = 0, number: int = 0, max_batches: int | None = None) -> DataLoader:
        """`TrainingBatch`es of one epoch after the other, from batch `number` of `epoch` on.

        Args:
            max_epochs: passes over the training windows; -1: without an end.
            epoch: of the first batch.
            number: of the first batch in its epoch.
            max_batches: of an epoch, the others are left out; null: all.
        """
        sampler = self._sampler.going(max_epochs, epoch, number, max_batches)
        return DataLoader(
            self._batches,
            sampler=sampler,  # type: ignore[arg-type]  # yields plans where torch expects integers
            batch_size=None,
            num_workers=self._num_workers,
            worker_init_fn=_leave_signals_to_the_training,
            pin_memory=torch.cuda.is_available(),
        )

    def validation(self) -> "UserBatches":
        """`HistoryBatch`es of the validation listeners before the first cut, in their order."""
        return UserBatches(
            self._store, self._store.histories.train_end, self._validation_users, self._max_length, self._max_tokens
        )


def _leave_signals_to_the_training(worker: int) -> None:
    """A scheduler signals the whole group; a loader's process that ended by it would take the training with it."""
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


class UserBatches(Dataset):
    """Histories up to an end, listener after listener; `content_index` is the content's row in the store.

    Args:
        store: the prepared store.
        end: `[all users]`, one past the last event that may be seen.
        user_rows: whose.
        max_length: the last so many events.
        max_tokens: padded tokens of a batch.
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
