"""Builds an evaluation task from a prepared store and a cut in time."""

from typing import Literal

import numpy as np
from jaxtyping import Bool

from towers.data.store import Store
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged


def task_from_store(store: Store, period: Literal["validation", "test"]) -> EvaluationTask:
    """Builds the task of the listeners with a positive event in `period`, with histories up to its start.

    Args:
        store: prepared store.
        period: validation, with histories up to the end of training, or test, with histories up to the end of
            validation; a gap of the split lies between the histories and the period.
    """
    histories = store.histories
    begin, end = histories.period(period)
    everything = Ragged(np.asarray(histories.offsets), np.asarray(histories.content_row))
    place = np.arange(len(everything.values))
    users = everything.list_of_value
    before = is_before(store, period)
    is_target = histories.is_positive & (place >= np.asarray(begin)[users]) & (place < np.asarray(end)[users])
    targets = everything.where(is_target).unique()
    user_rows = np.flatnonzero(targets.lengths > 0)
    return EvaluationTask(
        user_rows=user_rows,
        histories=everything.where(before).take(user_rows),
        targets=targets.take(user_rows),
        is_candidate=store.is_playable,
        is_cold=store.contents["train_plays"].to_numpy() == 0,
        train_counts=store.train_positives,
        kind_codes=store.kind_codes,
        is_cold_user=(histories.train_end == histories.offsets[:-1])[user_rows],
    )


def all_histories(store: Store, period: Literal["validation", "test"]) -> Ragged:
    """Returns the positive contents of all listeners before `period`, on which baselines are fitted."""
    histories = store.histories
    everything = Ragged(np.asarray(histories.offsets), np.asarray(histories.content_row))
    return everything.where(is_before(store, period))


def is_before(store: Store, period: Literal["validation", "test"]) -> Bool[np.ndarray, " events"]:
    """Returns, for each event of all listeners, whether it is positive and lies before the cut of `period`."""
    histories = store.histories
    end = np.asarray(histories.known_until(period))
    users = np.repeat(np.arange(histories.num_users), np.diff(histories.offsets))
    return histories.is_positive & (np.arange(len(users)) < end[users])
