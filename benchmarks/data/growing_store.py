"""Is a store that grew day by day, and was killed on the way, the store of all days at once, byte for byte?

    python benchmarks/data/growing_store.py --days 14

The catalogue (its audience is simulated; without its sound) is prepared up to so many days before its end, and then
with one more day after the other, each in a process of its own. Of each day's events one in a hundred comes a day late,
and one in two hundred twice. On every other day prepares are killed (SIGKILL) after a time drawn evenly from nought to
a little more than a whole one takes, and started again, until one ends before its kill. Then everything is prepared at
once: with the rows that the grown store gave, and from nothing. All files have to be equal.
"""

import os
import random
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.disturbed import different, ended, files_of, killed_after, started
from benchmarks.measuring import add_smallest, command_line, write_result
from towers.contract.durations import DAY_US
from towers.data.build import StoreBuilder
from towers.data.event_log.log import CURRENT, MANIFEST
from towers.data.making import LOG
from towers.data.rejecting import Limits
from towers.data.sources.parquet_folder import ParquetFolder
from towers.data.splits.temporal import GlobalTemporal
from towers.data.store import Store
from towers.features.metadata import CONTENT_PARTS
from towers.features.settings import FeatureSettings, SpectrogramSettings
from towers.manifest import read_json, write_json

LATE, TWICE = 100, 200
"""Number of events of which one is taken."""


def prepare(raw: Path, root: Path) -> Path:
    """Prepares the store of all raw files in this process."""
    builder = StoreBuilder(
        root=root,
        source=ParquetFolder(str(raw)),
        split=GlobalTemporal(validation_days=7, test_days=7),
        features=FeatureSettings(
            min_played_fraction=0.5,
            content_parts=CONTENT_PARTS,
            user_columns=(),
            spectrogram=SpectrogramSettings(),
        ),
        limits=Limits(
            max_rejected_fraction=0.0,
            max_duplicate_fraction=0.2,
            max_rejected_sounds_fraction=1.0,
            max_unlisted_fraction=1.0,
        ),
        num_workers=1,
        on_progress=lambda stage, done, total, remark="": None,
    )
    return builder.build()[0].folder


def ended_well(process: int, told: Path) -> bool:
    """Says whether a process ended by itself and not by a kill; a failure stops the benchmark."""
    code = ended(process)
    if code > 0:
        raise RuntimeError(f"a prepare failed:\n{told.read_text()}")
    return code == 0


def days_of(events: pa.Table, number: int, seed: int) -> list[pa.Table]:
    """Divides the events into those before the last days and those of each day, by arrival."""
    time_us = events["timestamp"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    drawn = np.random.default_rng(seed)
    day = time_us // DAY_US
    arrives = day + (drawn.integers(LATE, size=len(day)) == 0)
    last = int(day.max())
    arrives = np.clip(arrives, last - number, last)
    days = []
    for each in range(last - number, last + 1):
        found = events.filter(pa.array(arrives == each))
        again = found.filter(pa.array(drawn.integers(TWICE, size=len(found)) == 0))
        days.append(pa.concat_tables([found, again]))
    return days


def rows_alone(root: Path, target: Path) -> Path:
    """Makes a folder of stores that has the row map of another and no events, so that all are read anew."""
    log = (root / LOG / CURRENT).resolve()
    shutil.copytree(log, target / LOG / log.name)
    path = target / LOG / log.name / MANIFEST
    manifest = read_json(path)
    write_json(path, {**manifest, "settings": {**manifest["settings"], "log_format": -1}})
    (target / LOG / CURRENT).symlink_to(log.name)
    return target


def main() -> None:
    parser = command_line(__doc__)
    shared = Path(os.environ.get("TOWERS_SHARED_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=shared / "catalogue")
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    add_smallest(parser, days=2, kills=1)
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as scratch:
        raw, root, told = (Path(scratch) / name for name in ("raw", "stores", "told.txt"))
        (raw / "events").mkdir(parents=True)
        (raw / "contents").mkdir()
        contents = pa.concat_tables([pq.read_table(path) for path in sorted(arguments.data.glob("contents/*.parquet"))])
        pq.write_table(contents.drop_columns("audio"), raw / "contents" / "part-0.parquet")
        for table in ("users", "playlists"):
            if (arguments.data / table).is_dir():
                shutil.copytree(arguments.data / table, raw / table)
        events = pa.concat_tables([pq.read_table(path) for path in sorted(arguments.data.glob("events/*.parquet"))])
        days = days_of(events, arguments.days, arguments.seed)
        pq.write_table(days[0], raw / "events" / "day-000.parquet")

        def prepared() -> None:
            prepare(raw, root)

        start = time.perf_counter()
        assert ended_well(started(prepared, told), told)
        first_s, killed, day_s = time.perf_counter() - start, 0, []
        for number, day in enumerate(days[1:], start=1):
            pq.write_table(day, raw / "events" / f"day-{number:03d}.parquet")
            # Every other day is left alone, to know how long a day takes.
            is_left_alone = number % 2 == 1 and number < arguments.days
            left = 0 if is_left_alone else (arguments.kills - killed) // max(1, (arguments.days - number) // 2 + 1)
            has_ended = False
            while left and not has_ended:
                seconds = moments.uniform(0, 1.1 * float(np.median(day_s or [first_s])))
                has_ended = not killed_after(started(prepared, told), seconds)
                killed += not has_ended
                left -= 1
                assert Store.open(root).histories.num_users
            start = time.perf_counter()
            if not has_ended:
                assert ended_well(started(prepared, told), told)
                day_s.append(time.perf_counter() - start)
            print(f"\rday {number} of {arguments.days}", end="", flush=True)
        grown = Store.open(root)
        start = time.perf_counter()
        with_rows = prepare(raw, rows_alone(root, Path(scratch) / "rows"))
        full_s = time.perf_counter() - start
        wrong = [
            name
            for other in (with_rows, prepare(raw, Path(scratch) / "nothing"))
            for name in different(files_of(grown.folder), files_of(other))
        ]
        counts = grown.manifest["counts"]
    print(
        f"\r{counts['events']:,} events, {arguments.days} days one after the other, {killed} prepares killed on the way"
    )
    print(f"a day {np.median(day_s):.2f} s (median), all at once {full_s:.2f} s")
    print(f"files that differ from those of all days at once: {', '.join(wrong) or 'none'}")
    figures = {"events": counts["events"], "days": arguments.days, "killed": killed, "different": wrong}
    seconds = {"day_s": day_s, "all_at_once_s": full_s}
    write_result(arguments, "growing_store", {"seed": arguments.seed, **figures, **seconds})
    assert not wrong


if __name__ == "__main__":
    main()
