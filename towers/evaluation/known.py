"""What baselines may know of a prepared store before a period: nothing from after the cut."""

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
"""Sound that is read at a time, as float64: 128 MB."""


class Known:
    """The facts that constructors of baselines ask for by name (`FACTS`), each made when it is first asked for.

    Args:
        store: the prepared store.
        period: what is to be ranked; facts about listening end where it begins.
    """

    def __init__(self, store: Store, period: Literal["validation", "test"]):
        self.store = store
        self.period: Literal["validation", "test"] = period

    @cached_property
    def task(self) -> EvaluationTask:
        """What is to be ranked for whom."""
        return task_from_store(self.store, self.period)

    @cached_property
    def shared(self) -> Shared:
        """What baselines fitted on these facts have in common."""
        return Shared()

    def for_trials(self, positions: Int[np.ndarray, " some"], trials: Sequence[Mapping[str, Any]]) -> "Known":
        """Narrows the facts to some listeners, whom tuning judges by; fits are shared with all trials of all baselines.

        Args:
            positions: of the listeners in the task.
            trials: settings of one baseline that are about to be tried.
        """
        task, _, _ = self.task, self.histories, self.times_us  # made once, before the copy
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
        """Drops what fits and trials of one baseline had in common, when there will be no more of them."""
        self.shared.forget()
        self._of_trials.forget()

    @cached_property
    def _of_trials(self) -> Shared:
        return Shared()

    @cached_property
    def histories(self) -> Ragged:
        """Positive contents of every listener of the store, in time order, repeats included."""
        return all_histories(self.store, self.period)

    @cached_property
    def times_us(self) -> Int[np.ndarray, " events"] | None:
        """When, for each value of `histories`, in microseconds since 1970; null where the data has no clock."""
        if not self.store.has_clock:
            return None
        return np.asarray(self.store.histories.timestamp_us[is_before(self.store, self.period)])

    @cached_property
    def content_artists(self) -> Ragged:
        """Per content the codes of its artists, numbered from 0; empty where they are not known."""
        return artist_codes(self.store.contents["artist_ids"])

    @cached_property
    def sounds(self) -> Float[np.ndarray, "contents statistics"] | None:
        """Mean and deviation over time of every band of the log-mel; NaN in the rows of contents without sound.

        Null where the data has no sound at all.
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
            ValueError: a setting outside its range.
        """
        wanted = inspect.signature(build).parameters
        return build(**{name: getattr(self, name) for name in FACTS if name in wanted})
