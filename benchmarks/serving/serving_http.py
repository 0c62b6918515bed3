"""How many `/recommend` does `towers serve` answer a second, and how long does one take?

The server is started as a user starts it, over an export that is given or, where none is, over a synthetic one. So many
connections, kept alive, each ask for a random listener as soon as the answer before has come; the client is one process
of plain asyncio streams, and what it and the server took of the cores is told apart: where other work runs on the
machine, core-milliseconds a request hold and requests a second do not.

    python -m benchmarks.serving.serving_http                                # 100,000 contents of dim 64
    python -m benchmarks.serving.serving_http --export exports/current --connections 1 8 32
    python -m benchmarks.serving.serving_http --contents 1000000 --search    # and searches by a part of a title
"""

import argparse
import asyncio
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.apart import cpu_seconds, served
from benchmarks.measuring import add_smallest, command_line, write_result
from tests.retrieval.small_export import small_export
from towers.config.composing import compose
from towers.config.instantiate import instantiate
from towers.retrieval.export import Export

TICKS = os.sysconf("SC_CLK_TCK")
WORDS = (
    "river", "stone", "night", "glass", "summer", "engine", "letter", "paper", "window", "harbour", "silver", "garden",
    "north", "winter", "signal", "mirror", "velvet", "copper", "thunder", "meadow", "lantern", "orchard", "canyon",
    "ember",
)  # fmt: skip
GENRES = ("folk", "jazz", "rock", "techno", "ambient", "choral", "metal", "dub")


def add_export(parser: argparse.ArgumentParser) -> None:
    """Adds what says which export is served: one that is there, or the sizes of a synthetic one."""
    parser.add_argument("--export", type=Path, help="none: a synthetic one")
    parser.add_argument("--contents", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--listeners", type=int, default=2_000)
    parser.add_argument("--heard", type=int, default=100, help="contents in each history")


def main() -> None:
    parser = command_line(__doc__)
    add_export(parser)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=10.0, help="for each number of connections")
    parser.add_argument("--warm-up", type=float, default=2.0, help="seconds before that count for nothing")
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--search", action="store_true", help="searches as well")
    add_smallest(
        parser, contents=2_000, dim=8, listeners=20, heard=10, connections=[1, 2], seconds=0.2, warm_up=0.1, search=True
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.export or synthetic_export(Path(scratch) / "export", arguments)
        rows = list(measure(folder, arguments))
    Console(width=150).print(as_table(rows, arguments))
    sizes = {**vars(arguments), "export": arguments.export and arguments.export.resolve().name}
    write_result(arguments, "serving_http", {"sizes": sizes, "figures": rows})


def synthetic_export(folder: Path, arguments: argparse.Namespace) -> Path:
    """Contents around a thousand centres, titles of three words, an artist for twenty contents."""
    random_state = np.random.default_rng(0)
    centres = random_state.normal(size=(1_000, arguments.dim))
    vectors = centres[random_state.integers(1_000, size=arguments.contents)]
    vectors += random_state.normal(size=vectors.shape)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    titles = random_state.integers(len(WORDS), size=(arguments.contents, 3))
    contents = [
        {"content_id": f"c{row:07}", "kind": "track", "title": " ".join(WORDS[word] for word in words),
         "artist_ids": [f"artist {row % (arguments.contents // 20 or 1)}"], "genres": [GENRES[row % len(GENRES)]]}
        for row, words in enumerate(titles)
    ]  # fmt: skip
    heard = random_state.integers(arguments.contents, size=(arguments.listeners, arguments.heard))
    chosen = {f"u{row:05}": rows for row, rows in enumerate(heard.tolist())}
    index = instantiate(compose("export").index, "index")
    return small_export(folder, contents, vectors, chosen, index).folder


def measure(folder: Path, arguments: argparse.Namespace) -> Iterator[dict]:
    """A row for each kind of request and number of connections."""
    users = list(Export(folder).user_ids)
    paths = {"recommend": [f"/recommend?user={quote(user)}&k={arguments.k}" for user in users]}
    if arguments.search:
        paths["search"] = [f"/search?q={quote(text)}&k={arguments.k}" for text in searched()]
    with served(folder, f"workers={arguments.workers}") as (process, address):
        for name, asked in paths.items():
            for connections in arguments.connections:
                asyncio.run(load(address, asked, connections, arguments.warm_up))
                before, own = cpu_seconds(process), time.process_time()
                started = time.perf_counter()
                taken = asyncio.run(load(address, asked, connections, arguments.seconds))
                wall = time.perf_counter() - started
                yield {
                    "request": name, "connections": connections, "requests": len(taken),
                    "requests_per_s": len(taken) / wall,
                    **{f"p{at}_ms": float(np.percentile(taken, at)) * 1e3 for at in (50, 99)},
                    "server_core_ms": (cpu_seconds(process) - before) / len(taken) * 1e3,
                    "client_core_ms": (time.process_time() - own) / len(taken) * 1e3,
                }  # fmt: skip


def searched() -> list[str]:
    """Returns parts of titles as a user types them."""
    drawn = random.Random(0)
    return [f"{drawn.choice(WORDS)} {drawn.choice(WORDS)[: drawn.randint(1, 4)]}" for _ in range(100)]


async def load(address: str, paths: list[str], connections: int, seconds: float) -> list[float]:
    """Seconds that each request took."""
    until = time.perf_counter() + seconds
    taken: list[float] = []
    await asyncio.gather(*(one_client(address, paths, until, taken, seed) for seed in range(connections)))
    return taken


async def one_client(address: str, paths: list[str], until: float, taken: list[float], seed: int) -> None:
    """Asks one after the other over one connection; a status other than 200 ends the benchmark."""
    drawn, parts = random.Random(seed), urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    while (started := time.perf_counter()) < until:
        writer.write(f"GET {drawn.choice(paths)} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
        taken.append(time.perf_counter() - started)
    writer.close()
    await writer.wait_closed()


def as_table(rows: list[dict], arguments: argparse.Namespace) -> Table:
    over = arguments.export or f"{arguments.contents:,} contents x {arguments.dim}"
    table = Table(title=f"towers serve, {arguments.workers} worker(s), k={arguments.k}, over {over}")
    for column in rows[0]:
        table.add_column(column, justify="left" if column == "request" else "right")
    for row in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    return table


if __name__ == "__main__":
    main()
