"""Facts of a prepared store from before a period, which baselines may use; nothing from after the cut."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float, Int

from towers.data.store import Store
from towers.evaluation.baselines.shared import Shared
from towers.evaluation.from_store import all_histories, is_before, task_from_store
from towers.evaluation.ranking.rankers import Scorer
from towers.evaluation.task import EvaluationTask
from towers.features.content_facts import artist_codes
from towers.features.ragged import Ragged

FACTS: Final = ("task", "histories", "times_us", "content_artists", "sounds", "shared")
_BLOCK_BYTES = 1 << 27
"""Bytes of sound that are read at a time, as float64: 128 MB."""


class Known:
    """Facts that baselines name as constructor arguments (`FACTS`); each is computed on first access.

    Args:
        store: prepared store.
        period: evaluated period; facts about listening end before it.
    """

    def __init__(self, store: Store, period: Literal["validation", "test"]):
        self.store = store
        self.period: Literal["validation", "test"] = period

    @cached_property
    def task(self) -> EvaluationTask:
        """Evaluation task of the period."""
        return task_from_store(self.store, self.period)

    @cached_property
    def shared(self) -> Shared:
        """Cache of results that baselines fitted on these facts share."""
        return Shared()

    def for_trials(self, positions: Int[np.ndarray, " some"], trials: Sequence[Mapping[str, Any]]) -> "Known":
        """Returns facts whose task has only some listeners, for tuning; all trials of all baselines share one cache.

        Args:
            positions: indices of these listeners in the task.
            trials: settings of one baseline that are about to be tried.
        """
        task, _, _ = self.task, self.histories, self.times_us  # computed before the copy, so that all copies share them
        some = copy(self)
        some.task = replace(
            task,
            user_rows=task.user_rows[positions],
            histories=task.histories.take(positions),
            targets=task.targets.take(positions),
            is_cold_user=task.is_cold_user[positions],
        )
        some.shared, some.shared.trials = self._of_trials, trials
        return some

    def forget(self) -> None:
        """Drops cached results of one baseline, after its last fit and trial."""
        self.shared.forget()
        self._of_trials.forget()

    @cached_property
    def _of_trials(self) -> Shared:
        return Shared()

    @cached_property
    def histories(self) -> Ragged:
        """Positive contents of every listener of the store before the period, in time order, repeats included."""
        return all_histories(self.store, self.period)

    @cached_property
    def times_us(self) -> Int[np.ndarray, " events"] | None:
        """Time of each value of `histories`, in microseconds since 1970; null if the data has no timestamps."""
        if not self.store.has_clock:
            return None
        return np.asarray(self.store.histories.timestamp_us[is_before(self.store, self.period)])

    @cached_property
    def content_artists(self) -> Ragged:
        """Codes of each content's artists, numbered from 0; an empty list where they are unknown."""
        return artist_codes(self.store.contents["artist_ids"])

    @cached_property
    def sounds(self) -> Float[np.ndarray, "contents statistics"] | None:
        """Mean and standard deviation over time of every mel band; NaN for contents without sound.

        It is null if the data has no sound at all.
        """
        if self.store.spectrograms is None:
            return None
        records, rows = self.store.spectrograms.records, self.store.audio_rows
        statistics = np.full((len(rows), 2 * records.shape[1]), np.nan, dtype=np.float32)
        contents = np.flatnonzero(rows >= 0)
        step = max(1, _BLOCK_BYTES // (8 * records.shape[1] * records.shape[2]))
        for start in range(0, len(contents), step):
            block = contents[start : start + step]
            sound = records[rows[block]].astype(np.float64)
            statistics[block] = np.concatenate([sound.mean(axis=2), sound.std(axis=2)], axis=1)
        return statistics

    def give(self, build: Callable[..., Scorer]) -> Scorer:
        """Builds a baseline from the facts that its signature names.

        Raises:
            DataLacks: it cannot be fitted on this data.
            ValueError: a setting is out of range.
        """
        wanted = inspect.signature(build).parameters
        return build(**{name: getattr(self, name) for name in FACTS if name in wanted})
