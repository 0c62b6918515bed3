"""Profiles of a task's listeners, saved with an evaluation so that results can be sliced by them later."""

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float
from scipy import sparse

from towers.contract.durations import DAY_US
from towers.data.store import Store
from towers.evaluation.slices import ByListener
from towers.evaluation.slicings import Period
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged
from towers.manifest import atomic_file

TASTE: Final = "generalist_specialist"
TASTE_SLICING: Final = "taste"
QUARTILES: Final = ("generalist", "rather_generalist", "rather_specialist", "specialist")


def listener_profiles(
    task: EvaluationTask, content_vectors: Float[np.ndarray, "contents dim"], known: pa.Table | None = None
) -> pa.Table:
    """Returns a table with a row for every listener of the task, in its order.

    Columns: `user_row`; `history_length`, the number of positive events before the cut; `distinct_contents`, the number
    of different contents among them; `generalist_specialist`, the score, null if undefined; then the columns of `known`
    with other names.

    Args:
        task: task with the listeners.
        content_vectors: vectors of all contents.
        known: further columns of the same listeners (`known_of_listeners`).
    """
    scores = generalist_specialist(task.histories, content_vectors)
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "user_row": pa.array(task.user_rows, pa.int64()),
        "history_length": pa.array(task.histories.lengths, pa.int64()),
        "distinct_contents": pa.array(task.histories.unique().lengths, pa.int64()),
        TASTE: pa.array(scores, pa.float64(), from_pandas=True),
    }
    if known is not None:
        columns |= {name: known[name] for name in known.column_names if name not in columns}
    return pa.table(columns)


def known_of_listeners(store: Store, task: EvaluationTask, period: Period) -> pa.Table:
    """Returns the store's columns about the listeners of the task, in its order.

    Columns: `user_id` and the other columns of users/; `days_since_last_event`, the days from the listener's last known
    event of any action to the start of `period`, null without such an event, and if the period has no common start.

    Args:
        store: prepared store.
        task: task made from the store.
        period: period of the task.
    """
    days = _days_since_last_event(store, period)[task.user_rows]
    listed = store.users.take(pa.array(task.user_rows))
    columns = {name: listed[name] for name in listed.column_names}
    return pa.table(columns | {"days_since_last_event": pa.array(days, from_pandas=True)})  # NaN becomes null


def generalist_specialist(
    histories: Ragged, content_vectors: Float[np.ndarray, "contents dim"]
) -> Float[np.ndarray, " lists"]:
    """Returns how close together a listener's contents are: near 1 for a specialist, near 0 for a generalist.

    It is the mean cosine of the played contents with their centre, weighted by plays w (Anderson et al. 2020,
    "Algorithmic effects on the diversity of consumption on Spotify"): `centre = sum(w * v) / sum(w)`, `score = sum(w *
    cos(v, centre)) / sum(w)`. For unit vectors that is the length of the centre.

    Contents with a zero vector (about which nothing is known) are ignored; NaN if none is left, or if the centre is 0.
    """
    lengths = np.linalg.norm(content_vectors, axis=1)
    known = histories.where(lengths[histories.values] > 0)
    ones = np.ones(len(known.values), dtype=content_vectors.dtype)
    plays = sparse.csr_array((ones, known.values, known.offsets), shape=(len(known), len(content_vectors)))
    centres = plays @ content_vectors
    directions = plays @ (content_vectors / np.where(lengths > 0, lengths, 1)[:, None])
    scale = known.lengths * np.linalg.norm(centres, axis=1)
    return (centres * directions).sum(axis=1) / np.where(scale > 0, scale, np.nan)


def by_taste(profiles: pa.Table) -> ByListener:
    """Returns the slicing of listeners by quartiles of their score, from generalists to specialists.

    Listeners without a score are in no slice. Scores are rounded to six decimals, so that rounding errors do not
    separate equal ones (every listener of a single content has 1); equal scores stay together, which makes quartiles
    unequal if there are many.
    """
    scores = np.round(profiles[TASTE].to_numpy(), 6)  # null is NaN
    known = scores[~np.isnan(scores)]
    bounds = np.quantile(known, [0.25, 0.5, 0.75]) if len(known) else np.zeros(3)
    codes = np.searchsorted(bounds, scores, side="left")
    return ByListener(name=TASTE_SLICING, labels=QUARTILES, codes=np.where(np.isnan(scores), -1, codes))


def write_profiles(profiles: pa.Table, path: Path) -> None:
    """Writes profiles to a Parquet file atomically."""
    with atomic_file(path) as temporary:
        pq.write_table(profiles, temporary, compression="zstd")


def _days_since_last_event(store: Store, period: Period) -> Float[np.ndarray, " users"]:
    histories, begin_us = store.histories, store.manifest[f"{period}_start_us"]
    before = np.asarray(histories.known_until(period))
    days = np.full(len(before), np.nan)
    if begin_us is not None:
        has_event = before > np.asarray(histories.offsets[:-1])
        days[has_event] = (begin_us - histories.timestamp_us[before[has_event] - 1]) / DAY_US
    return days
