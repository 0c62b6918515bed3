"""Measures what `towers prepare` costs at 1, 10 and 100 million events, and what a day costs that is added to
ninety-nine.

    python benchmarks/data/prepare_scale.py  # 6 GB of disk for raw data, and as much for stores
    python benchmarks/data/prepare_scale.py --sizes 1000000 --work FOLDER --keep
    python benchmarks/data/prepare_scale.py data.memory_gb=1  # further arguments are overrides of `towers prepare`

The raw data is invented (`prepare_scale_world.py` says how, and where its skew is from): 2 million listeners and
1 million contents at 100 million events over 100 days, fewer in proportion below, with events that come up to three
days late, rows that come twice, and faulty ones. Every `prepare` is a process of its own; counted are its core-seconds
(user and system) and its peak of memory, as the operating system has them. Then, at `--incremental` events:

- days 1 to 99 are prepared, day 100 comes, and `prepare` runs again: its cost beside that of preparing everything;
- what then stands there has to be, byte for byte, what one `prepare` of all days makes with the same map of rows.

At last each store is opened and read as a training does (`prepare_scale_reading.py`).
"""

import argparse
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.apart import cost_of, output_of
from benchmarks.measuring import add_smallest, command_line, write_result
from towers.data.event_log.log import MANIFEST, ROWS, EventLog
from towers.data.making import LOG
from towers.data.profiling.files import FILE as PROFILE
from towers.evaluation.report.profile_page import FILE as PROFILE_PAGE
from towers.manifest import point_to, read_json, same_file, write_json

HERE = Path(__file__).parent
SIZES = (1_000_000, 10_000_000, 100_000_000)
USER_COLUMNS = "features.user_columns=[country,age_band]"
READY = "world.json"
"""Written last into a world's folder: what it was made from."""


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="events, of each prepare")
    parser.add_argument("--incremental", type=int, help="events of which a hundredth is added; the last size; 0: none")
    parser.add_argument("--work", type=Path, help="folder for raw data and stores; a temporary one")
    parser.add_argument("--keep", action="store_true", help="keep the stores; raw data in --work is kept in any case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tidy", action="store_true", help="no late events, no repeated rows, no faulty ones")
    parser.add_argument("--id-digits", type=int, default=8, help="of listeners' and contents' ids")
    parser.add_argument("--opens", type=int, default=7, help="times that a store is opened")
    parser.add_argument("--steps", type=int, default=10, help="of training that are timed; 0: none")
    parser.add_argument("--no-reading", action="store_true", help="prepare alone")
    add_smallest(parser, sizes=[], incremental=2_000)
    arguments, overrides = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments, arguments.work or Path(folder), overrides)


def measure(arguments: argparse.Namespace, work: Path, overrides: list[str]) -> None:
    """Measures both parts, and removes the stores unless they are kept."""
    console = Console(width=170)
    rows = [measured(arguments, work, events, overrides) for events in arguments.sizes]
    if rows:
        console.print(table_of(rows))
    result: dict[str, Any] = {"sizes": rows}
    last = arguments.sizes[-1] if arguments.sizes else 0
    incremental = last if arguments.incremental is None else arguments.incremental
    if incremental:
        grown = result["incremental"] = grow(world(arguments, work, incremental), work, overrides, arguments.keep)
        full = next((row for row in rows if row["asked_for"] == str(incremental)), grown["full"])
        day, share = grown["day"], grown["day"]["core_s"] / full["core_s"]
        grown["share_of_full"] = share
        cost = f"{day['core_s']:.1f} core-s and {day['peak_gb']:.2f} GB, {share:.1%} of the {full['core_s']:.1f} of all"
        console.print(f"a day of a hundred of {incremental:,} events: {cost}")
        differing = ", ".join(grown["differing_files"][:5]) or "none"
        console.print(f"of {grown['files']} files, one prepare of all days makes others: {differing}")
    protocol = {name: getattr(arguments, name) for name in ("seed", "tidy", "id_digits", "opens", "steps")}
    write_result(arguments, "prepare_scale", {"protocol": protocol | {"overrides": overrides}, **result})
    if incremental and result["incremental"]["differing_files"]:
        raise SystemExit("the store that grew by a day is not the one that is made at once")


def measured(arguments: argparse.Namespace, work: Path, events: int, overrides: list[str]) -> dict[str, Any]:
    """Measures a row of the table: the cost of preparing a number of events, and the speed of reading the store."""
    stores = work / "stores" / str(events)
    row = prepared(world(arguments, work, events), stores, overrides)
    if not arguments.no_reading:
        row |= reading(arguments, stores / "full")
    if not arguments.keep:
        shutil.rmtree(stores)
    return row


def world(arguments: argparse.Namespace, work: Path, events: int) -> Path:
    """Returns the folder of raw data of a size below `work`; makes it unless it is there."""
    root = work / "raw" / str(events)
    settings = {"events": events, "seed": arguments.seed, "tidy": arguments.tidy, "id_digits": arguments.id_digits}
    if (root / READY).exists() and read_json(root / READY) == settings:
        return root
    shutil.rmtree(root, ignore_errors=True)
    command = ["--root", root, "--events", events, "--seed", arguments.seed, "--id-digits", arguments.id_digits]
    cost_of([HERE / "prepare_scale_world.py", *command, *([] if arguments.tidy else ["--untidy"])])
    write_json(root / READY, settings)
    return root


