"""Listening of a prepared store as plays in sessions: its event log has every accepted event of remaining listeners."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from towers.data.event_log.block import LOG_COLUMNS
from towers.data.event_log.log import LOG, EventLog
from towers.data.store import Store
from towers.errors import UserError
from towers.simulation.listeners.raw_events import NOT_IN_SPACE, NOWHERE, LeftOut, LoggedEvents, session_log
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.listeners.space import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Listened:
    """Listening in a prepared store.

    Args:
        log: plays of all listeners who have one.
        left_out: numbers of events that are not in it.
        fingerprint: fingerprint of the store.
        root: folder of its raw data, as the store names it.
    """

    log: SessionLog
    left_out: LeftOut
    fingerprint: str
    root: str | None


def read_store(folder: Path, space: Space) -> Listened:
    """Reads the event log of a prepared store.

    Args:
        folder: folder of the store, with all its versions.
        space: contents that plays may be of.

    Raises:
        UserError: no store there, one without times or whose plays name no session, or one of other contents.
    """
    store = Store.open(folder)
    if not store.has_clock:
        raise UserError(f"store={folder}: knows only the order of events, not their times, which a simulator needs")
    log, left_out = session_log(logged_events(folder, space.content_ids), space)
    if not len(log):
        if left_out.without_session:
            raise UserError(
                f"store={folder}: none of its {left_out.without_session:,} plays names a session; write session_id "
                "into events/ and prepare it again"
            )
        raise UserError(f"store={folder}: has no play of a content of the export; give the store that it came from")
    return Listened(log=log, left_out=left_out, fingerprint=store.fingerprint, root=store.manifest.get("root"))


def logged_events(folder: Path, content_ids: Sequence[str]) -> LoggedEvents:
    """Reads all events of a store's event log.

    Args:
        folder: folder of the store, with all its versions.
        content_ids: raw ids, whose places stand for contents.

    Raises:
        UserError: there is no event log.
    """
    log = EventLog.current(folder / LOG)
    if log is None:
        raise UserError(f"store={folder}: has no event log; run `towers prepare` again, which writes it")
    rows, columns = log.rows, log.columns
    block = columns.block(0, columns.num_users)
    found = {name: block.columns[name] for name in LOG_COLUMNS}
    user_ids = rows.users.ids.to_pylist()[: columns.num_users]
    return LoggedEvents(
        # A hole has no event: forgotten listeners leave the log at once.
        user_ids=tuple(user_id or "" for user_id in user_ids),
        listener=block.users,
        content=np.append(_places(rows.contents.ids, content_ids), [NOWHERE])[found["content_row"]],
        action=found["action"],
        timestamp_us=found["timestamp_us"],
        played_ms=found["played_ms"],
        session=found["session"],
        context=found["context"],
        contexts=tuple(rows.contexts.ids.to_pylist()),
        device=found["device"],
        devices=tuple(rows.devices.ids.to_pylist()),
    )


def _places(ids: pa.StringArray, content_ids: Sequence[str]) -> Int[np.ndarray, " rows"]:
    """Returns the place of each id among others, `NOT_IN_SPACE` where it is missing."""
    place = {content_id: number for number, content_id in enumerate(content_ids)}
    return np.array([place.get(each, NOT_IN_SPACE) for each in ids.to_pylist()], np.int64)
