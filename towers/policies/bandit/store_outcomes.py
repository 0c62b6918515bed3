"""Impressions of a prepared store with their outcomes: from the impressions themselves, or else from the events."""

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from towers.contract.durations import MINUTE_US
from towers.data.store import Store
from towers.policies.bandit.joining import Shown, Told, filled, joined


def impressions_with_outcomes(store: Store, gap_us: int = 30 * MINUTE_US) -> pa.Table:
    """Returns all impressions of a store with outcomes, in time order.

    Args:
        store: prepared store.
        gap_us: as in `joining.joined`.

    Returns:
        A table of `IMPRESSION_SCHEMA`; rows of the same time in the order of arrival.
    """
    impressions = store.impressions.to_table()
    times_us = impressions["timestamp"].cast(pa.int64()).to_numpy()
    impressions = impressions.take(pa.array(np.argsort(times_us, kind="stable")))
    if not len(impressions):
        return impressions
    shown = Shown(
        user=_rows(store.user_ids, impressions["user_id"]),
        content_row=_rows(store.content_ids, impressions["chosen_id"]),
        timestamp_us=impressions["timestamp"].cast(pa.int64()).to_numpy(),
    )
    return filled(impressions, joined(shown, told_by(store, shown), store.members, gap_us))


def told_by(store: Store, shown: Shown) -> Told:
    """Returns the events of the listeners to whom something was shown."""
    histories = store.histories
    users = np.unique(shown.user[shown.user >= 0])
    begin, end = histories.offsets[users], histories.offsets[users + 1]
    lengths = end - begin
    event = np.repeat(begin - np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64), lengths)
    event = event + np.arange(lengths.sum())
    rows = histories.content_row[event].astype(np.int64)
    fraction = histories.played_fraction[event].astype(np.float64)
    durations_ms = store.contents["duration_ms"].fill_null(0).to_numpy()[np.maximum(rows, 0)]
    is_known = (fraction >= 0) & (durations_ms > 0) & (rows >= 0)
    return Told(
        user=np.repeat(users, lengths),
        content_row=rows,
        action=histories.action[event],
        timestamp_us=histories.timestamp_us[event],
        played_ms=np.where(is_known, np.rint(fraction * durations_ms), -1).astype(np.int64),
        played_fraction=fraction,
        session=histories.session[event],
    )


def _rows(known: np.ndarray, ids: pa.ChunkedArray) -> Int[np.ndarray, " rows"]:
    """Returns the row of each id, -1 where the store does not have it."""
    row_of = {one: row for row, one in enumerate(known.tolist()) if one is not None}
    return np.array([row_of.get(one, -1) for one in ids.to_pylist()], np.int64)
