"""Plans of batches: which windows of which histories each has, shuffled, bucketed by length, filled up to a budget of
tokens."""

import itertools
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Stretches `[start, end)` of the store's flat columns, all `[windows]`, int64."""

    user_rows: Int[np.ndarray, " windows"]
    start: Int[np.ndarray, " windows"]
    end: Int[np.ndarray, " windows"]

    def __len__(self) -> int:
        return len(self.user_rows)

    def take(self, places: np.ndarray) -> "Windows":
        """Returns the windows at `places`."""
        return Windows(user_rows=self.user_rows[places], start=self.start[places], end=self.end[places])


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """The batch of one step: its windows, and the seed of all that is drawn for it.

    Args:
        windows: windows of all ranks.
        seed: seed of everything that is drawn for the batch.
        epoch: number of the pass over the data, from 0.
        number: number of the batch in its epoch, from 0.
        batches: number of batches in the epoch.
    """

    windows: Windows
    seed: tuple[int, ...]
    epoch: int
    number: int
    batches: int


def cut_windows(
    begin: np.ndarray, end: np.ndarray, max_length: int, generator: np.random.Generator | None = None
) -> Windows:
    """Cuts every history `[begin, end)` into windows of at most `max_length` events.

    Args:
        begin: `[users]`, first event.
        end: `[users]`, one past the last.
        max_length: longest window, in events.
        generator: random generator that shifts the cuts of each long history, so that no event always stands at a
            border; null: the last window of each is full.
    """
    length = (end - begin).astype(np.int64)
    phase = -length % max_length if generator is None else generator.integers(0, max_length, len(length))
    phase = np.where(length <= max_length, 0, phase)
    count = -(-(length + phase) // max_length)
    user_rows = np.repeat(np.arange(len(length)), count)
    order = np.arange(len(user_rows)) - np.repeat(np.cumsum(count) - count, count)
    first = begin[user_rows] - phase[user_rows] + order * max_length
    return Windows(
        user_rows=user_rows,
        start=np.maximum(first, begin[user_rows]),
        end=np.minimum(first + max_length, end[user_rows]),
    )


def last_windows(begin: np.ndarray, end: np.ndarray, max_length: int, user_rows: np.ndarray) -> Windows:
    """Returns windows of the last `max_length` events before `end`, for the listeners `user_rows`."""
    start = np.maximum(begin[user_rows], end[user_rows] - max_length)
    return Windows(user_rows=user_rows, start=start, end=end[user_rows].astype(np.int64))


def fill_batches(lengths: np.ndarray, max_tokens: int) -> list[np.ndarray]:
    """Groups consecutive windows into batches whose padded size is at most `max_tokens`; returns their places.

    Args:
        lengths: number of tokens of each window; sorted if padding is to be small.
        max_tokens: greatest number of windows times longest window; a single window may be longer.
    """
    batches, first = [], 0
    while first < len(lengths):
        longest = np.maximum.accumulate(lengths[first : first + max_tokens])
        fits = longest * np.arange(1, len(longest) + 1) <= max_tokens
        size = max(1, len(fits) if fits.all() else int(np.argmin(fits)))
        batches.append(np.arange(first, first + size))
        first += size
    return batches


class PlanSampler:
    """Plans the batches of one epoch after another. Each epoch has other windows in another order; the seed decides
    both.

    Each epoch has every training event exactly once. It can start at any batch, so a run resumes in the middle of an
    epoch without reading the batches before.

    Args:
        begin: `[users]`, a listener's first training event.
        end: `[users]`, one past the last.
        max_length: longest window, in events.
        max_tokens: greatest number of padded tokens in a batch.
        seed: seed of everything that is drawn.
    """

    BUCKET_BATCHES = 16
    """Windows are sorted by length among this many batches' worth of neighbours."""

    def __init__(self, begin: np.ndarray, end: np.ndarray, max_length: int, max_tokens: int, seed: int):
        self._begin, self._end = np.asarray(begin), np.asarray(end)
        self._max_length, self._max_tokens, self._seed = max_length, max_tokens, seed
        self._max_epochs = 1
        self._start = (0, 0)
        self._max_batches: int | None = None

    def going(self, max_epochs: int, epoch: int, number: int, max_batches: int | None) -> "PlanSampler":
        """Returns a sampler from batch `number` of `epoch` to the end of `max_epochs` epochs (-1: no end), with at most
        `max_batches` batches an epoch (null: all)."""
        sampler = copy(self)
        sampler._max_epochs, sampler._start, sampler._max_batches = max_epochs, (epoch, number), max_batches
        return sampler

    def __iter__(self) -> Iterator[BatchPlan]:
        first_epoch, first_number = self._start
        for epoch in itertools.count(first_epoch) if self._max_epochs < 0 else range(first_epoch, self._max_epochs):
            windows, batches = self._draw(epoch)
            batches = batches[: self._max_batches]
            for number in range(first_number if epoch == first_epoch else 0, len(batches)):
                yield BatchPlan(
                    windows=windows.take(batches[number]),
                    seed=(self._seed, epoch, number),
                    epoch=epoch,
                    number=number,
                    batches=len(batches),
                )

    def _draw(self, epoch: int) -> tuple[Windows, list[np.ndarray]]:
        generator = np.random.default_rng((self._seed, epoch))
        windows = cut_windows(self._begin, self._end, self._max_length, generator)
        windows = windows.take(np.flatnonzero(windows.end - windows.start > 0))
        order = generator.permutation(len(windows))
        lengths = windows.end - windows.start + 1  # the listener's own token
        bucket = max(1, self.BUCKET_BATCHES * self._max_tokens // max(1, int(lengths.mean()) if len(windows) else 1))
        sorted_order = np.concatenate(
            [part[np.argsort(lengths[part], kind="stable")] for part in _chunks(order, bucket)] or [order]
        )
        batches = fill_batches(lengths[sorted_order], self._max_tokens)
        shuffled = generator.permutation(len(batches))
        return windows.take(sorted_order), [batches[place] for place in shuffled]


def _chunks(values: np.ndarray, size: int) -> list[np.ndarray]:
    return [values[first : first + size] for first in range(0, len(values), size)]
