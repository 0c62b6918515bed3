"""Conversion of events of the raw data contract to plays in sessions, and back."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int, Integer

from towers.contract import schema
from towers.simulation.listeners.session_log import FINISH, FINISHED, PARTIAL, SKIP, SessionLog, joined
from towers.simulation.listeners.space import Space

NOWHERE, NOT_IN_SPACE = -2, -1
"""Values in place of a content's row: the event names no content, and the space lacks the content."""
UNTOLD: Final = ""
"""Name of the context or device of plays whose event names none."""
REACTIONS: Final = {"liked": schema.LIKE, "saved": schema.SAVE, "disliked": schema.DISLIKE}
"""Actions of events, by the column of a `SessionLog` that they set."""
EVENT_SCHEMA: Final = pa.schema(
    [
        ("user_id", pa.string()),
        ("content_id", pa.string()),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("action", pa.string()),
        ("played_ms", pa.int64()),
        ("context", pa.string()),
        ("session_id", pa.string()),
        ("device", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvents:
    """Events of the raw data contract as arrays, sorted by listener, time and order of arrival.

    Args:
        user_ids: raw ids; a listener's row is the index of the id.
        listener: `[events]`, row of the listener.
        content: `[events]`, row in the `Space`, or `NOWHERE`, or `NOT_IN_SPACE`.
        action: `[events]`, index into `schema.ACTIONS`.
        timestamp_us: `[events]`, microseconds since 1970, UTC; a play is logged when it begins.
        played_ms: `[events]`, milliseconds; -1 where unknown.
        session: `[events]`, any number shared by the events of one session of a listener; -1 where unknown.
        context: `[events]`, index into `contexts`; -1 where unknown.
        contexts: names of contexts.
        device: `[events]`, index into `devices`; -1 where unknown.
        devices: names of devices.
    """

    user_ids: tuple[str, ...]
    listener: Integer[np.ndarray, " events"]
    content: Integer[np.ndarray, " events"]
    action: Integer[np.ndarray, " events"]
    timestamp_us: Integer[np.ndarray, " events"]
    played_ms: Integer[np.ndarray, " events"]
    session: Integer[np.ndarray, " events"]
    context: Integer[np.ndarray, " events"]
    contexts: tuple[str, ...]
    device: Integer[np.ndarray, " events"]
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Numbers of events of a log that are in no `SessionLog`.

    Args:
        without_content: searches and visits that name no content.
        not_in_space: events of contents that the export lacks or that cannot be played.
        without_session: plays and skips that name no session.
        without_play: likes, saves and dislikes of contents not played before in their session.
        others: events of other actions, such as unsave, and searches and visits that name a content.
    """

    without_content: int
    not_in_space: int
    without_session: int
    without_play: int
    others: int

    def lines(self) -> Iterator[str]:
        """Yields a line for each number that is not 0."""
        words = {
            "without_content": "name no content",
            "not_in_space": "name a content that the export lacks or that cannot be played",
            "without_session": "are plays without a session_id",
            "without_play": "like, save or dislike a content not played before in their session",
            "others": "are neither plays nor likes, saves or dislikes",
        }
        for field in fields(self):
            if number := getattr(self, field.name):
                yield f"left out: {number:,} events that {words[field.name]}"


def session_log(events: LoggedEvents, space: Space) -> tuple[SessionLog, LeftOut]:
    """Converts events to plays in sessions.

    A skip is a play that was skipped. A like, save or dislike belongs to the last play of the same content in its
    session that began no later. A play of unknown length counts as finished, a skip of unknown length as immediate.

    Args:
        events: events of all listeners.
        space: space of the contents whose rows the events name.

    Returns:
        The plays of all listeners with plays, and the numbers of events left out.
    """
    is_playable = np.append(space.is_playable, [False, False])  # two more entries, for -2 and -1
    is_known = is_playable[events.content]
    is_play = np.isin(events.action, (schema.PLAY, schema.SKIP)) & is_known
    is_kept = is_play & (events.session >= 0)
    is_reaction = np.isin(events.action, [*REACTIONS.values()]) & is_known
    reacted, play = _reacted(events, is_kept, is_reaction & (events.session >= 0))
    plays = np.flatnonzero(is_kept)
    place = np.cumsum(is_kept) - 1
    played_ms = events.played_ms[plays]
    fraction, outcome = _heard(played_ms, space.duration_ms[events.content[plays]], events.action[plays] == schema.SKIP)
    columns = {
        "listener": events.listener[plays].astype(np.int64),
        "content": events.content[plays].astype(np.int64),
        "start_us": events.timestamp_us[plays].astype(np.int64),
        "session": _in_order(events.listener[plays], events.session[plays], events.timestamp_us[plays]),
        "outcome": outcome,
        "fraction": fraction,
    }
    for name, action in REACTIONS.items():
        columns[name] = np.zeros(len(plays), bool)
        columns[name][place[play[events.action[reacted] == action]]] = True
    columns["context"], contexts = _named(events.context[plays], events.contexts)
    columns["device"], devices = _named(events.device[plays], events.devices)
    log = joined({name: [column] for name, column in columns.items()}, events.user_ids, contexts, devices)
    is_nowhere = events.content == NOWHERE
    is_other = ~is_nowhere & is_known & ~is_play & ~is_reaction
    left_out = LeftOut(
        without_content=int(is_nowhere.sum()),
        not_in_space=int((~is_nowhere & ~is_known).sum()),
        without_session=int(is_play.sum()) - len(plays),
        without_play=int(is_reaction.sum()) - len(reacted),
        others=int(is_other.sum()),
    )
    has_play = np.bincount(log.listener, minlength=len(events.user_ids)) > 0
    return log.of_listeners(has_play), left_out


def event_table(log: SessionLog, space: Space, session_prefix: str) -> pa.Table:
    """Converts a log to rows of `events/` of the raw data contract, each reaction in a row after its play.

    Times of plays are kept to the microsecond and played fractions to the millisecond, so that `session_log` makes the
    same plays of the result.

    Args:
        log: plays.
        space: space of the contents whose rows the log names.
        session_prefix: prefix of session ids; the number of the session in the log follows.

    Returns:
        A table of `EVENT_SCHEMA`, by listener, then session and time.
    """
    played_ms = played_ms_of(log, space)
    codes = [np.where(log.outcome == SKIP, schema.SKIP, schema.PLAY)]
    plays = [np.arange(len(log))]
    for name, action in REACTIONS.items():
        plays.append(np.flatnonzero(getattr(log, name)))
        codes.append(np.full(len(plays[-1]), action))
    play, action = np.concatenate(plays), np.concatenate(codes)
    order = np.argsort(play, kind="stable")
    play, action = play[order], action[order]
    is_play = np.isin(action, (schema.PLAY, schema.SKIP))
    time_us = np.where(is_play, log.start_us[play], _reaction_us(log, played_ms)[play])
    session = pa.array(log.session[play].astype(np.int64)).cast(pa.string())
    columns = {
        "user_id": _texts(log.user_ids, log.listener[play]),
        "content_id": pa.array([space.content_ids[row] for row in log.content[play].tolist()], pa.string()),
        "timestamp": pa.array(time_us.astype(np.int64)).cast(pa.timestamp("us", tz="UTC")),
        "action": _texts(schema.ACTIONS, action),
        "played_ms": pa.array(played_ms[play], mask=~is_play),
        "context": _texts(log.contexts, log.context[play]),
        "session_id": pc.call_function("binary_join_element_wise", [pa.scalar(session_prefix), session, pa.scalar("")]),
        "device": _texts(log.devices, log.device[play]),
    }
    return pa.table(columns, schema=EVENT_SCHEMA)


def played_ms_of(log: SessionLog, space: Space) -> Int[np.ndarray, " plays"]:
    """Returns the length of each play in whole milliseconds, adjusted so that it implies the outcome in the log."""
    duration_ms = space.duration_ms[log.content]
    played_ms = np.rint(log.fraction.astype(np.float64) * duration_ms)
    # The least number of whole milliseconds that counts as finished, however the product was rounded.
    least = np.floor(FINISHED * duration_ms)
    least = np.where(least / duration_ms >= FINISHED, least, least + 1)
    played_ms = np.where(log.outcome == FINISH, np.maximum(played_ms, least), played_ms)
    played_ms = np.where(log.outcome == PARTIAL, np.minimum(played_ms, least - 1), played_ms)
    return np.maximum(played_ms, 0).astype(np.int64)


def _reacted(
    events: LoggedEvents, is_play: Bool[np.ndarray, " events"], is_reaction: Bool[np.ndarray, " events"]
) -> tuple[Int[np.ndarray, " reactions"], Int[np.ndarray, " reactions"]]:
    """Finds the play that each reaction belongs to.

    Returns:
        Indices of the reactions that belong to a play, and the indices of these plays.
    """
    taken = np.flatnonzero(is_play | is_reaction)
    keys = [column[taken] for column in (events.content, events.session, events.listener)]
    order = np.lexsort((taken, is_reaction[taken], events.timestamp_us[taken], *keys))
    taken, keys = taken[order], [key[order] for key in keys]
    is_new = np.logical_or.reduce([np.diff(key, prepend=key[:1] - 1) != 0 for key in keys])
    place = np.arange(len(taken))
    begin = np.maximum.accumulate(np.where(is_new, place, 0))
    last = np.maximum.accumulate(np.where(is_play[taken], place, -1))
    found = is_reaction[taken] & (last >= begin)
    return taken[found], taken[last[found]]


def _in_order(
    listener: Integer[np.ndarray, " plays"],
    session: Integer[np.ndarray, " plays"],
    time_us: Integer[np.ndarray, " plays"],
) -> Int[np.ndarray, " plays"]:
    """Returns session numbers that grow with the time of a listener's first play in them."""
    if not len(listener):
        return np.zeros(0, np.int64)
    key = listener.astype(np.int64) * (int(session.max()) + 1) + session
    _, first, of = np.unique(key, return_index=True, return_inverse=True)
    begin_us = np.full(len(first), np.iinfo(np.int64).max)
    np.minimum.at(begin_us, of, time_us)
    number = np.empty(len(first), np.int64)
    number[np.lexsort((first, begin_us, listener[first]))] = np.arange(len(first))
    return number[of]


def _heard(
    played_ms: Integer[np.ndarray, " plays"],
    duration_ms: Float[np.ndarray, " plays"],
    is_skip: Bool[np.ndarray, " plays"],
) -> tuple[Float[np.ndarray, " plays"], Integer[np.ndarray, " plays"]]:
    """Returns the played fraction of each content, float32, and the outcomes, int8."""
    fraction = np.minimum(played_ms / duration_ms, 1.0)
    fraction = np.where(played_ms >= 0, fraction, np.where(is_skip, 0.0, 1.0))
    outcome = np.where(is_skip, SKIP, np.where(fraction >= FINISHED, FINISH, PARTIAL))
    return fraction.astype(np.float32), outcome.astype(np.int8)


def _reaction_us(log: SessionLog, played_ms: Int[np.ndarray, " plays"]) -> Int[np.ndarray, " plays"]:
    """Returns the time of the reaction to each play: its end, but before the session's next play."""
    end_us = log.start_us + 1_000 * played_ms
    is_last = np.diff(log.session, append=-1) != 0
    next_us = np.where(is_last, np.iinfo(np.int64).max, np.append(log.start_us[1:], 0))
    return np.maximum(np.minimum(end_us, next_us - 1), log.start_us)


def _named(
    code: Integer[np.ndarray, " plays"], names: tuple[str, ...]
) -> tuple[Int[np.ndarray, " plays"], tuple[str, ...]]:
    """Returns codes of the names in use, in alphabetical order, and the names; `UNTOLD` stands for the code -1."""
    known = np.array([*names, UNTOLD], dtype=object)
    used = sorted({*known[np.unique(code)].tolist()})
    place = {name: number for number, name in enumerate(used)}
    codes = np.array([place.get(name, -1) for name in known.tolist()], np.int64)
    return codes[code], tuple(used)


def _texts(names: tuple[str, ...], code: Integer[np.ndarray, " rows"]) -> pa.Array:
    """Returns names by code; null for `UNTOLD`."""
    return pa.array([name or None for name in names], pa.string()).take(pa.array(code.astype(np.int64)))
