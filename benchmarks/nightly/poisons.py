"""Poisons of a night: each changes the raw folder of a clean night, or the settings that it is run with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import soundfile

from benchmarks.data.planted import Raw, of_kind, permuted, put, renamed, shifted, shuffled, some, twice, without

Plant = Callable[[Path], None]
"""Changes a raw folder as `towers.lifecycle.replay` lays it out; its files are links, and are replaced, not written."""


@dataclass(frozen=True, kw_only=True)
class Poison:
    """A poison.

    Args:
        kind: which of the poisons that a cycle has to refuse it is a case of.
        plant: changes the raw folder; null for one of settings alone.
        overrides: settings that the night is run with.
    """

    kind: str
    plant: Plant | None = None
    overrides: tuple[str, ...] = ()


def night_of(raw: Path) -> Path:
    """Returns the file of the newest day's events."""
    return max((raw / "events").glob("*.parquet"))


def read(path: Path) -> pa.Table:
    """Reads events, with times in microseconds."""
    table = pq.ParquetFile(path).read()
    times = table["timestamp"].cast(pa.timestamp("us", tz="UTC"))
    return table.set_column(table.column_names.index("timestamp"), "timestamp", times)


def write(path: Path, table: pa.Table) -> None:
    """Replaces a file by another one."""
    path.unlink(missing_ok=True)
    pq.write_table(table, path)


def contents_of(raw: Path) -> Path:
    """Returns the file of the contents."""
    return next((raw / "contents").glob("*.parquet"))


def on_day(change: Callable[[Raw], Raw]) -> Plant:
    """Plants a fault into the newest day, and into the contents as they are listed on it."""

    def plant(raw: Path) -> None:
        newest, listed = night_of(raw), contents_of(raw)
        before = sorted({*(raw / "events").rglob("*.parquet")} - {newest})
        clean = Raw(
            past=pa.concat_tables([read(path) for path in before]),
            day=read(newest),
            contents=pq.ParquetFile(listed).read(),
        )
        changed = change(clean)
        if changed.day is not clean.day:
            write(newest, changed.day)
        if changed.contents is not clean.contents:
            write(listed, changed.contents)

    return plant


def on_events(change: Callable[[pa.Table], pa.Table]) -> Plant:
    """Plants a fault into the newest day's events."""
    return on_day(lambda raw: replace(raw, day=change(raw.day)))


def on_contents(change: Callable[[pa.Table], pa.Table]) -> Plant:
    """Plants a fault into the contents."""
    return on_day(lambda raw: replace(raw, contents=change(raw.contents)))


def on_all_events(change: Callable[[pa.Table], pa.Table]) -> Plant:
    """Plants a fault into all events that there are, as when an upstream writes its whole past anew."""

    def plant(raw: Path) -> None:
        for path in (raw / "events").rglob("*.parquet"):
            write(path, change(read(path)))

    return plant


def doubled(seconds: float) -> Callable[[pa.Table], pa.Table]:
    """Repeats all events some seconds later."""
    return lambda table: twice(Raw(past=table, day=table, contents=table), seconds)


def without_kind(raw: Raw) -> Raw:
    """Leaves out what was heard of episodes."""
    return replace(raw, day=without(raw.day, "content_id", *of_kind(raw, "episode")))


def never_a_kind(raw: Path) -> None:
    """Leaves out all episodes, and all events with them."""
    listed = contents_of(raw)
    table = pq.ParquetFile(listed).read()
    gone = table.filter(pc.field("kind") == "episode")["content_id"].to_pylist()
    write(listed, without(table, "kind", "episode"))
    on_all_events(lambda events: without(events, "content_id", *gone))(raw)


def with_sound(samples: np.ndarray) -> Plant:
    """Replaces every sound by the same second of samples."""

    def plant(raw: Path) -> None:
        first, *others = sorted(path for path in (raw / "audio").rglob("*") if path.is_file())
        first.unlink()
        soundfile.write(first, samples, 16_000, format="WAV", subtype="FLOAT")
        for path in others:
            path.unlink()
            path.hardlink_to(first)

    return plant


def not_a_number(name: str, share: float) -> Callable[[pa.Table], pa.Table]:
    """Makes a column one of floats, of which a share are no numbers."""

    def change(table: pa.Table) -> pa.Table:
        values = table[name].cast(pa.float64()).to_numpy(zero_copy_only=False).copy()
        values[some(table, share)] = np.nan
        return table.set_column(table.column_names.index(name), name, pa.array(values, from_pandas=False))

    return change


def ids_issued_anew(raw: Raw) -> Raw:
    """Gives all contents new ids, from this night on."""
    return replace(
        raw,
        day=put(raw.day, "content_id", renamed(raw.day["content_id"])),
        contents=put(raw.contents, "content_id", renamed(raw.contents["content_id"])),
    )


