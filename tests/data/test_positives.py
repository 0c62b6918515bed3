"""The positive events of a store's histories are those of `contract.events`, with fractions in double precision."""

from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.contract import schema
from towers.contract.events import is_positive
from towers.data.event_log.block import LogBlock
from towers.data.event_log.files import LogFiles, LogWriter
from towers.data.histories_writer import HistoriesWriter
from towers.features.ragged import Ragged

DURATIONS_MS = [0, 1, 7, 10, 3_000, 200_000, 36_000_000]
PLAYED_MS = [None, 0, 1, 2, 3, 5, 7, 10, 900, 2_100, 60_000, 10_800_000, 10_799_999, 40_000_000]
FRACTIONS = [0.0, 0.1, 0.3, 1 / 3, 0.5, 0.7, 1.0]
Event = tuple[str, int, int | None]
"""Action, place in `DURATIONS_MS` or -1 without content, milliseconds played."""


def check(told: list[Event], min_played_fraction: float) -> None:
    expected = [
        bool(
            is_positive(
                content_row=np.array([row]),
                action=np.array([schema.ACTION_CODES[action]]),
                played_fraction=np.array([fraction_of(row, played_ms)]),
                min_played_fraction=min_played_fraction,
            )[0]
        )
        for action, row, played_ms in told
    ]
    assert written(told, min_played_fraction) == expected


def fraction_of(row: int, played_ms: int | None) -> float:
    if row < 0 or played_ms is None or not DURATIONS_MS[row]:
        return -1.0
    return min(played_ms / DURATIONS_MS[row], 1.0)


def written(told: list[Event], min_played_fraction: float) -> list[bool]:
    action, row, played_ms = (list(column) for column in zip(*told, strict=True))
    number, none = len(told), np.full(len(told), -1, np.int32)
    block = LogBlock(
        offsets=np.array([0, number]),
        columns={
            "content_row": np.array(row, np.int32),
            "action": np.array([schema.ACTION_CODES[one] for one in action], np.int8),
            "timestamp_us": np.arange(number),
            "played_ms": np.array([-1 if one is None else one for one in played_ms], np.int32),
            "context": none,
            "device": none,
            "session": none,
        },
        sessions=Ragged(np.zeros(2, np.int64), np.zeros(0, np.uint64)),
    )
    with TemporaryDirectory() as temporary:
        with LogWriter(Path(temporary) / "columns") as writer:
            writer.append(block)
        HistoriesWriter(
            columns=LogFiles(Path(temporary) / "columns"),
            durations_ms=np.array(DURATIONS_MS),
            min_played_fraction=min_played_fraction,
            folder=Path(temporary) / "histories",
            on_progress=lambda stage, done, total: None,
        ).write()
        return np.load(Path(temporary) / "histories/is_positive.npy").tolist()


def test_on_a_grid() -> None:
    """The grid has every action, content and played time; some limits are fractions without an exact binary form."""
    grid = list(product(schema.ACTIONS, range(-1, len(DURATIONS_MS)), PLAYED_MS))
    for min_played_fraction in FRACTIONS:
        check(grid, min_played_fraction)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(schema.ACTIONS),
            st.integers(-1, len(DURATIONS_MS) - 1),
            st.none() | st.integers(0, 2**31 - 1),
        ),
        min_size=1,
    ),
    st.floats(0, 1),
)
def test_on_drawn_events(told: list[Event], min_played_fraction: float) -> None:
    check(told, min_played_fraction)
