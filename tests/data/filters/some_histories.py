"""Makes histories, random or by hand, and writes them as a store has them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from towers.contract.schema import ACTION_CODES
from towers.data.histories import HISTORY_COLUMNS, PLACES, Histories

CONTENTS = 5
Event = tuple[int, str, bool]
"""Content row (-1: none), action, whether it is positive."""


def histories_of(
    listeners: Sequence[Sequence[Event]],
    cuts: Sequence[Sequence[int]],
    sessions: Sequence[Sequence[int]] | None = None,
    **columns: Sequence,
) -> Histories:
    """Histories by listener; `cuts` are each one's four ends, numbers of their events before them.

    `sessions` are any numbers that events of a session share, -1 where it is unknown.
    """
    offsets = np.cumsum([0, *map(len, listeners)]).astype(np.int64)
    events = [event for one in listeners for event in one]
    size = len(events)
    sessions = [[-1] * len(one) for one in listeners] if sessions is None else sessions
    flat = {
        "content_row": [row for row, _, _ in events],
        "action": [ACTION_CODES[action] for _, action, _ in events],
        "timestamp_us": np.arange(size),
        "played_fraction": np.full(size, -1.0),
        "context": np.arange(size) % 7,
        "session": [one.index(number) if number >= 0 else -1 for one in sessions for number in one],
        "device": np.arange(size) % 3,
        "is_positive": [is_positive for _, _, is_positive in events],
        "is_discovery": discoveries(listeners),
        **columns,
    }
    ends = np.array(cuts, np.int64).reshape(-1, 4) + offsets[:-1, None]
    return Histories(
        offsets=offsets,
        **dict(zip(PLACES[1:], ends.T, strict=True)),
        **{name: np.asarray(flat[name], dtype) for name, dtype in HISTORY_COLUMNS.items()},
    )


def discoveries(listeners: Sequence[Sequence[Event]]) -> list[bool]:
    found = []
    for events in listeners:
        known = set()
        for row, _, is_positive in events:
            found.append(is_positive and row not in known)
            known |= {row} if is_positive else set()
    return found


def write(histories: Histories, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name in (*PLACES, *HISTORY_COLUMNS):
        np.save(folder / f"{name}.npy", getattr(histories, name))
    return folder


def assert_same(found: Histories, expected: Histories) -> None:
    for name in (*PLACES, *HISTORY_COLUMNS):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
        assert getattr(found, name).dtype == getattr(expected, name).dtype, name


_event = st.one_of(
    st.tuples(st.integers(0, CONTENTS - 1), st.sampled_from(["play", "skip", "like"]), st.booleans()),
    st.just((-1, "search", False)),
)


@st.composite
def cut_listeners(draw) -> tuple[list[list[Event]], list[list[int]], list[list[int]]]:
    """Draws listeners, their cuts and their sessions, for `histories_of`."""
    listeners = draw(st.lists(st.lists(_event, max_size=8), min_size=1, max_size=5))
    cuts = [sorted(draw(st.lists(st.integers(0, len(one)), min_size=4, max_size=4))) for one in listeners]
    sessions = [draw(st.lists(st.integers(-1, 2), min_size=len(one), max_size=len(one))) for one in listeners]
    return listeners, cuts, sessions
