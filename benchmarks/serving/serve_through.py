"""Does `towers serve` fail a single request while the version that it serves is replaced again and again?

Connections that are kept alive ask for listeners' lists, neighbours, titles and histories without a pause, while
`current` is moved between copies of two exports, or while a command of yours runs that moves it. Each move shows how
soon an answer came from the new version, and what requests took in the second before that and in the one after. Any
answer but 200, and any connection that breaks, is a failure, and the exit code is 1.

    python -m benchmarks.serving.serve_through                                   # two synthetic exports, moved 20 times
    python -m benchmarks.serving.serve_through --exports exports/A exports/B --switches 100 --workers 2
    python -m benchmarks.serving.serve_through --current exports/current --while "towers retrain experiment=catalogue"
"""

import argparse
import asyncio
import random
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from benchmarks.serving.serving_http import WORDS, synthetic_export
from towers.lifecycle.server_process import Server, served_apart
from towers.manifest import point_to, read_json, same_file, write_json
from towers.retrieval.checksums import digest_line
from towers.retrieval.export import Export
from towers.retrieval.files import MANIFEST, MANIFEST_DIGEST

ASKED_ABOUT = 500
"""Listeners and contents."""
LISTS = ("playlists/discover_weekly?user=", "playlists/mix?user=")
NOTICED_S = 60.0
"""A move that no answer shows by then counts as failed."""
ANSWER_S = 30.0