def column(name: str, change: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> Callable[[pa.Table], pa.Table]:
    """Changes a column."""
    return lambda table: put(table, name, change(table[name]))


def no_file(raw: Path) -> None:
    """Nothing has arrived."""
    night_of(raw).unlink()


LABELS, HALF, KIND, CLOCKS, TWICE = "labels shuffled", "half the events gone", "a kind missing", "clocks", "twice"
SILENT, NAN, IDS, AGAIN, EMPTY, RATE = "silent", "NaN", "ids issued anew", "yesterday again", "empty day", "rate of 100"
SILENCE, NO_NUMBERS = np.zeros(16_000, np.float32), np.full(16_000, np.nan, np.float32)

POISONS: Mapping[str, Poison] = {
    "contents shuffled among listeners, today": Poison(kind=LABELS, plant=on_events(column("content_id", shuffled))),
    "contents shuffled among listeners, ever": Poison(kind=LABELS, plant=on_all_events(column("content_id", shuffled))),
    "actions shuffled, today": Poison(kind=LABELS, plant=on_events(column("action", shuffled))),
    "actions shuffled, ever": Poison(kind=LABELS, plant=on_all_events(column("action", shuffled))),
    "half of today's events gone": Poison(
        kind=HALF, plant=on_events(lambda table: table.filter(pa.array(some(table, 0.5))))
    ),
    "half of all events gone": Poison(
        kind=HALF, plant=on_all_events(lambda table: table.filter(pa.array(some(table, 0.5))))
    ),
    "no episode heard today": Poison(kind=KIND, plant=on_day(without_kind)),
    "no episode listed any more": Poison(kind=KIND, plant=on_contents(lambda table: without(table, "kind", "episode"))),
    "no episode ever": Poison(kind=KIND, plant=never_a_kind),
    "clocks a day late, today": Poison(kind=CLOCKS, plant=on_events(lambda table: shifted(table, 24))),
    "clocks a day early, today": Poison(kind=CLOCKS, plant=on_events(lambda table: shifted(table, -24))),
    "clocks a day late, ever": Poison(kind=CLOCKS, plant=on_all_events(lambda table: shifted(table, 24))),
    "today's events twice": Poison(kind=TWICE, plant=on_events(doubled(0))),
    "today's events twice, 0.3 s apart": Poison(kind=TWICE, plant=on_events(doubled(0.3))),
    "all events twice": Poison(kind=TWICE, plant=on_all_events(doubled(0))),
    "all events twice, 0.3 s apart": Poison(kind=TWICE, plant=on_all_events(doubled(0.3))),
    "all sound silent": Poison(kind=SILENT, plant=with_sound(SILENCE)),
    "NaN in all durations": Poison(kind=NAN, plant=on_contents(not_a_number("duration_ms", 1.0))),
    "NaN in one of a hundred durations": Poison(kind=NAN, plant=on_contents(not_a_number("duration_ms", 0.01))),
    "NaN in all of today's played times": Poison(kind=NAN, plant=on_events(not_a_number("played_ms", 1.0))),
    "NaN in all sounds": Poison(kind=NAN, plant=with_sound(NO_NUMBERS)),
    "contents' ids issued anew": Poison(kind=IDS, plant=on_day(ids_issued_anew)),
    "contents' ids given to others": Poison(kind=IDS, plant=on_contents(column("content_id", permuted))),
    "listeners' ids issued anew": Poison(kind=IDS, plant=on_events(column("user_id", renamed))),
    "listeners' ids given to others": Poison(kind=IDS, plant=on_events(column("user_id", permuted))),
    "listeners' ids given to others, ever": Poison(kind=IDS, plant=on_all_events(column("user_id", permuted))),
    "yesterday's file again": Poison(kind=AGAIN, plant=on_day(lambda raw: replace(raw, day=raw.day_before))),
    "yesterday's file, too": Poison(
        kind=AGAIN, plant=on_day(lambda raw: replace(raw, day=pa.concat_tables([raw.day, raw.day_before])))
    ),
    "yesterday's events with today's date": Poison(
        kind=AGAIN, plant=on_day(lambda raw: replace(raw, day=shifted(raw.day_before, 24)))
    ),
    "a file without rows": Poison(kind=EMPTY, plant=on_events(lambda table: table.slice(0, 0))),
    "no file": Poison(kind=EMPTY, plant=no_file),
    "a learning rate of 100": Poison(kind=RATE, overrides=("optimizer.lr=100", "optimizer.id_lr=100")),
    "a learning rate of 100, the id table's left": Poison(kind=RATE, overrides=("optimizer.lr=100",)),
}
"""Poisons by name."""
