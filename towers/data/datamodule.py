"""Batches for training and validation, built from the memory-mapped store."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from towers.batch import HistoryBatch, TrainingBatch
from towers.data.batches import BatchPlan, EpochSampler, Windows, fill_batches, last_windows
from towers.data.history_reader import HistoryReader
from towers.data.store import Store


@runtime_checkable  # for the tests, which check annotations at run time
class CandidateSampler(Protocol):
    """What a target competes with."""

    def sample(self, target_rows: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Unique content rows `[candidates]`, and the log-probability of each to be among them, float32."""
        ...


class TrainingBatches(Dataset):
    """Plans to batches. Everything drawn comes from the plan's seed, whichever process draws it.

    Args:
        store: the prepared store.
        candidates: draws what targets compete with.
        repeat_weight: weight of a target that the listener has chosen before; a first choice has 1.
        lookahead: a target is predicted from a state at most so many events before it, drawn at random; 1: from the
            state right before.
        num_fresh_sounds: sounds encoded anew in a step.
        crop_frames: frames of a sound's random crop.
    """

    def __init__(
        self,
        store: Store,
        candidates: CandidateSampler,
        repeat_weight: float,
        lookahead: int,
        num_fresh_sounds: int,
        crop_frames: int,
    ):
        self._store = store
        self._reader = HistoryReader(store)
        self._candidates = candidates
        self._repeat_weight = repeat_weight
        self._lookahead = lookahead
        self._num_fresh_sounds = num_fresh_sounds
        self._crop_frames = crop_frames

    def __getitem__(self, plan: BatchPlan) -> TrainingBatch:
        generator = np.random.default_rng(plan.seed)
        places = self._reader.places(plan.windows.start, plan.windows.end)
        heard = self._reader.content_rows(places)
        weights = self._reader.target_weights(places, self._repeat_weight)
        windows, events = np.nonzero(weights)
        targets = heard[windows, events]
        states = events - generator.integers(0, np.minimum(events, self._lookahead - 1) + 1)
        candidates, log_q = self._candidates.sample(targets, generator)
        content_rows = np.unique(np.concatenate([heard[heard >= 0], targets, candidates]))
        content_index = np.where(heard < 0, -1, np.searchsorted(content_rows, heard))
        fresh_index, crops = self._fresh_sounds(content_rows, generator)
        return TrainingBatch(
            histories=self._reader.batch(places, plan.windows.user_rows, content_index),
            content_rows=torch.from_numpy(content_rows),
            target_position=torch.from_numpy(windows * (places.shape[1] + 1) + states),
            target_index=torch.from_numpy(np.searchsorted(content_rows, targets)),
            target_weight=torch.from_numpy(weights[windows, events]),
            candidate_index=torch.from_numpy(np.searchsorted(content_rows, candidates)),
            candidate_log_q=torch.from_numpy(log_q.astype(np.float32)),
            fresh_index=torch.from_numpy(fresh_index),
            fresh_spectrograms=torch.from_numpy(crops),
        )

    def _fresh_sounds(self, content_rows: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        spectrograms = self._store.spectrograms
        if spectrograms is None or self._num_fresh_sounds == 0:
            return np.zeros(0, np.int64), np.zeros((0, 1, 8), np.float32)
        audible = np.flatnonzero(self._store.audio_rows[content_rows] >= 0)
        fresh = generator.permutation(audible)[: self._num_fresh_sounds]
        _, n_mels, frames = spectrograms.records.shape
        width = min(self._crop_frames, frames)
        starts = generator.integers(0, frames - width + 1, len(fresh))
        crops = np.empty((len(fresh), n_mels, width), np.float32)
        for crop, place, start in zip(crops, fresh, starts, strict=True):
            crop[:] = spectrograms.records[self._store.audio_rows[content_rows[place]], :, start : start + width]
        return fresh, crops


class DataModule(pl.LightningDataModule):
    """Training windows and validation histories.

    Args:
        store: the prepared store.
        candidates: draws what targets compete with.
        has_sound: whether the model hears.
        validation_users: `[users]`, rows of the listeners with validation targets.
        seed: of windows, order, negatives and crops.
        max_length: of a history or a window, in events.
        max_tokens: padded tokens of a batch (listeners times length).
        repeat_weight: weight of a target that the listener has chosen before; a first choice has 1.
        lookahead: a target is predicted from a state at most so many events before it, drawn at random. 1 asks for
            what comes next; more asks for what comes at some time, as a list for the next weeks has to (dense
            all-action loss, Pancha et al. 2022, "PinnerFormer").
        num_fresh_sounds: sounds encoded anew, with gradient, in a step.
        crop_s: random crop of a sound in training, in seconds.
        num_workers: processes that build batches beside the training process; 0 builds them in it.
    """

    def __init__(
        self,
        store: Store,
        candidates: CandidateSampler,
        has_sound: bool,
        validation_users: np.ndarray,
        seed: int,
        max_length: int,
        max_tokens: int,
        repeat_weight: float,
        lookahead: int,
        num_fresh_sounds: int,
        crop_s: float,
        num_workers: int,
    ):
        super().__init__()
        for name, number in (("max_length", max_length), ("max_tokens", max_tokens), ("lookahead", lookahead)):
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        settings = store.features.spectrogram
        self._store = store
        self._batches = TrainingBatches(
            store,
            candidates,
            repeat_weight,
            lookahead,
            num_fresh_sounds if has_sound else 0,
            round(crop_s * settings.sample_rate / settings.hop_length),
        )
        self._validation_users = validation_users
        self._seed = seed
        self._max_length = max_length
        self._max_tokens = max_tokens
        self._num_workers = num_workers

    def train_dataloader(self) -> DataLoader:
        """`TrainingBatch`es, others in every epoch."""
        histories = self._store.histories
        sampler = EpochSampler(
            histories.offsets[:-1], histories.train_end, self._max_length, self._max_tokens, self._seed
        )
        return DataLoader(
            self._batches,
            sampler=sampler,  # type: ignore[arg-type]  # yields plans where torch expects integers
            batch_size=None,
            num_workers=self._num_workers,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader:
        """`HistoryBatch`es of the validation listeners before the first cut, in their order."""
        batches = UserBatches(
            self._store, self._store.histories.train_end, self._validation_users, self._max_length, self._max_tokens
        )
        return DataLoader(batches, batch_size=None, pin_memory=torch.cuda.is_available())


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