def prepared(raw: Path, stores: Path, overrides: list[str], name: str = "full") -> dict[str, Any]:
    """Prepares the data in a process of its own; returns the cost and the sizes of what it wrote."""
    where = ["data=parquet", f"data.root={raw}", f"data.name={name}", f"paths.stores={stores}"]
    cost = cost_of(["-m", "towers", "prepare", *where, USER_COLUMNS, *overrides])
    store = (stores / name / "current").resolve()
    counts = read_json(store / "manifest.json")["counts"]
    return {
        "asked_for": raw.name,
        "events": counts["events"],
        "users": counts["users"],
        "contents": counts["contents"],
        **asdict(cost),
        "core_us_per_event": cost.core_s / counts["events"] * 1e6,
        "raw_gb": size_of(raw) / 1e9,
        "store_gb": size_of(store) / 1e9,
        "beside_gb": (size_of(stores / name) - size_of(store)) / 1e9,
    }


def grow(raw: Path, work: Path, overrides: list[str], keep: bool) -> dict[str, Any]:
    """Prepares all days but the last, then the last as well, then everything anew with the rows of before."""
    grown, stores = work / "grown", work / "stores" / f"{raw.name}-grown"
    for folder in (grown, stores):
        shutil.rmtree(folder, ignore_errors=True)
    files = sorted(raw.rglob("*.parquet"))
    last = max(path for path in files if path.parent.name == "events")
    for path in files:
        if path != last:
            same_file(path, grown / path.relative_to(raw))
    before = prepared(grown, stores, overrides, "grown")
    same_file(last, grown / last.relative_to(raw))
    of_before = (stores / "grown" / "current").resolve()
    day = prepared(grown, stores, overrides, "grown")
    shutil.rmtree(of_before)  # leaves more of the disk to the database
    give_rows(stores / "grown", stores / "full")
    full = prepared(grown, stores, overrides, "full")
    files, differing = compared(*((stores / name / "current").resolve() for name in ("grown", "full")))
    shutil.rmtree(grown)
    if not keep:
        shutil.rmtree(stores)
    return {"before": before, "day": day, "full": full, "files": files, "differing_files": differing}


def give_rows(one: Path, other: Path) -> None:
    """Gives a store that is not there yet the map of rows of another, as if one of its raw files had vanished since:
    its first `prepare` keeps the rows and reads all events."""
    log, target = EventLog((one / LOG / "current").resolve()), other / LOG / "rows_alone"
    shutil.copytree(log.folder / ROWS, target / ROWS)
    write_json(target / MANIFEST, {**log.manifest, "files": {"vanished": ""}})
    point_to(other / LOG / "current", target)


def reading(arguments: argparse.Namespace, store: Path) -> dict[str, Any]:
    """Measures how fast a store is opened and read."""
    command = [HERE / "prepare_scale_reading.py", store, "--opens", arguments.opens, "--steps", arguments.steps]
    return json.loads(output_of(command).splitlines()[-1])


def size_of(folder: Path) -> int:
    """Returns the size in bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def compared(one: Path, other: Path) -> tuple[int, list[str]]:
    """Counts files, and finds those that are not in both folders with the same bytes. Profiles are left out, since
    each says how the data differs from the version before."""
    found = (path.relative_to(root) for root in (one, other) for path in root.rglob("*") if path.is_file())
    names = sorted({str(path) for path in found if path.name not in (PROFILE, PROFILE_PAGE)})
    return len(names), [name for name in names if not same_bytes(one / name, other / name)]


def same_bytes(one: Path, other: Path) -> bool:
    if not (one.is_file() and other.is_file()) or one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as left, other.open("rb") as right:
        while block := left.read(1 << 24):
            if block != right.read(1 << 24):
                return False
    return True


COLUMNS = (
    ("events", "events", ",d"), ("users", "users", ",d"), ("core-s", "core_s", ",.1f"),
    ("us an event", "core_us_per_event", ".2f"), ("wall s", "wall_s", ",.1f"), ("peak GB", "peak_gb", ".2f"),
    ("raw GB", "raw_gb", ".2f"), ("store GB", "store_gb", ".2f"), ("log GB", "beside_gb", ".2f"),
    ("open ms", "open_ms", ".1f"), ("read a core-s", "read_per_core_s", ",.0f"),
    ("in batches", "batches_per_core_s", ",.0f"), ("trained", "trained_per_core_s", ",.0f"),
    ("ratio", "read_per_trained", ",.0f"),
)  # fmt: skip


def table_of(rows: list[dict[str, Any]]) -> Table:
    table = Table(*(title for title, name, _ in COLUMNS if name in rows[0]))
    for row in rows:
        table.add_row(*(format(row[name], shown) for _, name, shown in COLUMNS if name in row))
    return table


if __name__ == "__main__":
    main()