@dataclass
class Seen:
    """What the clients received.

    Args:
        answers: when each came (seconds, as `perf_counter`), and how many seconds it took.
        failures: when, and what was wrong.
        latest: the version that answered last.
        served: when which version was first served, one that has been served before only where it was moved to.
    """

    answers: list[tuple[float, float]] = field(default_factory=list)
    failures: list[tuple[float, str]] = field(default_factory=list)
    latest: str = ""
    served: list[tuple[float, str]] = field(default_factory=list)

    def answered(self, started: float, version: str) -> None:
        """Notes an answer; `version` is empty where it does not say."""
        ended = time.perf_counter()
        self.answers.append((ended, ended - started))
        self.latest = version or self.latest
        if version and all(version != name for _, name in self.served):
            self.served.append((ended, version))


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--exports", type=Path, nargs=2, help="two versions, which are copied; none: synthetic ones")
    parser.add_argument("--current", type=Path, help="a link that is followed and not moved, in the place of copies")
    parser.add_argument("--while", dest="command", help="a command during which requests are made")
    parser.add_argument("--switches", type=int, default=20, help="moves, where no link is given")
    parser.add_argument("--every", type=float, default=3.0, help="seconds from one version to the next move")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1, help="processes of the server")
    parser.add_argument("--lists", action="store_true", help="asks for Discover Weekly and mixes, too (format 4)")
    parser.add_argument("--contents", type=int, default=100_000, help="of a synthetic export")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--listeners", type=int, default=2_000)
    parser.add_argument("--heard", type=int, default=100)
    add_smallest(parser, switches=2, every=0.2, connections=2, contents=2_000, dim=8, listeners=20, heard=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        link, versions = arguments.current, []
        if link is None:
            versions = list(copies(Path(scratch), arguments))
            link = Path(scratch) / "exports" / "current"
            point_to(link, versions[0])
        paths = asked_of(versions or [link.resolve()], arguments.lists)
        with served_apart([link], 120.0, f"workers={arguments.workers}", "watch_s=0.1") as (server,):
            seen, rows = asyncio.run(measure(server, link, versions, paths, arguments))
    Console(width=150).print(as_table(rows, seen))
    for when, fault in seen.failures[:10]:
        print(f"failed after {when:.2f} s: {fault}")
    sizes = {name: value for name, value in vars(arguments).items() if name not in ("exports", "current")}
    write_result(arguments, "serve_through", {"sizes": sizes, "requests": len(seen.answers), "switches": rows})
    if seen.failures:
        raise SystemExit(1)


def copies(scratch: Path, arguments: argparse.Namespace) -> Iterator[Path]:
    """Two versions beside one another, whose names differ, even if they are copies of one export."""
    for at, name in enumerate(("first", "second")):
        target = scratch / "exports" / name
        if arguments.exports is None:
            yield synthetic_export(target, arguments)
            continue
        shutil.copytree(arguments.exports[at].resolve(), target, copy_function=linked)
        (target / MANIFEST_DIGEST).unlink()  # linked: it must not be written to
        write_json(target / MANIFEST, {**read_json(target / MANIFEST), "version": name})
        (target / MANIFEST_DIGEST).write_text(digest_line(target))
        yield target


def linked(source: str, target: str) -> None:
    """Links a file, as `copytree` calls it."""
    same_file(Path(source), Path(target))


def asked_of(versions: list[Path], with_lists: bool) -> list[str]:
    """Addresses that all versions answer."""
    first, *others = (Export(version, check_files=False) for version in versions)
    users = islice((one for one in first.user_ids if all(one in other.user_ids for other in others)), ASKED_ABOUT)
    known = (one for one in first.content_ids if all(one in other.content_ids for other in others))
    names = ("recommend?user=", "user/", *(LISTS if with_lists else ()))
    paths = [f"/{name}{quote(user)}" for user in users for name in names]
    paths += [f"/similar?content={quote(content)}" for content in islice(known, ASKED_ABOUT)]
    return [*paths, "/health", "/version", "/users", *(f"/search?q={word}" for word in WORDS)]


async def measure(
    server: Server, link: Path, versions: list[Path], paths: list[str], arguments: argparse.Namespace
) -> tuple[Seen, list[dict]]:
    """A row for each version that came to be served."""
    seen, stopped, started = Seen(), asyncio.Event(), time.perf_counter()
    clients = [asyncio.create_task(client(server, paths, seen, stopped, seed)) for seed in range(arguments.connections)]
    tasks = [asyncio.create_task(move(link, versions, seen, arguments))] if versions else []
    if arguments.command:
        tasks.append(asyncio.create_task(run(arguments.command)))
    await asyncio.gather(*tasks)
    await asyncio.sleep(arguments.every)
    stopped.set()
    await asyncio.gather(*clients)
    rows = list(by_switch(seen, started))
    seen.failures = [(when - started, fault) for when, fault in seen.failures]
    return seen, rows


async def move(link: Path, versions: list[Path], seen: Seen, arguments: argparse.Namespace) -> None:
    """Moves the link, each time once the version before is served by all that answer."""
    for switch in range(1, arguments.switches + 1):
        await asyncio.sleep(arguments.every)
        target = versions[switch % 2]
        point_to(link, target)
        moved = time.perf_counter()
        while seen.latest != target.name:
            if time.perf_counter() > moved + NOTICED_S:
                seen.failures.append((time.perf_counter(), f"{target.name} was not served after {NOTICED_S:g} s"))
                return
            await asyncio.sleep(0.01)
        if switch > 1:  # the first that it is moved to is new
            seen.served.append((time.perf_counter(), target.name))


async def run(command: str) -> None:
    process = await asyncio.create_subprocess_exec(*shlex.split(command))
    print(f"{command}: exit code {await process.wait()}")


async def client(server: Server, paths: list[str], seen: Seen, stopped: asyncio.Event, seed: int) -> None:
    """Asks one thing after the other over one connection, and over a new one where that breaks."""
    drawn = random.Random(seed)
    while not stopped.is_set():
        try:
            reader, writer = await asyncio.open_connection(server.host, server.port)
            while not stopped.is_set():
                async with asyncio.timeout(ANSWER_S):
                    await ask(reader, writer, drawn.choice(paths), seen)
            writer.close()
            await writer.wait_closed()
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            seen.failures.append((time.perf_counter(), f"{type(error).__name__}: {error}"))
            await asyncio.sleep(0.05)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, seen: Seen) -> None:
    """Raises `ValueError` for every status but 200."""
    started = time.perf_counter()
    writer.write(f"GET {path} HTTP/1.1\r\nHost: towers\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    body = await reader.readexactly(int(length.split(b":")[1]))
    if not head.startswith(b"HTTP/1.1 200"):
        raise ValueError(f"{path}: {head.partition(bytes([13]))[0].decode()}: {body[:200].decode()}")
    seen.answered(started, body.split(b'"', 4)[3].decode() if body.startswith(b'{"version"') else "")


def by_switch(seen: Seen, started: float) -> Iterator[dict]:
    """A second before and after each version was first served, the first one aside."""
    answers, failed = np.array(seen.answers), np.array([when for when, _ in seen.failures])
    for when, version in seen.served[1:]:
        row: dict = {"after s": when - started, "version": version}
        for name, first in (("before", when - 1), ("then", when)):
            took = answers[(answers[:, 0] >= first) & (answers[:, 0] < first + 1), 1]
            row[f"{name}: requests"] = len(took)
            row[f"{name}: failed"] = int(((failed >= first) & (failed < first + 1)).sum())
            for at in (50, 99):
                row[f"{name}: p{at} ms"] = float(np.percentile(took, at)) * 1e3 if len(took) else float("nan")
        yield row


def as_table(rows: list[dict], seen: Seen) -> Table:
    took = [took for _, took in seen.answers]
    p50, p99 = np.percentile(took, (50, 99)) * 1e3 if took else (float("nan"),) * 2
    title = f"towers serve, {len(took):,} requests, {len(seen.failures)} failed, p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    table = Table(title=f"{title}, a second before and after each move")
    for column in rows[0] if rows else ():
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    return table


if __name__ == "__main__":
    main()
