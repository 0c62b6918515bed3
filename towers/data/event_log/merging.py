"""Merges new events into a block of the log, in order of time, and leaves out those that repeat an earlier one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Integer

from towers.data.event_log.block import LOG_COLUMNS, UNKNOWN_SESSION, Arrivals, LogBlock
from towers.features.ragged import Ragged

SAME = ("played_ms", "context", "device")
"""Columns, beside the session, in which events of one listener, time, content and action must agree to be
duplicates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """New events that have the listener, time, content and action of an earlier one.

    Args:
        file: `[events]`: the number of the raw file, in order of arrival.
        file_row: `[events]`: the row within that file.
        differs: `[events]`, bool: whether another column differs from the event that is kept.
    """

    file: Integer[np.ndarray, " events"]
    file_row: Integer[np.ndarray, " events"]
    differs: Bool[np.ndarray, " events"]

    @classmethod
    def of(cls, parts: Sequence["Repeated"]) -> "Repeated":
        """Joins several parts into one."""
        return cls(
            file=np.concatenate([np.zeros(0, np.int32), *(part.file for part in parts)]),
            file_row=np.concatenate([np.zeros(0, np.int64), *(part.file_row for part in parts)]),
            differs=np.concatenate([np.zeros(0, bool), *(part.differs for part in parts)]),
        )


def merge(block: LogBlock, arrivals: Arrivals) -> tuple[LogBlock, Repeated]:
    """Returns the block with new events added, and the events that repeat another.

    A new event goes behind all earlier ones of the same listener and time. Of several events with
    the same listener, time, content and action the first to come is kept.

    Cost: places of new events are found by binary search; old events are copied, and compared with new ones of the
    same time alone.
    """
    place = _upper_bounds(block, arrivals.user, arrivals.columns["timestamp_us"])
    is_kept, differs = _judged(block, arrivals, place)
    left = ~is_kept
    repeated = Repeated(file=arrivals.file[left], file_row=arrivals.file_row[left], differs=differs[left])
    kept = arrivals.take(is_kept) if left.any() else arrivals
    place = place[is_kept]
    if not len(kept):
        return block, repeated
    session, sessions = _numbered(block, kept)
    total = len(block) + len(kept)
    is_new = np.zeros(total, dtype=bool)
    new_place = place + np.arange(len(kept))
    is_new[new_place] = True
    columns = {}
    for name, dtype in LOG_COLUMNS.items():
        column = np.empty(total, dtype=dtype)
        column[new_place] = session if name == "session" else kept.columns[name]
        if len(block):
            column[~is_new] = block.columns[name]
        columns[name] = column
    lengths = np.diff(block.offsets) + np.bincount(kept.user, minlength=block.num_users)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return LogBlock(offsets=offsets, columns=columns, sessions=sessions), repeated


def _upper_bounds(
    block: LogBlock, user: Integer[np.ndarray, " some"], timestamp_us: Integer[np.ndarray, " some"]
) -> Int[np.ndarray, " some"]:
    """Finds the places in the block where events of given listeners and times belong: behind those of the same time."""
    low, high = block.offsets[user].copy(), block.offsets[user + 1].copy()
    times = block.columns["timestamp_us"]
    while True:
        open_ = np.flatnonzero(low < high)
        if not len(open_):
            return low
        middle = (low[open_] + high[open_]) // 2
        is_before = times[middle] <= timestamp_us[open_]
        low[open_[is_before]] = middle[is_before] + 1
        high[open_[~is_before]] = middle[~is_before]


def _judged(
    block: LogBlock, arrivals: Arrivals, place: Int[np.ndarray, " events"]
) -> tuple[Bool[np.ndarray, " events"], Bool[np.ndarray, " events"]]:
    """Says which new events are kept and, of the others, which differ from the event that is kept."""
    number = len(arrivals)
    is_kept, differs = np.ones(number, dtype=bool), np.zeros(number, dtype=bool)
    if not number:
        return is_kept, differs
    user, times = arrivals.user, arrivals.columns["timestamp_us"]
    as_next = (user[1:] == user[:-1]) & (times[1:] == times[:-1])
    stands_with = np.concatenate([as_next, [False]]) | np.concatenate([[False], as_next])
    follows_old = np.zeros(number, dtype=bool)
    if len(block):
        before = np.maximum(place - 1, 0)
        follows_old = (place > block.offsets[user]) & (block.columns["timestamp_us"][before] == times)
    new = np.flatnonzero(stands_with | follows_old)
    if not len(new):
        return is_kept, differs
    old, old_user = _of_same_time(block, place[follows_old], user[follows_old])
    keys = {"user": np.concatenate([old_user, user[new]])}
    names = ("timestamp_us", "content_row", "action", *SAME)
    keys |= {name: np.concatenate([block.columns[name][old], arrivals.columns[name][new]]) for name in names}
    session = np.concatenate([block.session_keys(old, old_user), arrivals.session_key[new]])
    rank = np.arange(len(session))  # what was there comes first; then what arrived, of one time in order of arrival
    order = np.lexsort((rank, keys["action"], keys["content_row"], keys["timestamp_us"], keys["user"]))
    event = [keys[name][order] for name in ("user", "timestamp_us", "content_row", "action")]
    is_first = np.concatenate([[True], np.logical_or.reduce([np.diff(key) != 0 for key in event])])
    first = order[is_first][np.cumsum(is_first) - 1]
    says_other = np.logical_or.reduce(
        [values[order] != values[first] for values in (session, *(keys[name] for name in SAME))]
    )
    arrived = order >= len(old)
    is_kept[new[order[arrived] - len(old)]] = is_first[arrived]
    differs[new[order[arrived] - len(old)]] = says_other[arrived]
    return is_kept, differs


