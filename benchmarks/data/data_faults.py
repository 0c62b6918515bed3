"""Which faults of an upstream does the profile of the data find, and how many false alarms does it give?

    python benchmarks/data/data_faults.py

The last weeks of the catalogue (its audience is simulated) are prepared up to the day before the last, and then with
the last day, into which one fault is planted: half of its events missing, clocks shifted, ids issued anew and so on.
Each is prepared and profiled as `towers prepare` does, and compared with the day before. Beside it stand the last 30
days as they are, each compared with the one before it. A fault is found where the rule that is meant for it speaks;
what else speaks is shown.
"""

import os
import shutil
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.data.planted import FAULTS, Raw, day_of, put
from benchmarks.measuring import add_smallest, command_line, write_result
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
"""Number of contents of which one has a sound here."""


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
    parser = command_line(__doc__)
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
