"""What is positive in SQL is what `contract.events` says: the same rows, on drawn events and on a grid."""

from itertools import product

import duckdb
import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.contract import schema
from towers.contract.events import is_positive
from towers.data.tables import SQL

DURATIONS_MS = [None, 0, 1, 7, 10, 3_000, 200_000, 36_000_000]
PLAYED_MS = [None, 0, 1, 2, 3, 5, 7, 10, 900, 2_100, 60_000, 10_800_000, 10_799_999, 40_000_000]
FRACTIONS = [0.0, 0.1, 0.3, 1 / 3, 0.5, 0.7, 1.0]
Event = tuple[str, int, int | None]
"""Action, place in `DURATIONS_MS` or -1 without content, milliseconds played."""


def check(told: list[Event], min_played_fraction: float) -> None:
    """Runs the file itself over tables as the files before it leave them."""
    found = in_sql(told, min_played_fraction)
    rows = np.array([row for _, row, _ in told], np.int64)
    durations, played = (
        np.array([np.nan if value is None else value for value in values], np.float64)
        for values in ([None if row < 0 else DURATIONS_MS[row] for row in rows], [ms for *_, ms in told])
    )
    is_known = (durations > 0) & np.isfinite(played)
    fraction = np.where(is_known, np.minimum(played / np.where(is_known, durations, 1), 1), -1.0)
    action = np.array([schema.ACTION_CODES[name] for name, *_ in told], np.int64)
    expected = is_positive(
        content_row=rows, action=action, played_fraction=fraction, min_played_fraction=min_played_fraction
    )
    assert found == expected.tolist()


def in_sql(told: list[Event], min_played_fraction: float) -> list[bool]:
    action, row, played_ms = (list(column) for column in zip(*told, strict=True))
    time = list(range(len(told)))
    tables = {
        "judged_users": pa.table({"user_id": pa.nulls(0, pa.string()), "reason": pa.nulls(0, pa.string())}),
        "settings": pa.table({"min_played_fraction": [min_played_fraction]}),
        "contents": pa.table(
            {
                "content_row": list(range(len(DURATIONS_MS))),
                "content_id": [f"c{row}" for row in range(len(DURATIONS_MS))],
                "duration_ms": pa.array(DURATIONS_MS, pa.int64()),
            }
        ),
        "events": pa.table(
            {
                "user_id": ["ann"] * len(told),
                "content_id": pa.array([None if one < 0 else f"c{one}" for one in row], pa.string()),
                "action": action,
                "action_code": pa.array([schema.ACTION_CODES[one] for one in action], pa.int8()),
                "timestamp_us": time,
                "played_ms": pa.array(played_ms, pa.int64()),
                "context": pa.nulls(len(told), pa.string()),
                "session_id": pa.nulls(len(told), pa.string()),
                "device": pa.nulls(len(told), pa.string()),
                "filename": ["f"] * len(told),
                "file_row_number": time,
            }
        ),
    }
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        connection.execute((SQL / "histories.sql").read_text())
        found = connection.sql("SELECT is_positive FROM histories ORDER BY ordinal").fetchall()
    return [bool(one) for (one,) in found]


def test_on_a_grid() -> None:
    """Every action, content and played time; fractions that binary digits do not hold are among the limits."""
    grid = list(product(schema.ACTIONS, range(-1, len(DURATIONS_MS)), PLAYED_MS))
    for min_played_fraction in FRACTIONS:
        check(grid, min_played_fraction)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(schema.ACTIONS),
            st.integers(-1, len(DURATIONS_MS) - 1),
            st.none() | st.integers(0, 2**40),
        ),
        min_size=1,
    ),
    st.floats(0, 1),
)
def test_on_drawn_events(told: list[Event], min_played_fraction: float) -> None:
    check(told, min_played_fraction)
