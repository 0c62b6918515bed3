"""Measures what converting a public set costs: made-up plays in exactly the form of Last.fm-1K, LFM-2b and Yambda.

    python benchmarks/data/sets.py                     # 5 million rows of each
    python benchmarks/data/sets.py --rows=20000000 --sets yambda

Each file is written in a stream and converted by a process of its own, by what `towers prepare` calls before it reads a
table; counted are the core-seconds and the peak of memory that the operating system has. Popularity follows
(rank + 10)^-1; nothing else is like real data, and nothing is learned from it.
"""

import bz2
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.apart import cost_of
from benchmarks.measuring import add_smallest, command_line, write_result

AT_ONCE = 500_000
LISTENERS, TRACKS = 1_000, 200_000
CHILD = (
    "import sys, pathlib\n"
    "from towers.config.composing import compose\n"
    "from towers.config.instantiate import instantiate\n"
    "name, root, out = sys.argv[1:]\n"
    "config = compose('prepare', [f'data={name}', f'data.root={root}'])\n"
    "source = instantiate(config.data.source, 'data.source')\n"
    "source.kept_tables(pathlib.Path(out), {}, None, lambda *told: None)\n"
)
"""Converts a set; the arguments are its name, its folder and the folder of the result."""


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000, help="plays of each set")
    parser.add_argument("--sets", nargs="+", default=list(WRITERS), choices=list(WRITERS))
    parser.add_argument("--seed", type=int, default=0)
    add_smallest(parser, rows=2_000, sets=["lastfm1k_tsv"])
    arguments = parser.parse_args()
    found = []
    for name in arguments.sets:
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(name, Path(folder), arguments.rows, arguments.seed))
    shown = Table("set", "rows", "files", "converted", "core-seconds", "rows a core-second", "wall", "peak memory")
    for each in found:
        shown.add_row(
            each["set"], f"{each['rows']:,}", f"{each['files_gb']:.2f} GB", f"{each['converted_gb']:.2f} GB",
            f"{each['core_s']:.1f}", f"{each['rows'] / each['core_s']:,.0f}", f"{each['wall_s']:.0f} s",
            f"{each['peak_gb']:.2f} GB",
        )  # fmt: skip
    Console(width=150).print(shown)
    write_result(arguments, f"sets-{arguments.rows}", {"seed": arguments.seed, "sets": found})


def measure(name: str, folder: Path, rows: int, seed: int) -> dict[str, Any]:
    """Writes a set and converts it; returns what that cost."""
    root, out = folder / "set", folder / "converted"
    root.mkdir()
    WRITERS[name](root, rows, np.random.default_rng(seed))
    cost = cost_of(["-c", CHILD, name, root, out])
    lines = json.loads((out / "converted.json").read_text())["lines"]
    converted = pq.read_metadata(out / "events/part-0.parquet").num_rows
    if converted != rows or lines["bad"]:
        raise SystemExit(f"{name}: {converted:,} events of {rows:,} rows, {lines['bad']:,} bad lines")
    return {
        "set": name, "rows": rows, "files_gb": _size(root), "converted_gb": _size(out), "core_s": cost.core_s,
        "wall_s": cost.wall_s, "peak_gb": cost.peak_gb,
    }  # fmt: skip


def lastfm1k_tsv(root: Path, rows: int, generator: np.random.Generator) -> None:
    """A tenth of the tracks has no MusicBrainz id."""
    with (root / "userid-timestamp-artid-artname-traid-traname.tsv").open("w") as file:
        for users, tracks, seconds in _plays(rows, generator):
            times = np.datetime_as_string((1_104_537_600 + seconds).astype("datetime64[s]"))
            file.writelines(
                f"user_{user:06d}\t{time}Z\t{_mbid(track // 10)}\tArtist number {track // 10}\t"
                f"{_mbid(track) if track % 10 else ''}\tA title of the track {track}\n"
                for user, track, time in zip(users.tolist(), tracks.tolist(), times.tolist(), strict=True)
            )


def lfm_2b(root: Path, rows: int, generator: np.random.Generator) -> None:
    """Packed by bzip2, as published."""
    with bz2.open(root / "listening-events.tsv.bz2", "wt", compresslevel=1) as file:
        file.write("user_id\ttrack_id\talbum_id\ttimestamp\n")
        for users, tracks, seconds in _plays(rows, generator):
            times = np.datetime_as_string((1_104_537_600 + seconds).astype("datetime64[s]"))
            file.writelines(
                f"{user}\t{track}\t{track // 12}\t{time.replace('T', ' ')}\n"
                for user, track, time in zip(users.tolist(), tracks.tolist(), times.tolist(), strict=True)
            )


def yambda(root: Path, rows: int, generator: np.random.Generator) -> None:
    """Flat, with artists."""
    (root / "flat/50m").mkdir(parents=True)
    number = pa.uint32()
    schema = pa.schema([
        ("uid", number), ("timestamp", number), ("item_id", number), ("is_organic", pa.uint8()),
        ("event_type", pa.string()), ("played_ratio_pct", pa.uint16()), ("track_length_seconds", number),
    ])  # fmt: skip
    with pq.ParquetWriter(root / "flat/50m/multi_event.parquet", schema) as writer:
        for users, tracks, seconds in _plays(rows, generator):
            columns = [
                users, seconds // 7 // 5 * 5, tracks, tracks % 2, ["listen"] * len(tracks),
                generator.integers(0, 101, len(tracks)), tracks % 200 + 60,
            ]  # fmt: skip
            typed = [pa.array(each).cast(field.type) for each, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.table(typed, schema=schema))
    known = np.arange(TRACKS, dtype=np.uint32)
    pq.write_table(pa.table({"artist_id": known // 10, "item_id": known}), root / "artist_item_mapping.parquet")


WRITERS: dict[str, Callable[[Path, int, np.random.Generator], None]] = {
    "lastfm1k_tsv": lastfm1k_tsv, "lfm_2b": lfm_2b, "yambda": yambda,
}  # fmt: skip


def _plays(rows: int, generator: np.random.Generator) -> Any:
    """Yields listeners, tracks and seconds of five years, some at once, listener by listener."""
    share = 1 / (np.arange(TRACKS) + 10.0)
    upper = np.cumsum(share / share.sum())
    for start in range(0, rows, AT_ONCE):
        count = min(AT_ONCE, rows - start)
        users = (start + np.arange(count)) * LISTENERS // rows + 1
        tracks = np.searchsorted(upper, generator.random(count)).clip(max=TRACKS - 1)
        yield users, tracks, np.sort(generator.integers(0, 5 * 365 * 86_400 - 86_400 * 365, count))


def _mbid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number * 7919:012x}"


def _size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9


if __name__ == "__main__":
    main()
