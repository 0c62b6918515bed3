"""Which faults of an upstream does the profile of the data find, and how many false alarms does it give?

    python benchmarks/data_faults.py

The last weeks of the catalogue (its audience is simulated) are prepared up to the day before the last, and then with
the last day, into which one fault is planted: half of its events missing, clocks shifted, ids issued anew and so on.
Each is prepared and profiled as `towers prepare` does, and compared with the day before. Beside it stand the last 30
days as they are, each compared with the one before it. A fault is found where the rule that is meant for it speaks;
what else speaks is shown.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, write_result
from towers.data.build import StoreBuilder
from towers.data.profiling.comparing import judged
from towers.data.profiling.computing import profile_of
from towers.data.profiling.profile import Profile
from towers.data.profiling.thresholds import Thresholds
from towers.data.profiling.verdict import Verdict
from towers.data.rejecting import Limits
from towers.data.sources.parquet_folder import ParquetFolder
from towers.data.splits.temporal import GlobalTemporal
from towers.data.store import Store
from towers.features.settings import FeatureSettings, SpectrogramSettings

CATALOGUE = Path(os.environ.get("TOWERS_SHARED_DATA", "../shared/data")) / "catalogue"
EVERY_SOUND = 12
"""Of so many contents one has a sound here."""
DAY_US = 86_400_000_000


@dataclass(frozen=True, kw_only=True)
class Raw:
    """Raw tables: events before the last day, events of the last day, and contents."""

    past: pa.Table
    day: pa.Table
    contents: pa.Table

    @property
    def day_before(self) -> pa.Table:
        """The events of the day before the last day."""
        days = day_of(self.past)
        return self.past.filter(pa.array(days == days.max()))


def day_of(events: pa.Table) -> np.ndarray:
    """Returns the day of each event, in days since 1970."""
    return events["timestamp"].cast(pa.int64()).to_numpy() // DAY_US


def shifted(events: pa.Table, hours: float) -> pa.Table:
    """Moves the events to some hours later."""
    moved = events["timestamp"].cast(pa.int64()).to_numpy() + round(hours * 3_600_000_000)
    times = pa.array(moved, pa.timestamp("us", tz="UTC"))
    return events.set_column(events.column_names.index("timestamp"), "timestamp", times)


def put(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Replaces a column of a table."""
    at = table.column_names.index(name)
    return table.set_column(at, table.field(name), pa.chunked_array(values).cast(table.field(name).type))


def without(table: pa.Table, name: str, *values: str) -> pa.Table:
    """Removes the rows that have one of the values."""
    return table.filter(pc.invert(pc.is_in(table[name], pa.array(values)).fill_null(False)))


def some(table: pa.Table, share: float) -> np.ndarray:
    """Draws a share of the rows with seed 0; returns whether each row is among them."""
    return np.random.default_rng(0).random(len(table)) < share


