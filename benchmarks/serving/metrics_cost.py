"""What does counting a request for `/metrics` cost `towers serve`?

Two servers of the same export, one with `metrics=false`, are asked in turn, round by round, so that what else runs on
the machine slows both down. Each round asks over so many connections without a pause; `server_core_ms` is processor
time of the server for a request, and a scrape is timed by itself.

    python -m benchmarks.serving.metrics_cost                       # 100,000 contents of dim 64
    python -m benchmarks.serving.metrics_cost --export exports/current --rounds 20 --workers 2
"""

import argparse
import asyncio
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.apart import cpu_seconds, served
from benchmarks.measuring import add_smallest, command_line, write_result
from benchmarks.serving.serving_http import add_export, load, synthetic_export
from towers.retrieval.export import Export

SERVERS = {"with": "metrics=true", "without": "metrics=false"}
SCRAPES = 20


def main() -> None:
    parser = command_line(__doc__)
    add_export(parser)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30, help="of each server and kind of request")
    parser.add_argument("--seconds", type=float, default=0.7, help="of a round")
    parser.add_argument("--workers", type=int, default=1)
    add_smallest(parser, contents=2_000, dim=8, listeners=20, heard=10, rounds=2, seconds=0.1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.export or synthetic_export(Path(scratch) / "export", arguments)
        rows = measure(folder, arguments)
    table = Table(title=f"towers serve with and without /metrics, {arguments.workers} worker(s), medians of rounds")
    for column in rows[0]:
        table.add_column(column, justify="left" if column == "request" else "right")
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=150).print(table)
    sizes = {**vars(arguments), "export": arguments.export and arguments.export.resolve().name}
    several = "" if arguments.workers == 1 else f"-{arguments.workers}-workers"
    write_result(arguments, f"metrics_cost{several}", {"sizes": sizes, "figures": rows})


def measure(folder: Path, arguments: argparse.Namespace) -> list[dict]:
    """A row for each kind of request, and one for scrapes."""
    paths = {
        "health": ["/health"],
        "recommend": [f"/recommend?user={quote(user)}" for user in Export(folder).user_ids],
    }
    rows = []
    with ExitStack() as running:
        servers = {
            name: running.enter_context(served(folder, f"workers={arguments.workers}", setting))
            for name, setting in SERVERS.items()
        }
        for request, asked in paths.items():
            core_ms: dict[str, list[float]] = {name: [] for name in servers}
            per_s: dict[str, list[float]] = {name: [] for name in servers}
            for at in range(arguments.rounds + 1):  # the first one warms up
                for name, (process, address) in servers.items():
                    before, begun = cpu_seconds(process), time.perf_counter()
                    taken = asyncio.run(load(address, asked, arguments.connections, arguments.seconds))
                    if at:
                        core_ms[name].append((cpu_seconds(process) - before) / len(taken) * 1e3)
                        per_s[name].append(len(taken) / (time.perf_counter() - begun))
            row = {"request": request}
            for name in servers:
                row[f"{name}: requests_per_s"] = float(np.median(per_s[name]))
                row[f"{name}: server_core_ms"] = float(np.median(core_ms[name]))
            dearer = np.array(core_ms["with"]) / np.maximum(core_ms["without"], 1e-9)
            rows.append(row | {"dearer by, %": float(np.median(dearer) - 1) * 100})
        address = servers["with"][1]
        begun = time.perf_counter()
        for _ in range(SCRAPES):
            with urlopen(f"{address}metrics") as answer:
                size = len(answer.read())
        scrape_ms = (time.perf_counter() - begun) / SCRAPES * 1e3
    print(f"a scrape: {scrape_ms:.1f} ms, {size:,} bytes")
    return rows


if __name__ == "__main__":
    main()