def _of_same_time(
    block: LogBlock, ends: Int[np.ndarray, " some"], users: Integer[np.ndarray, " some"]
) -> tuple[Int[np.ndarray, " events"], Int[np.ndarray, " events"]]:
    """Finds the block's events with the same time as the event before each place in `ends`, and their listeners."""
    if not len(ends):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    ends, at = np.unique(ends, return_index=True)
    users = users[at].astype(np.int64)
    times = block.columns["timestamp_us"]
    begins = _upper_bounds(block, users, times[ends - 1] - 1)
    lengths = ends - begins
    starts = np.repeat(begins - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    return starts + np.arange(int(lengths.sum())), np.repeat(users, lengths)


def _numbered(block: LogBlock, arrivals: Arrivals) -> tuple[Int[np.ndarray, " events"], Ragged]:
    """Numbers the sessions of new events; returns these numbers, and all sessions with new ones in order of arrival."""
    session = np.full(len(arrivals), -1, dtype=np.int64)
    known = np.flatnonzero(arrivals.session_key != UNKNOWN_SESSION)
    if not len(known):
        return session, block.sessions
    user, key = arrivals.user[known].astype(np.int64), arrivals.session_key[known]
    order = np.lexsort((arrivals.file_row[known], arrivals.file[known], key, user))
    user, key = user[order], key[order]
    is_first = np.concatenate([[True], (np.diff(user) != 0) | (key[1:] != key[:-1])])
    pair = np.cumsum(is_first) - 1
    first = known[order[is_first]]
    number = _numbers_of(block.sessions, user[is_first], key[is_first])
    fresh = np.flatnonzero(number < 0)
    came = fresh[np.lexsort((arrivals.file_row[first[fresh]], arrivals.file[first[fresh]], user[is_first][fresh]))]
    owner = user[is_first][came]
    begins = np.concatenate([[True], np.diff(owner) != 0])[: len(owner)]
    within = np.arange(len(owner)) - np.flatnonzero(begins)[np.cumsum(begins) - 1] if len(owner) else owner
    number[came] = block.sessions.lengths[owner] + within
    session[known[order]] = number[pair]
    return session, _joined(block.sessions, owner, key[is_first][came])


def _numbers_of(sessions: Ragged, user: np.ndarray, key: np.ndarray) -> Int[np.ndarray, " pairs"]:
    """Looks up the numbers of sessions by pairs of listener and key, sorted and distinct; -1 where there is none."""
    number = np.full(len(user), -1, dtype=np.int64)
    asked = np.zeros(len(sessions), dtype=bool)
    asked[user] = True
    places = np.flatnonzero(np.repeat(asked, sessions.lengths))
    if not len(places):
        return number
    owner = sessions.list_of_value[places]
    everyone = np.concatenate([owner, user])
    keys = np.concatenate([sessions.values[places], key])
    order = np.lexsort((np.arange(len(keys)), keys, everyone))
    is_same = (np.diff(everyone[order]) == 0) & (keys[order][1:] == keys[order][:-1])
    found = np.flatnonzero(is_same)
    number[order[found + 1] - len(places)] = (places - sessions.offsets[owner])[order[found]]
    return number


def _joined(sessions: Ragged, owner: np.ndarray, keys: np.ndarray) -> Ragged:
    """Appends keys to the lists of their owners; `owner` is ascending."""
    if not len(owner):
        return sessions
    values = np.insert(sessions.values, sessions.offsets[owner + 1], keys)
    added = np.bincount(owner, minlength=len(sessions))
    return Ragged(sessions.offsets + np.concatenate([[0], np.cumsum(added)]), values)
