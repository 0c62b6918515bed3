"""How long does it take to encode a listener, from their events to a vector, on one core?

Listeners have 200 events each. The exported user tower runs in ONNX Runtime with one thread, in float32 and as its
variants, with everything that serving does (codes of the events, vectors of the contents); torch's eager module runs
with the same weights, on tensors that are ready. All take turns, one listener after the other, in one run. Times are
wall-clock milliseconds, medians and 99th percentiles, and beside them the processor's. With a finished run (`--run`):
its weights, contents, and first listeners with as many events; else random ones, of which an overlap says nothing.

    OMP_NUM_THREADS=1 python benchmarks/serving/user_encoding.py --run runs/catalogue/SIGNATURE
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from towers.assembly.run import load_run
from towers.contract import schema
from towers.features.events import elapsed_since_previous, encode_events
from towers.models.user_tower import UserTower
from towers.publishing.onnx.parity import events_of
from towers.publishing.onnx.towers import export_user_tower
from towers.publishing.onnx.variants import write_variants
from towers.retrieval.encoders import Events, UserEncoder

FLOAT32, EAGER, SPACE = "float32", "torch eager, network alone", "benchmark"
VARIANTS = ("int8", "float16")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A tower, what it reads of contents, and listeners."""

    user_tower: UserTower
    vectors: np.ndarray
    listeners: list[Events]
    user_codes: np.ndarray


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--run", type=Path, help="folder of a finished run; random weights without")
    parser.add_argument("--stores", type=Path, default=Path("stores"), help="where the run's store stands")
    parser.add_argument("--length", type=int, default=200, help="events of a listener")
    parser.add_argument("--listeners", type=int, default=200)
    parser.add_argument("--repetitions", type=int, default=5, help="rounds over all listeners")
    parser.add_argument("--contents", type=int, default=10_000, help="of random ones")
    parser.add_argument("--dim", type=int, default=64, help="of random ones")
    parser.add_argument("--layers", type=int, default=2, help="of random ones")
    add_smallest(parser, length=5, listeners=2, repetitions=1, contents=100, dim=8, layers=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    world = random_world(arguments) if arguments.run is None else world_of(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(world, arguments, Path(folder))
    Console(width=120).print(as_table(rows, arguments))
    sizes = {name: value for name, value in vars(arguments).items() if name not in ("run", "stores")}
    sizes["run"] = None if arguments.run is None else arguments.run.name
    write_result(arguments, "user_encoding", {"sizes": sizes, "figures": rows})


def random_world(arguments: argparse.Namespace) -> World:
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    vectors = random.normal(size=(arguments.contents, arguments.dim)).astype(np.float32)
    tower = UserTower((), 8, arguments.dim, arguments.dim, arguments.layers, num_heads=2, dropout=0.0).eval()
    shape = (arguments.listeners, arguments.length)
    return World(
        user_tower=tower,
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        listeners=[
            Events(
                content_row=random.integers(0, len(vectors), shape[1]),
                action=np.full(shape[1], schema.PLAY),
                timestamp_us=np.cumsum(random.integers(0, 10**10, shape[1])),
                played_fraction=random.random(shape[1]).astype(np.float32),
                context=random.integers(0, 8, shape[1]),
                is_positive=np.ones(shape[1], bool),
            )
            for _ in range(shape[0])
        ],
        user_codes=np.zeros((shape[0], 0), np.int64),
    )


def world_of(arguments: argparse.Namespace) -> World:
    run = load_run(arguments.run, arguments.stores)
    lengths = np.diff(run.store.histories.offsets)
    rows = np.flatnonzero(lengths >= arguments.length)[: arguments.listeners]
    if not len(rows):
        raise SystemExit(f"no listener has {arguments.length} events")
    return World(
        user_tower=run.two_tower.user_tower.cpu(),
        vectors=run.content_vectors(),
        listeners=[events_of(run.store, row) for row in rows.tolist()],
        user_codes=np.asarray(run.store.user_codes[rows], np.int64),
    )


def measured(world: World, arguments: argparse.Namespace, folder: Path) -> list[dict]:
    path = folder / "user_tower.onnx"
    export_user_tower(world.user_tower, world.vectors.shape[1], world.user_codes.shape[1], path, SPACE)

    def encoder(path: Path) -> UserEncoder:
        return UserEncoder(path, world.vectors, SPACE, arguments.length, True, threads=1)

    def encode(path: Path) -> np.ndarray:
        opened = encoder(path)
        return np.stack([opened.encode(*listener) for listener in zip(world.listeners, world.user_codes, strict=True)])

    variants = {variant.name: variant for variant in write_variants(path, VARIANTS, encode, world.vectors, 0.0)}
    opened = {FLOAT32: encoder(path)} | {name: encoder(folder / str(each.file)) for name, each in variants.items()}
    ready = [tensors(world, place, arguments.length) for place in range(len(world.listeners))]

    def eager(place: int) -> torch.Tensor:
        with torch.inference_mode():
            return world.user_tower.states_at(*ready[place], torch.tensor([arguments.length]), None)

    runs: dict[str, Callable[[int], object]] = {
        name: lambda place, each=each: each.encode(world.listeners[place], world.user_codes[place])
        for name, each in opened.items()
    }
    taken = alternate({**runs, EAGER: eager}, len(world.listeners), arguments.repetitions)
    expected = np.stack([eager(place).numpy()[0] for place in range(len(world.listeners))])
    sizes = {FLOAT32: path.stat().st_size} | {name: each.size_bytes for name, each in variants.items()}
    return [
        {"name": name, "p50_ms": float(np.percentile(wall, 50)), "p99_ms": float(np.percentile(wall, 99)),
         "core_p50_ms": float(np.percentile(core, 50)), "core_p99_ms": float(np.percentile(core, 99)),
         "size_bytes": sizes.get(name),
         "overlap@20": variants[name].overlap if name in variants else 1.0,
         "largest_difference": difference(opened[name], world, expected) if name in opened else 0.0}
        for name, (wall, core) in taken.items()
    ]  # fmt: skip


def tensors(world: World, place: int, length: int) -> tuple[torch.Tensor, ...]:
    """Returns what the module reads of a listener."""
    events, last = world.listeners[place], slice(-length, None)
    codes = encode_events(
        action=events.action, elapsed_us=elapsed_since_previous(events.timestamp_us),
        played_fraction=events.played_fraction, context=events.context,
    )  # fmt: skip
    rows = events.content_row[last]
    vectors = np.where((rows >= 0)[:, None], world.vectors[np.maximum(rows, 0)], 0)
    columns = [getattr(codes, name)[last] for name in ("action", "elapsed", "played", "context")]
    arrays = (vectors, *columns, world.user_codes[place])
    return tuple(torch.from_numpy(np.ascontiguousarray(array))[None] for array in arrays)


def alternate(
    runs: dict[str, Callable[[int], object]], listeners: int, repetitions: int
) -> dict[str, tuple[list[float], list[float]]]:
    """Wall-clock and processor's milliseconds by name; the first round warms up."""
    taken: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in runs}
    for round_ in range(1 + repetitions):
        for place in range(listeners):
            for name, run in runs.items():
                core, wall = time.process_time(), time.perf_counter()
                run(place)
                if round_:
                    taken[name][0].append(1_000 * (time.perf_counter() - wall))
                    taken[name][1].append(1_000 * (time.process_time() - core))
    return taken


def difference(encoder: UserEncoder, world: World, expected: np.ndarray) -> float:
    found = [encoder.encode(*listener) for listener in zip(world.listeners, world.user_codes, strict=True)]
    return float(np.abs(np.stack(found) - expected).max())


def as_table(rows: list[dict], arguments: argparse.Namespace) -> Table:
    table = Table(title=f"encoding a listener of {arguments.length} events, one thread")
    for name in ("", "p50 ms", "p99 ms", "core p50 ms", "core p99 ms", "kB", "overlap@20", "largest difference"):
        table.add_column(name, justify="right" if name else "left")
    for row in rows:
        figures = (f"{row[name]:.2f}" for name in ("p50_ms", "p99_ms", "core_p50_ms", "core_p99_ms"))
        size = "" if row["size_bytes"] is None else f"{row['size_bytes'] / 1_000:.0f}"
        table.add_row(row["name"], *figures, size, f"{row['overlap@20']:.4f}", f"{row['largest_difference']:.1e}")
    return table


if __name__ == "__main__":
    main()
