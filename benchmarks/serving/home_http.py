"""How long does `/home` of `towers serve` take, and how many does it answer a second?

The server is started as a user starts it, over a synthetic export with so many cards, a policy and a log in a scratch
folder. So many connections, kept alive, each ask for a random listener's page as soon as the page before has come; of
every page one outcome is told. Pages and outcomes are logged, so the figures have that in them.

    python -m benchmarks.serving.home_http                         # 1,000 cards of dim 64 among 20,000 contents
    python -m benchmarks.serving.home_http --chosen-by hierarchical
    python -m benchmarks.serving.home_http --policy policies/home  # of the same space as --export
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.apart import cpu_seconds, served
from benchmarks.measuring import add_smallest, command_line, write_result
from tests.retrieval.small_export import SPACE, content, small_export
from towers.policies.bandit.hierarchical import HierarchicalThompson
from towers.policies.bandit.policy_file import WritablePolicy, write_policy
from towers.policies.bandit.uniform import Uniform
from towers.retrieval.export import Export

KINDS = ("playlist", "episode", "artist")
POLICIES: dict[str, Callable[[int], WritablePolicy]] = {
    "uniform": lambda dim: Uniform(),
    "hierarchical": lambda dim: HierarchicalThompson(dim=dim),
}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--export", type=Path, help="none: a synthetic one")
    parser.add_argument("--policy", type=Path, help="folder of a policy; none: one that has learned nothing")
    parser.add_argument("--chosen-by", choices=[*POLICIES], default="uniform", help="the policy, where none is given")
    parser.add_argument("--cards", type=int, default=1_000)
    parser.add_argument("--tracks", type=int, default=19_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--listeners", type=int, default=2_000)
    parser.add_argument("--heard", type=int, default=100, help="contents in each history")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seconds", type=float, default=10.0, help="for each number of connections")
    parser.add_argument("--warm-up", type=float, default=2.0, help="seconds before that count for nothing")
    add_smallest(
        parser, cards=30, tracks=100, dim=8, listeners=20, heard=10, connections=[1, 2], seconds=0.2, warm_up=0.1
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.export or synthetic_export(Path(scratch) / "export", arguments)
        policy = arguments.policy or Path(scratch) / "policy"
        if arguments.policy is None:
            space_id = Export(folder).space_id
            made = POLICIES[arguments.chosen_by](Export(folder).dim)
            write_policy(policy, made, space_id=space_id, update=0, learned_from={})
        rows = list(measure(folder, policy, Path(scratch) / "log", arguments))
    table = Table(title=f"towers serve /home, {arguments.cards:,} cards x {arguments.dim}")
    for column in rows[0]:
        table.add_column(column, justify="left" if column == "request" else "right")
    for row in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=150).print(table)
    given = {
        name: path and path.resolve().name for name, path in vars(arguments).items() if name in ("export", "policy")
    }
    write_result(
        arguments, f"home_http-{arguments.chosen_by}", {"sizes": {**vars(arguments), **given}, "figures": rows}
    )


def synthetic_export(folder: Path, arguments: argparse.Namespace) -> Path:
    """Tracks and cards at random; every card is a playlist, an episode or an artist of twenty tracks."""
    draw = np.random.default_rng(0)
    artists = arguments.cards // len(KINDS)
    rows = [
        content(f"t{row}", title=f"Track {row}", artist_ids=[f"artist{row % artists}"])
        for row in range(arguments.tracks)
    ]
    for row in range(arguments.cards):
        kind = KINDS[row % len(KINDS)]
        rows.append(content(f"{kind}{row // len(KINDS)}", kind, f"Card {row}"))
    vectors = draw.normal(size=(len(rows), arguments.dim))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    heard = draw.integers(arguments.tracks, size=(arguments.listeners, arguments.heard))
    chosen = {f"u{row:05}": own for row, own in enumerate(heard.tolist())}
    export = small_export(folder, rows, vectors, chosen)
    assert export.space_id == SPACE
    return export.folder


def measure(folder: Path, policy: Path, log: Path, arguments: argparse.Namespace) -> Iterator[dict]:
    """A row for pages and one for outcomes, for each number of connections."""
    users = list(Export(folder).user_ids)
    settings = f"home.policy='{policy}'", f"home.log='{log}'", "home.max_writes_per_s=1e6"
    with served(folder, *settings) as (process, address):
        for connections in arguments.connections:
            asyncio.run(load(address, users, connections, arguments.warm_up))
            before, started = cpu_seconds(process), time.perf_counter()
            taken = asyncio.run(load(address, users, connections, arguments.seconds))
            wall, cpu = time.perf_counter() - started, cpu_seconds(process) - before
            for name, seconds in taken.items():
                yield {
                    "request": name, "connections": connections, "requests": len(seconds),
                    "requests_per_s": len(seconds) / wall,
                    **{f"p{at}_ms": float(np.percentile(seconds, at)) * 1e3 for at in (50, 99)},
                    "server_core_ms_of_both": cpu / len(seconds) * 1e3,
                }  # fmt: skip


async def load(address: str, users: list[str], connections: int, seconds: float) -> dict[str, list[float]]:
    """Seconds that each page and each outcome took."""
    until = time.perf_counter() + seconds
    taken: dict[str, list[float]] = {"home": [], "outcome": []}
    await asyncio.gather(*(one_client(address, users, until, taken, seed) for seed in range(connections)))
    return taken


async def one_client(address: str, users: list[str], until: float, taken: dict[str, list[float]], seed: int) -> None:
    """Asks one page after the other over one connection, and tells an outcome of each."""
    drawn, parts = random.Random(seed), urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)

    async def ask(name: str, method: str, path: str, body: bytes = b"") -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n"
        started = time.perf_counter()
        writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        answered = await reader.readuntil(b"\r\n\r\n")
        assert answered.startswith(b"HTTP/1.1 200"), answered
        length = next(line for line in answered.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        answer = await reader.readexactly(int(length.split(b":")[1]))
        taken[name].append(time.perf_counter() - started)
        return answer

    while time.perf_counter() < until:
        page = json.loads(await ask("home", "GET", f"/home?user={quote(drawn.choice(users))}"))
        told = {"request_id": page["request_id"], "slot": 0, "clicked": True, "played_ms": 40_000}
        await ask("outcome", "POST", "/outcome", json.dumps(told).encode())
    writer.close()
    await writer.wait_closed()


if __name__ == "__main__":
    main()
