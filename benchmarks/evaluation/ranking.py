"""How near does full ranking come to the speed of its matrix product?

Blocks of listeners are ranked over the whole catalogue by `VectorRanker`, which gives three lists (everything, unseen,
unseen_cold), and back to back by what else there is: the bare product of the same tiles, numpy's product and
argpartition, faiss' exact search and implicit's `topk`, which give one list each. The product is done twice: on the
threads of BLAS, and on a thread for each part of the listeners, as the ranker does it; the faster of the two is the
ceiling. The share of the ceiling is the median over blocks of a ratio measured within one block, so that whatever else
runs on the machine slows both sides alike. At the end `evaluate` as a whole: lists, default slices, all metrics.

    python benchmarks/evaluation/ranking.py                 # 4,096 listeners, 1,000,000 contents
    python benchmarks/evaluation/ranking.py --full          # 100,000 listeners
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import faiss
import numpy as np
from implicit.cpu.topk import topk as implicit_top_k
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from benchmarks.measuring import add_smallest, command_line, peak_mb, write_result
from towers.contract.schema import KIND_CODES
from towers.evaluation.harness import evaluate
from towers.evaluation.ranking.vectors import PART_SIZE, TILE_SIZE, VectorRanker
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged

FULL_LISTENERS = 100_000
COLD_SHARE = 0.1
CEILINGS = ("product alone, threads of BLAS", "product alone, a thread for a part")
OURS, HARNESS = "VectorRanker", "evaluate"


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--listeners", type=int, default=4096)
    parser.add_argument("--contents", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--heard", type=int, default=100, help="contents in each history")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer-blocks", type=int, default=4, help="blocks that the peers rank too")
    parser.add_argument("--full", action="store_true", help=f"{FULL_LISTENERS} listeners")
    add_smallest(parser, listeners=8, contents=500, dim=8, k=5, heard=5, peer_blocks=1)
    arguments = parser.parse_args()
    if arguments.full:
        arguments.listeners = FULL_LISTENERS
    task, users, contents = world(arguments)
    data_mb = peak_mb()
    ranker = VectorRanker(task, OURS, users, contents)
    ranker.rank(np.arange(min(ranker.block_size, arguments.listeners)), arguments.k)
    memory = {"data_mb": data_mb, "with_ranker_mb": peak_mb(), "vectors_mb": (users.nbytes + contents.nbytes) / 1e6}
    seconds = time_blocks(arguments, task, ranker, users, contents)
    seconds[HARNESS] = [time_harness(arguments, task, ranker)]
    ceiling = [min(times) for times in zip(*(seconds[name] for name in CEILINGS), strict=True)]
    rows = [figures(arguments, name, times, ceiling) for name, times in seconds.items()]
    Console(width=150).print(as_table(rows, arguments))
    print(f"peak memory: {memory['data_mb']:.0f} MB with the data, {memory['with_ranker_mb']:.0f} MB with the ranker")
    write_result(arguments, "ranking", {"sizes": vars(arguments), "memory": memory, "figures": rows})


def world(arguments: argparse.Namespace) -> tuple[EvaluationTask, np.ndarray, np.ndarray]:
    """Random unit vectors; histories and targets drawn uniformly."""
    generator = np.random.default_rng(arguments.seed)
    users, contents = (
        generator.standard_normal((size, arguments.dim), dtype=np.float32)
        for size in (arguments.listeners, arguments.contents)
    )
    for vectors in (users, contents):
        vectors /= np.sqrt(np.einsum("rd,rd->r", vectors, vectors))[:, None]
    num_users, num_contents = arguments.listeners, arguments.contents
    task = EvaluationTask(
        user_rows=np.arange(num_users),
        histories=drawn(generator, num_users, arguments.heard, num_contents),
        targets=drawn(generator, num_users, 10, num_contents),
        is_candidate=np.ones(num_contents, dtype=bool),
        is_cold=generator.random(num_contents) < COLD_SHARE,
        train_counts=generator.geometric(0.01, size=num_contents),
        kind_codes=np.full(num_contents, KIND_CODES["track"]),
        is_cold_user=generator.random(num_users) < COLD_SHARE,
    )
    return task, users, contents


def drawn(generator: np.random.Generator, lists: int, length: int, num_contents: int) -> Ragged:
    values = generator.integers(num_contents, size=lists * length, dtype=np.int32)
    return Ragged(np.arange(lists + 1) * length, values)


def time_blocks(
    arguments: argparse.Namespace, task: EvaluationTask, ranker: VectorRanker, users: np.ndarray, contents: np.ndarray
) -> dict[str, list[float]]:
    """Seconds of each block by who ranked it; of the peers for the first blocks alone."""
    peers: dict[str, Callable[[np.ndarray], object]] = {
        "numpy product and argpartition": lambda block: argpartition_top_k(users[block], contents, arguments.k),
        "faiss knn": lambda block: faiss.knn(users[block], contents, arguments.k, metric=faiss.METRIC_INNER_PRODUCT),
        "implicit topk, without what was heard": lambda block: implicit_top_k(
            contents, users[block], arguments.k, filter_query_items=heard_matrix(task, block)
        ),
    }
    both: dict[str, Callable[[np.ndarray], object]] = {
        CEILINGS[0]: lambda block: product_alone(users[block], contents),
        CEILINGS[1]: lambda block: product_by_parts(users[block], contents),
        OURS: lambda block: ranker.rank(block, arguments.k),
    }
    seconds: dict[str, list[float]] = {name: [] for name in both | peers}
    for at, start in enumerate(range(0, arguments.listeners, ranker.block_size)):
        block = np.arange(start, min(start + ranker.block_size, arguments.listeners))
        for name, run in (both | peers if at < arguments.peer_blocks else both).items():
            seconds[name].append(timed(run, block) / len(block))
    return seconds


def time_harness(arguments: argparse.Namespace, task: EvaluationTask, ranker: VectorRanker) -> float:
    """Seconds a listener of the whole evaluation."""
    return timed(lambda _: evaluate(task, ranker, filter_seen=False), np.arange(0)) / arguments.listeners


def timed(run: Callable[[np.ndarray], object], block: np.ndarray) -> float:
    started = time.perf_counter()
    run(block)
    return time.perf_counter() - started


def product_alone(users: np.ndarray, contents: np.ndarray) -> None:
    scores = np.empty((len(users), TILE_SIZE), dtype=np.float32)
    for start in range(0, len(contents), TILE_SIZE):
        tile = contents[start : start + TILE_SIZE]
        np.matmul(users, tile.T, out=scores[:, : len(tile)])


def product_by_parts(users: np.ndarray, contents: np.ndarray) -> None:
    parts = [users[start : start + PART_SIZE] for start in range(0, len(users), PART_SIZE)]
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(lambda part: product_alone(part, contents), parts))


def argpartition_top_k(users: np.ndarray, contents: np.ndarray, k: int) -> list[np.ndarray]:
    found = []
    for start in range(0, len(users), 64):  # more at a time would fill the memory
        scores = users[start : start + 64] @ contents.T
        best = np.argpartition(scores, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        found.append(np.take_along_axis(best, order, axis=1))
    return found


def heard_matrix(task: EvaluationTask, block: np.ndarray) -> csr_matrix:
    heard = task.histories.take(block)
    ones = np.ones(len(heard.values), dtype=np.float32)
    return csr_matrix((ones, heard.values, heard.offsets), shape=(len(block), task.num_contents))


def figures(arguments: argparse.Namespace, name: str, times: list[float], ceiling: list[float]) -> dict:
    """Speed, and the median of its ratio to the ceiling in the same block (`evaluate`: to the median ceiling)."""
    flop = 2 * arguments.contents * arguments.dim
    paired = ceiling[: len(times)] if name != HARNESS else [median(ceiling)]
    return {
        "name": name,
        "gflop_per_s": flop / median(times) / 1e9,
        "share_of_ceiling": median(product / own for product, own in zip(paired, times, strict=True)),
        "blocks": len(times),
        "ms_per_listener": 1000 * median(times),
        "hours_for_100000_listeners": FULL_LISTENERS * median(times) / 3600,
    }


def as_table(rows: list[dict], arguments: argparse.Namespace) -> Table:
    table = Table(title=f"{arguments.contents:,} contents, {arguments.dim} dimensions, k = {arguments.k}")
    for name in ("", "GFLOP/s", "share of the ceiling", "blocks", "ms a listener", "minutes for 100,000 listeners"):
        table.add_column(name, justify="left" if not name else "right")
    for row in rows:
        table.add_row(
            row["name"],
            f"{row['gflop_per_s']:.1f}",
            f"{row['share_of_ceiling']:.2f}",
            str(row["blocks"]),
            f"{row['ms_per_listener']:.2f}",
            f"{60 * row['hours_for_100000_listeners']:.1f}",
        )
    return table


if __name__ == "__main__":
    main()
