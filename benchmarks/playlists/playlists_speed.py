"""How many Discover Weekly lists an hour does one core make, and where does the time go?

Over a made-up export (`playlists_world.py`: nothing in it was trained, all sizes are real), one list after the other,
each of a listener of its own, in one process on one thread, after a round that warms the memory maps. A second is one
of processor time (`time.process_time`), since other work may share the cores; wall time stands beside it. A part's
share is the time in it alone, without that in parts that it calls. First rounds without timers give the rate, a last
one with them the shares.

    OMP_NUM_THREADS=1 python benchmarks/playlists/playlists_speed.py --work FOLDER  # 1,000,000 contents
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import faiss
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from benchmarks.playlists.playlists_world import write_world
from towers.policies import candidates, listener
from towers.policies.listener import Listener
from towers.policies.playlists import discover_weekly
from towers.policies.playlists.discover_weekly import DiscoverWeekly
from towers.policies.request import Request, Shared
from towers.retrieval.encoders import UserEncoder
from towers.retrieval.export import Export
from towers.retrieval.index import FaissIndex

HOUR_MS = 3_600_000
REST = "the rest"
PARTS: dict[str, tuple[Any, str]] = {
    "history and standing": (Listener, "of_row"),
    "tastes: clusters": (listener, "tastes_of"),
    "tastes: user tower": (UserEncoder, "encode_batch"),
    "search": (FaissIndex, "search"),
    "candidates": (discover_weekly, "candidates"),
    "what may come": (candidates, "allowed"),
    "utility": (Listener, "utility"),
    "picking": (discover_weekly, "pick_leaning"),
    "sequencing": (discover_weekly, "ordered"),
    "reasons": (discover_weekly, "reasons_for"),
}
"""Functions that are timed, by the names that callers look up."""


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--contents", type=int, default=1_000_000)
    parser.add_argument("--listeners", type=int, default=5_000, help="of the export")
    parser.add_argument("--lists", type=int, default=500, help="of a round, each of a listener of its own")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=2, help="of the user tower")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="where exports are kept; null: a folder that goes afterwards")
    add_smallest(parser, contents=2_000, listeners=12, lists=6, rounds=1, layers=1)
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary) if arguments.work is None else arguments.work
        sizes = {name: getattr(arguments, name) for name in ("contents", "listeners", "layers", "seed")}
        folder = work / "-".join(map(str, sizes.values()))
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            write_world(folder, **sizes)
        figures = measured(Export(folder), arguments)
    Console(width=100).print(as_table(figures))
    sizes |= {"lists": arguments.lists, "rounds": arguments.rounds}
    write_result(arguments, "playlists_speed", {"sizes": sizes, "figures": figures})


def measured(export: Export, arguments: argparse.Namespace) -> dict[str, Any]:
    """The rate, and where the time goes."""
    shared, kind = Shared(export), DiscoverWeekly()
    rows = np.random.default_rng(arguments.seed).permutation(arguments.listeners)
    rounds = np.resize(rows, (arguments.rounds + 2, arguments.lists)).tolist()

    def made(rows: list[int]) -> dict[str, float]:
        core, wall, places = time.process_time(), time.perf_counter(), 0
        for row in rows:
            places += len(kind.make(Request(shared=shared, listeners=(Listener.of_row(export, row),))).rows)
        core_ms, wall_ms = 1_000 * (time.process_time() - core), 1_000 * (time.perf_counter() - wall)
        return {"core_ms": core_ms / len(rows), "wall_ms": wall_ms / len(rows), "places": places / len(rows)}

    made(rounds[0])
    taken = [made(some) for some in rounds[1:-1]]
    clock = Clock()
    with clock.around(PARTS):
        timed = made(rounds[-1])
    core_ms, wall_ms = (median(one[name] for one in taken) for name in ("core_ms", "wall_ms"))
    spent = {name: 1_000 * seconds / len(rounds[-1]) for name, seconds in clock.spent.items()}
    parts = {**spent, REST: timed["core_ms"] - sum(spent.values())}
    return {
        "lists_an_hour_a_core": HOUR_MS / core_ms,
        "lists_an_hour_by_wall_time": HOUR_MS / wall_ms,
        "core_ms": core_ms,
        "wall_ms": wall_ms,
        "rounds": taken,
        "places": median(one["places"] for one in taken),
        "parts": {
            name: {"core_ms": each, "share": each / timed["core_ms"]}
            for name, each in sorted(parts.items(), key=lambda part: -part[1])
        },
    }


class Clock:
    """Processor seconds in parts of a program, each without what it spends in other parts."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = 0.0

    def around(self, parts: dict[str, tuple[Any, str]]) -> ExitStack:
        """A block in which these functions are timed, by the name of the part."""
        patches = ExitStack()
        for part, (owner, name) in parts.items():
            patches.enter_context(patch.object(owner, name, self._timed(part, getattr(owner, name))))
        return patches

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **more: Any) -> Any:
            self._turn()
            self._open.append(part)
            try:
                return function(*arguments, **more)
            finally:
                self._turn()
                self._open.pop()

        return timed

    def _turn(self) -> None:
        """Adds the time since the last turn to the innermost part."""
        now = time.process_time()
        if self._open:
            self.spent[self._open[-1]] += now - self._since
        self._since = now


def as_table(figures: dict[str, Any]) -> Table:
    title = (
        f"{figures['lists_an_hour_a_core']:,.0f} lists an hour a core ({figures['core_ms']:.2f} ms), "
        f"{figures['lists_an_hour_by_wall_time']:,.0f} by wall time"
    )
    table = Table("", "core ms a list", "share", title=title)
    for name, part in figures["parts"].items():
        table.add_row(name, f"{part['core_ms']:.2f}", f"{part['share']:.1%}")
    return table


if __name__ == "__main__":
    main()
