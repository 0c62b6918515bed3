"""A raw data set small enough to know by heart. Train < 25 January <= validation < 4 February <= test, 2026."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

START = datetime(2026, 1, 5, tzinfo=UTC)
VALIDATION_START, TEST_START = datetime(2026, 1, 25, tzinfo=UTC), datetime(2026, 2, 4, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
RATE_HZ = 8_000


def at(day: int, seconds: float = 0) -> datetime:
    return START + timedelta(days=day, seconds=seconds)


# user_id, content_id, timestamp, action, played_ms, context
ANN = [
    ("ann", "a1", at(0, 0), "play", 90_000, "home"),
    ("ann", "a2", at(0, 100), "skip", 5_000, "playlist"),
    ("ann", "a1", at(0, 160), "like", None, "home"),
    ("ann", None, at(1), "search", None, "search"),
    ("ann", "u9", at(1, 60), "play", 1_000, "search"),
    ("ann", "e1", at(2), "save", None, None),
    ("ann", "a1", at(3), "play", 10_000, "home"),
    ("ann", "a4", VALIDATION_START, "play", 100_000, "radio"),
    ("ann", "a1", at(25), "play", 100_000, "home"),
    ("ann", "a2", TEST_START, "play", 200_000, "home"),
    ("ann", "a3", at(31), "dislike", None, "home"),
]
BEN = [
    ("ben", None, at(0, 5), "browse", None, "home"),
    ("ben", "a2", at(5), "play", 200_000, "album"),
    ("ben", "b1", at(5, 300), "unsave", None, None),
    ("ben", "a3", VALIDATION_START - MICROSECOND, "play", 4_000, "album"),
    ("ben", "a1", TEST_START - MICROSECOND, "play", 100_000, "home"),
]
CY = [  # asked to be forgotten
    ("cy", "a1", at(1), "play", 100_000, "home"),
    ("cy", "only-cy", at(2), "play", 100_000, "home"),
]
DEE = [("dee", "a1", at(33), "play", 50_000, "home")]
EVENTS = ANN + BEN + CY + DEE
EVENT_SCHEMA = pa.schema(
    {
        "user_id": pa.string(),
        "content_id": pa.string(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "action": pa.string(),
        "played_ms": pa.int64(),
        "context": pa.string(),
    }
)

CONTENTS = [
    {"content_id": "a1", "kind": "track", "title": "One", "artist_ids": ["art-x"], "album_id": "alb",
     "genres": ["jazz"], "language": "en", "release_date": date(2020, 5, 1), "duration_ms": 100_000, "explicit": False,
     "audio": "audio/a1.flac"},
    {"content_id": "a2", "kind": "track", "title": "Two", "artist_ids": ["art-x", "art-y"], "genres": ["jazz", "folk"],
     "duration_ms": 200_000, "explicit": True, "audio": "audio/a2.wav"},
    {"content_id": "a3", "kind": "track", "title": "Three", "artist_ids": ["art-y"]},
    {"content_id": "a4", "kind": "track", "title": "Four", "genres": ["polka"], "duration_ms": 100_000,
     "audio": "audio/a4.flac"},
    {"content_id": "a5", "kind": "track", "title": "Broken", "audio": "audio/a5.flac"},
    {"content_id": "e1", "kind": "episode", "title": "Talk", "duration_ms": 600_000, "audio": "audio/e1.flac"},
    {"content_id": "b1", "kind": "audiobook", "title": "Book"},
    {"content_id": "art-x", "kind": "artist", "title": "X"},
]  # fmt: skip
CONTENT_SCHEMA = pa.schema(
    {
        "content_id": pa.string(),
        "kind": pa.string(),
        "title": pa.string(),
        "artist_ids": pa.list_(pa.string()),
        "album_id": pa.string(),
        "genres": pa.list_(pa.string()),
        "language": pa.string(),
        "release_date": pa.date32(),
        "duration_ms": pa.int64(),
        "explicit": pa.bool_(),
        "audio": pa.string(),
    }
)
TONES_HZ = {"audio/a1.flac": 440, "audio/a2.wav": 880, "audio/a4.flac": 1_760, "audio/e1.flac": 220}

USERS = [
    {"user_id": "ann", "deleted": False, "country": "is"},
    {"user_id": "ben", "deleted": None, "country": "no"},
    {"user_id": "cy", "deleted": True, "country": "is"},
    {"user_id": "dee", "deleted": False, "country": "fi"},
    {"user_id": "eve", "deleted": False, "country": None},
]
PLAYLISTS = [
    {"playlist_id": "p1", "title": "Editors", "curator": "editor", "content_ids": ["a2", "a1", "nowhere"]},
    {"playlist_id": "p2", "title": "Mine", "curator": "listener", "content_ids": ["a3", "a1"]},
]
KNOWN_IDS = sorted(["a1", "a2", "a3", "a4", "a5", "e1", "b1", "u9", "art-x", "art-y", "p1", "p2"])
"""Listed contents and playlists, u9, which was only heard, and art-y, which was only named."""


def event_table(events: Sequence[tuple]) -> pa.Table:
    columns = list(zip(*events, strict=True)) if events else [[] for _ in EVENT_SCHEMA]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, EVENT_SCHEMA, strict=True)]
    return pa.table(arrays, schema=EVENT_SCHEMA)


def content_table(contents: Sequence[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([dict(content) for content in contents], CONTENT_SCHEMA)


def write_part(folder: Path, table: str, rows: pa.Table, part: int = 0) -> Path:
    (folder / table).mkdir(parents=True, exist_ok=True)
    path = folder / table / f"part-{part}.parquet"
    pq.write_table(rows, path)
    return path


def write_events(folder: Path, events: Sequence[tuple], parts: int = 1) -> None:
    for part in range(parts):
        write_part(folder, "events", event_table(events[part::parts]), part)


def tone(frequency_hz: float, seconds: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def write_raw(folder: Path) -> Path:
    """The whole set: events in two part files, four sounds and a text file that is called a sound."""
    write_events(folder, EVENTS, parts=2)
    write_part(folder, "contents", content_table(CONTENTS))
    write_part(folder, "users", pa.Table.from_pylist(USERS))
    write_part(folder, "playlists", pa.Table.from_pylist(PLAYLISTS))
    (folder / "audio").mkdir()
    for name, frequency_hz in TONES_HZ.items():
        soundfile.write(folder / name, tone(frequency_hz, 0.7), RATE_HZ)
    (folder / "audio/a5.flac").write_text("this is no sound")
    return folder
