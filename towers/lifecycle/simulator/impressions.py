"""What simulated listeners were shown, and what they did with it, as rows of `impressions/`."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from towers.contract.durations import DAY_US
from towers.contract.impressions import IMPRESSION_SCHEMA
from towers.contract.slate import NOTHING
from towers.simulation.environment.home_shelf import Pages
from towers.simulation.listeners.raw_events import played_ms_of
from towers.simulation.listeners.session_log import FINISH, SKIP, SessionLog
from towers.simulation.listeners.space import Space

_PAGES: Final = 500
"""Most pages of a table: each row of a page repeats the ids of all its candidates."""


def impression_tables(
    pages: Pages, log: SessionLog, space: Space, *, prefix: str, policy_id: str, shelf: str
) -> Iterator[tuple[str, pa.Table]]:
    """Yields the rows of pages, in the order of days, listeners, sessions and slots.

    The outcome of the slot that was picked is that of the session's first play in the log, and so in its events. The
    other slots have no outcome.

    Args:
        pages: pages that were shown.
        log: plays, with the outcomes.
        space: contents whose rows they name; the policy chose by its vectors.
        prefix: prefix of the ids of requests; the number of the session in the log follows.
        policy_id: name of the policy that chose.
        shelf: name of the shelf.

    Yields:
        A day (UTC) as `YYYY-MM-DD` and a table of `IMPRESSION_SCHEMA`; tables of one day are consecutive.
    """
    played_ms = played_ms_of(log, space)
    content_ids = pa.array([*space.content_ids], pa.string())
    day = log.start_us[pages.play] // DAY_US
    for each in np.unique(day).tolist():
        of_day = np.flatnonzero(day == each)
        for begin in range(0, len(of_day), _PAGES):
            some = of_day[begin : begin + _PAGES]
            rows = _rows(pages, some, log, played_ms, content_ids, prefix)
            rows |= {"policy_id": policy_id, "space_id": space.space_id, "shelf": shelf}
            yield str(np.datetime64(each, "D")), _table(rows)


def _rows(
    pages: Pages,
    some: Int[np.ndarray, " some"],
    log: SessionLog,
    played_ms: Int[np.ndarray, " plays"],
    content_ids: pa.Array,
    prefix: str,
) -> dict[str, Any]:
    """Returns columns of some pages, without those that are constant."""
    page, slot = np.nonzero(pages.slates[some] != NOTHING)
    at = some[page]
    play = pages.play[at]
    is_picked = pages.slot[at] == slot
    return {
        "request_id": [f"{prefix}{number}" for number in log.session[play].tolist()],
        "user_id": [log.user_ids[row] for row in log.listener[play].tolist()],
        "timestamp": pa.array(log.start_us[play]).cast(pa.timestamp("us", tz="UTC")),
        "candidate_ids": _lists(pages.candidates[at], content_ids),
        "chosen_id": content_ids.take(pa.array(pages.slates[at, slot])),
        "slot": slot,
        "propensity": pages.propensities[at, slot],
        "clicked": is_picked,
        "played_ms": np.where(is_picked, played_ms[play], 0),
        "skipped": is_picked & (log.outcome[play] == SKIP),
        "finished": is_picked & (log.outcome[play] == FINISH),
        "saved": is_picked & log.saved[play],
    }


def _lists(candidates: Int[np.ndarray, "rows candidates"], content_ids: pa.Array) -> pa.Array:
    is_there = candidates >= 0
    offsets = np.append(0, np.cumsum(is_there.sum(axis=1)))
    return pa.ListArray.from_arrays(
        pa.array(offsets.astype(np.int32)), content_ids.take(pa.array(candidates[is_there]))
    )


def _table(columns: dict[str, Any]) -> pa.Table:
    number = len(columns["slot"])
    arrays = []
    for field in IMPRESSION_SCHEMA:
        column = columns[field.name]
        arrays.append(pa.repeat(pa.scalar(column), number) if isinstance(column, str) else column)
    return pa.table(arrays, schema=IMPRESSION_SCHEMA)