def renamed(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Replaces ids by new ones."""
    return pc.binary_join_element_wise(pa.scalar("new"), texts, "-")


def permuted(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Permutes ids, so that each stands for another."""
    known = pc.unique(texts.drop_null())
    other = known.take(pa.array(np.random.default_rng(0).permutation(len(known))))
    return other.take(pc.index_in(texts, known))


def of_kind(raw: Raw, kind: str) -> list[str]:
    """Returns the ids of contents of a kind."""
    return raw.contents.filter(pc.equal(raw.contents["kind"], kind))["content_id"].to_pylist()


def blank(table: pa.Table, name: str) -> pa.Table:
    """Sets a column to null."""
    return put(table, name, pa.nulls(len(table), table.field(name).type))


def day(change: Callable[[Raw], pa.Table]) -> Callable[[Raw], Raw]:
    """Makes a fault of the day's events alone."""
    return lambda raw: replace(raw, day=change(raw))


def contents(change: Callable[[pa.Table], pa.Table]) -> Callable[[Raw], Raw]:
    """Makes a fault of the contents alone."""
    return lambda raw: replace(raw, contents=change(raw.contents))


def skipped(raw: Raw) -> pa.Table:
    """Turns half of the plays into skips."""
    is_play = pc.equal(raw.day["action"], "play").to_numpy() & some(raw.day, 0.5)
    return put(raw.day, "action", pc.if_else(pa.array(is_play), "skip", raw.day["action"]))


def mostly_later(raw: Raw, share: float, hours: float) -> pa.Table:
    """Moves a share of the events to some hours later."""
    chosen = some(raw.day, share)
    return pa.concat_tables([raw.day.filter(pa.array(~chosen)), shifted(raw.day.filter(pa.array(chosen)), hours)])


def twice(raw: Raw, seconds: float, share: float = 1.0) -> pa.Table:
    """Repeats all events some seconds later."""
    again = shifted(raw.day.filter(pa.array(some(raw.day, share))), seconds / 3_600)
    return pa.concat_tables([raw.day, again])


FAULTS: dict[str, tuple[str, Callable[[Raw], Raw]]] = {
    "half of the events missing": ("events_missing", day(lambda raw: raw.day.filter(pa.array(some(raw.day, 0.5))))),
    "two thirds of the listeners missing": (
        "events_missing",
        day(lambda raw: raw.day.filter(pc.equal(pc.match_substring_regex(raw.day["user_id"], "[012]$"), True))),
    ),
    "stops at noon": (
        "day_ends_early",
        day(lambda raw: raw.day.filter(pc.less(pc.hour(raw.day["timestamp"]), 12))),
    ),
    "no event": ("nothing_new", day(lambda raw: raw.day.slice(0, 0))),
    "a day without an event before it": ("day_empty", day(lambda raw: shifted(raw.day, 24))),
    "yesterday's file again": ("day_once_more", day(lambda raw: raw.day_before)),
    "yesterday's events with today's date": ("day_once_more", day(lambda raw: shifted(raw.day_before, 24))),
    "yesterday's file, too": ("day_once_more", day(lambda raw: pa.concat_tables([raw.day, raw.day_before]))),
    "no skip": ("action_gone", day(lambda raw: without(raw.day, "action", "skip"))),
    "no like": ("action_gone", day(lambda raw: without(raw.day, "action", "like"))),
    "no episode": ("kind_gone", day(lambda raw: without(raw.day, "content_id", *of_kind(raw, "episode")))),
    "context lost": ("context_gone", day(lambda raw: blank(raw.day, "context"))),
    "no phone": ("device_gone", day(lambda raw: without(raw.day, "device", "phone"))),
    "clocks 1 h later": ("clocks_shifted", day(lambda raw: shifted(raw.day, 1))),
    "clocks 2 h earlier": ("clocks_shifted", day(lambda raw: shifted(raw.day, -2))),
    "clocks 7 h earlier": ("clocks_shifted", day(lambda raw: shifted(raw.day, -7))),
    "1 % a year later": ("future_times", day(lambda raw: mostly_later(raw, 0.01, 24 * 365))),
    "everything twice": ("sent_twice", day(lambda raw: twice(raw, 0))),
    "everything twice, 0.3 s apart": ("sent_twice", day(lambda raw: twice(raw, 0.3))),
    "one client of four sends twice": ("sent_twice", day(lambda raw: twice(raw, 0, 0.25))),
    "half of the plays skipped": ("skip_rate", day(skipped)),
    "listeners' ids issued anew": (
        "new_listeners",
        day(lambda raw: put(raw.day, "user_id", renamed(raw.day["user_id"]))),
    ),
    "listeners' ids given to others": (
        "repeat_rate",
        day(lambda raw: put(raw.day, "user_id", permuted(raw.day["user_id"]))),
    ),
    "contents' ids given to others, in events": (
        "repeat_rate",
        day(lambda raw: put(raw.day, "content_id", permuted(raw.day["content_id"]))),
    ),
    "contents' ids issued anew": (
        "content_ids_reissued",
        lambda raw: replace(
            raw,
            day=put(raw.day, "content_id", renamed(raw.day["content_id"])),
            contents=put(raw.contents, "content_id", renamed(raw.contents["content_id"])),
        ),
    ),
    "contents' ids given to others, in contents": (
        "content_ids_rebound",
        contents(lambda table: put(table, "content_id", permuted(table["content_id"]))),
    ),
    "genres lost": ("metadata_gone", contents(lambda table: blank(table, "genres"))),
    "artists lost": ("metadata_gone", contents(lambda table: blank(table, "artist_ids"))),
    "half of the contents lost": ("shrunk", contents(lambda table: table.filter(pa.array(some(table, 0.5))))),
    "sounds lost": ("sound_gone", contents(lambda table: blank(table, "audio"))),
    "half of the rows without a listener": (
        "rows_rejected",
        day(lambda raw: put(raw.day, "user_id", pc.if_else(pa.array(some(raw.day, 0.5)), None, raw.day["user_id"]))),
    ),
}
"""By name the rule that has to find it, and how it is planted."""


def read(folder: Path, days: int, left: int) -> Raw:
    """Reads the last days of a raw data set except for some at its end; the last of them is apart."""
    events = pq.read_table(folder / "events")
    in_us = events["timestamp"].cast(pa.timestamp("us", tz="UTC"))
    events = events.set_column(events.column_names.index("timestamp"), "timestamp", in_us)
    at = day_of(events)
    table = pq.read_table(folder / "contents")
    sounds = pc.if_else(pa.array(np.arange(len(table)) % EVERY_SOUND == 0), table["audio"], None)
    root = pc.binary_join_element_wise(pa.scalar(str(folder.resolve())), sounds, "/")
    last = int(at.max()) - left
    past, newest = (events.filter(pa.array(kept)) for kept in ((at < last) & (at > last - days), at == last))
    return Raw(past=past, day=newest, contents=put(table, "audio", root))


def prepared(raw: Raw, folder: Path, root: Path, users: Path, clean: int) -> Store:
    """Writes new raw files and prepares the store, which grows from the versions below `root`."""
    is_first = not folder.exists()
    events = {"events/part-0": raw.past} if is_first else {"events/part-1": raw.day}
    for name, table in ({"contents/part-0": raw.contents} | events).items():
        path = folder / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
    if users.exists() and not (folder / "users").exists():
        (folder / "users").symlink_to(users.resolve())
    cut = datetime.fromtimestamp(int(day_of(raw.past).max()) * 86_400, UTC)
    builder = StoreBuilder(
        root=root,
        source=ParquetFolder(str(folder)),
        split=GlobalTemporal((cut - timedelta(days=clean + 4)).isoformat(), (cut - timedelta(days=2)).isoformat()),
        features=FeatureSettings(
            min_played_fraction=0.3,
            content_parts=("artist_ids",),
            user_columns=(),
            spectrogram=SpectrogramSettings(sample_rate=8_000, n_fft=256, hop_length=80, n_mels=8, record_s=0.5),
        ),
        limits=Limits(
            max_rejected_fraction=1.0, max_duplicate_fraction=1.0, max_rejected_sounds_fraction=1.0,
            max_unlisted_fraction=1.0,
        ),
        num_workers=1,
        on_progress=lambda *_: None,
    )  # fmt: skip
    return builder.build()[0]


def clean_days(store: Store, number: int, now_us: int) -> dict[str, Verdict]:
    """Returns each day's verdict on the unchanged data, compared with the day before, as if a day came each night."""
    days = [day.date for day in profile_of(store).days]
    found: dict[str, Verdict] = {}
    before: Profile | None = None
    for last in days[-number - 1 :]:
        end = datetime.fromisoformat(last).replace(tzinfo=UTC) + timedelta(days=1)
        after = replace(profile_of(store.until(int(end.timestamp()) * 1_000_000)), store=last)
        if before is not None:
            found[last] = judged(before, after, Thresholds(), now_us)
        before = after
    return found


def named(verdict: Verdict) -> str:
    """Returns the names of the rules that found something, broken ones in capitals."""
    rules = {finding.rule.upper() if finding.severity == "broken" else finding.rule for finding in verdict.findings}
    return ", ".join(sorted(rules)) or "-"


def main() -> None:
    """Plants faults, compares, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=CATALOGUE, help="folder of a raw data set")
    parser.add_argument("--days", type=int, default=75, help="that are prepared")
    parser.add_argument("--clean", type=int, default=30, help="days that are compared as they are")
    parser.add_argument("--left", type=int, default=0, help="days at the end of the data that are left out")
    parser.add_argument("--faults", type=int, default=len(FAULTS), help="how many of them")
    add_smallest(parser, days=60, clean=2, faults=2)
    args = parser.parse_args()
    raw, now_us = read(args.data, args.days, args.left), time.time_ns() // 1_000
    with tempfile.TemporaryDirectory(prefix="towers-") as temporary:
        work, users = Path(temporary), args.data / "users"
        root = work / "before"

        def profile(name: str, changed: Raw) -> tuple[Store, Profile]:
            """Profiles the data with a fault, prepared on a copy of the version of the day before."""
            if root.exists():
                shutil.copytree(root, work / name, symlinks=True)
            store = prepared(changed, work / "raw", work / name, users, args.clean)
            return store, profile_of(store)

        _, before = profile("before", raw)
        whole, clean = profile("whole", raw)
        table = Table("planted", "to be found by", "found", "rules; broken in capitals")
        rows = {}
        for fault, (rule, plant) in list(FAULTS.items())[: args.faults]:
            verdict = judged(before, profile("planted", plant(raw))[1], Thresholds(), now_us)
            shutil.rmtree(work / "planted")
            is_found = rule in {finding.rule for finding in verdict.findings}
            rows[fault] = {"rule": rule, "found": is_found, "level": verdict.level, "rules": named(verdict)}
            table.add_row(fault, rule, "yes" if is_found else "NO", named(verdict))
        nothing = judged(before, clean, Thresholds(), now_us)
        table.add_row("nothing", "-", "-", named(nothing))
        days = clean_days(whole, args.clean, now_us)
    Console(width=150).print(table)
    found, false = (
        sum(row["found"] for row in rows.values()),
        {at: named(one) for at, one in days.items() if one.findings},
    )
    print(f"{found} of {len(rows)} faults found; false alarms on {len(false)} of {len(days)} clean days {false or ''}")
    write_result(
        args,
        "data_faults",
        {"faults": rows, "clean_days": len(days), "false_alarms": false, "days": args.days, "left": args.left},
    )


if __name__ == "__main__":
    main()
