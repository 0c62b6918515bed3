"""What is known of the listeners of a task, kept beside an evaluation so that any slice can be asked for later."""

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
    """A row for every listener of the task, in its order.

    Columns: `user_row`; `history_length`, positive events before the cut; `distinct_contents` among them;
    `generalist_specialist`, the score, null where it is not defined; then those of `known` that are called otherwise.

    Args:
        task: whose listeners.
        content_vectors: of all contents; in which contents are near each other.
        known: more of the same listeners (`known_of_listeners`).
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
    """What the store knows of the listeners of the task, in its order.

    Columns: `user_id` and the other columns of users/; `days_since_last_event`, of any action, from the last one before
    `period` that is known to its begin, null without such an event and where the period does not begin for all at once.

    Args:
        store: the prepared store.
        task: made from it.
        period: the one that the task was made for.
    """
    days = _days_since_last_event(store, period)[task.user_rows]
    listed = store.users.take(pa.array(task.user_rows))
    columns = {name: listed[name] for name in listed.column_names}
    return pa.table(columns | {"days_since_last_event": pa.array(days, from_pandas=True)})  # NaN becomes null


def generalist_specialist(
    histories: Ragged, content_vectors: Float[np.ndarray, "contents dim"]
) -> Float[np.ndarray, " lists"]:
    """How close together lies what a listener plays: towards 1 a specialist, towards 0 a generalist.

    The mean cosine of what was played with its centre, weighted by plays w (Anderson et al. 2020, "Algorithmic effects
    on the diversity of consumption on Spotify"): `centre = sum(w * v) / sum(w)`, `score = sum(w * cos(v, centre)) /
    sum(w)`. Of unit vectors that is the length of the centre.

    Contents with a zero vector (of which nothing is known) are left out; NaN where nothing remains, or where what
    remains cancels out.
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
    """Quarters of the listeners by their score, from generalists to specialists; those without one in none.

    Scores are compared to six decimals, so that rounding does not part those who are alike (everybody with one content
    has 1); equal scores stay together, which makes quarters unequal where many are.
    """
    scores = np.round(profiles[TASTE].to_numpy(), 6)  # null is NaN
    known = scores[~np.isnan(scores)]
    bounds = np.quantile(known, [0.25, 0.5, 0.75]) if len(known) else np.zeros(3)
    codes = np.searchsorted(bounds, scores, side="left")
    return ByListener(name=TASTE_SLICING, labels=QUARTILES, codes=np.where(np.isnan(scores), -1, codes))


def write_profiles(profiles: pa.Table, path: Path) -> None:
    """One Parquet file, whole or not at all."""
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
