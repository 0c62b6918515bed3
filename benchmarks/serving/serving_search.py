"""How many queries a second does one core answer, at which recall, beside hnswlib and Voyager in the same run?

For each method the least effort is looked for that finds .99 of the exact nearest 10 (cells for Towers and FAISS, `ef`
for the graphs). Then all of them take turns, one query at a time and in batches of 256. A second is one of processor
time on one thread (`time.process_time`), since other work may share the cores; graphs and indexes are built by all.
Peers hold their vectors in memory; Towers maps its files.

The worlds, seeds fixed, are those of `search_worlds.py`.

    pip install -r benchmarks/peers/search.txt
    python benchmarks/serving/serving_search.py  # 1,000,000 contents; graphs are kept
    python benchmarks/serving/serving_search.py --world clustered --contents 50000
    python benchmarks/serving/serving_search.py --only build --contents 10000000     # time and peak memory of a build
    python benchmarks/serving/serving_search.py --only share  # memory of ten processes with one index
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import faiss
import numpy as np
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.measuring import add_smallest, command_line, write_result
from benchmarks.serving.search_worlds import clustered, nonlinear
from towers.publishing.index import IvfSettings
from towers.retrieval.index import ExactIndex, FaissIndex, share_found
from towers.retrieval.inverted import InvertedIndex

SPACE = "benchmark"
K, BATCH, TARGET = 10, 256, 0.99
SINGLE = 300  # queries asked one at a time in a round
ROUNDS = 3
EXACT_QUERIES = 64
GROWTH = 1.15
SETTINGS = {"num_lists": 2048, "num_probes": 8, "min_recall": TARGET, "most_scanned": 512}  # as configs/index/ivf.yaml

Search = Callable[[np.ndarray], np.ndarray]


@dataclass
class Method:
    """Something that finds the nearest.

    Args:
        name: in the table.
        search: queries -> rows.
        set_effort: what `search` then goes by; not timed.
        effort: the least there is; searched upwards.
        build_s: wall seconds of the build, on both cores.
        size_mb: of its files, the vectors aside where it reads them as they are.
    """

    name: str
    search: Search
    set_effort: Callable[[int], None]
    effort: int
    build_s: float
    size_mb: float


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--world", choices=("nonlinear", "clustered"), default="nonlinear")
    parser.add_argument("--contents", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--work", type=Path, default=Path("/tmp/serving_search"), help="vectors and built indexes")
    parser.add_argument("--only", choices=("search", "build", "share"), default="search")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="hnswlib and Voyager too")
    parser.add_argument("--reader", type=Path, help=argparse.SUPPRESS)  # a process of `share`
    add_smallest(parser, contents=2_000, dim=8, queries=20, peers=False)
    arguments = parser.parse_args()
    if arguments.reader:
        read(arguments.reader)
        return
    folder = arguments.work / f"{arguments.world}-{arguments.contents}-{arguments.dim}"
    folder.mkdir(parents=True, exist_ok=True)
    vectors, asked = world(arguments, folder)
    run = {"search": time_search, "build": time_build, "share": measure_share}[arguments.only]
    figures = run(vectors, asked, folder, arguments)
    name = f"serving_search-{arguments.only}-{arguments.world}-{arguments.contents}"
    sizes = {key: getattr(arguments, key) for key in ("world", "contents", "dim", "queries")}
    write_result(arguments, name, {"sizes": sizes, "figures": figures})


def world(arguments: argparse.Namespace, folder: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """`[contents, dim]`, memory-mapped, and queries by what they are; made once."""
    path = folder / "content_vectors.npy"
    make = nonlinear if arguments.world == "nonlinear" else clustered
    blocks, asked = make(arguments.contents, arguments.queries, arguments.dim)
    if not path.exists():
        partial = folder / "partial.npy"
        shape = (arguments.contents, arguments.dim)
        written = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
        start = 0
        for block in blocks:
            written[start : start + len(block)] = block
            start += len(block)
        del written
        partial.rename(path)
    return np.load(path, mmap_mode="r"), asked


def time_search(
    vectors: np.ndarray, asked: dict[str, np.ndarray], folder: Path, arguments: argparse.Namespace
) -> list[dict]:
    builders = (towers, inverted, *((hnswlib_graph, voyager_graph) if arguments.peers else ()))
    methods = [build(vectors, folder) for build in builders]
    rows = []
    with threadpool_limits(1):
        for name, queries in asked.items():
            expected, _ = faiss.knn(queries, vectors, K, metric=faiss.METRIC_INNER_PRODUCT)[::-1]
            found = [least_effort(method, queries, expected) for method in methods]
            rows += timed(name, methods, found, queries)
            rows += exact(name, vectors, queries)
            Console(width=150).print(as_table([row for row in rows if row["asked"] == name]))
    return rows


def least_effort(method: Method, queries: np.ndarray, expected: np.ndarray) -> tuple[int, float]:
    """The first of a growing series that reaches the target, and the recall there; or the last one tried."""
    effort = method.effort
    while True:
        method.set_effort(effort)
        recall = share_found(expected, method.search(queries))
        if recall >= TARGET or effort >= 2048:
            return effort, recall
        effort = max(effort + 1, int(effort * GROWTH))


def timed(asked: str, methods: list[Method], found: list[tuple[int, float]], queries: np.ndarray) -> list[dict]:
    """Medians of rounds in which the methods take turns."""
    speeds: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for method, (effort, _) in zip(methods, found, strict=True):
            method.set_effort(effort)
            for batch, some in ((1, queries[:SINGLE]), (BATCH, queries)):
                speed = queries_a_second(method.search, some, batch)
                speeds.setdefault((method.name, batch), []).append(speed)
    return [
        {"asked": asked, "name": method.name, "effort": effort, "recall": recall,
         "single": median(speeds[method.name, 1]), "batch": median(speeds[method.name, BATCH]),
         "build_s": method.build_s, "size_mb": method.size_mb}
        for method, (effort, recall) in zip(methods, found, strict=True)
    ]  # fmt: skip


def exact(asked: str, vectors: np.ndarray, queries: np.ndarray) -> list[dict]:
    """Does the same as `timed` for all inner products, in batches of 64."""
    index = ExactIndex(vectors)
    ways: dict[str, Search] = {
        "exact: Towers": lambda block: index.search(block, K)[0],
        "exact: FAISS": lambda block: faiss.knn(block, vectors, K, metric=faiss.METRIC_INNER_PRODUCT)[1],
        "exact: numpy": lambda block: np.argpartition(block @ vectors.T, -K, axis=1)[:, -K:],
    }
    speeds: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            for batch, some in ((1, queries[:16]), (EXACT_QUERIES, queries[:EXACT_QUERIES])):
                speeds.setdefault((name, batch), []).append(queries_a_second(way, some, batch))
    return [
        {"asked": asked, "name": name, "effort": 0, "recall": 1.0, "build_s": 0.0, "size_mb": 0.0,
         "single": median(speeds[name, 1]), "batch": median(speeds[name, EXACT_QUERIES])}
        for name in ways
    ]  # fmt: skip


def queries_a_second(search: Search, queries: np.ndarray, batch: int) -> float:
    started = time.process_time()
    for start in range(0, len(queries), batch):
        search(queries[start : start + batch])
    return len(queries) / (time.process_time() - started)


def once(path: Path, build: Callable[[], None]) -> float:
    """Wall seconds of `build`, which makes `path`; remembered beside it."""
    note = path.with_name(path.name + ".seconds")
    if not note.exists():
        started = time.perf_counter()
        build()
        note.write_text(f"{time.perf_counter() - started}")
    return float(note.read_text())


def megabytes(path: Path) -> float:
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files) / 1e6


def towers(vectors: np.ndarray, folder: Path) -> Method:
    path = folder / "index"
    seconds = once(path, lambda: IvfSettings(min_contents=0, **SETTINGS).build(vectors, path, SPACE))
    index = FaissIndex(path, SPACE, vectors).searched
    assert isinstance(index, InvertedIndex)

    def search(queries: np.ndarray) -> np.ndarray:
        return index.search(queries, K)[0]

    def set_effort(effort: int) -> None:
        index.num_probes = effort

    return Method("Towers", search, set_effort, 1, seconds, megabytes(path))


def inverted(vectors: np.ndarray, folder: Path) -> Method:
    path = folder / "inverted.faiss"

    def build() -> None:
        index = faiss.index_factory(vectors.shape[1], "IVF1024,Flat", faiss.METRIC_INNER_PRODUCT)
        index.train(np.ascontiguousarray(vectors[:: max(1, len(vectors) // 65_536)]))
        index.add(np.ascontiguousarray(vectors))
        faiss.write_index(index, str(path))

    seconds = once(path, build)
    index = faiss.read_index(str(path))  # into memory, as the graphs are: mapped, it starts threads for each query

    def search(queries: np.ndarray) -> np.ndarray:
        return index.search(queries, K)[1]

    def set_effort(effort: int) -> None:
        index.nprobe = effort

    return Method("FAISS IVF1024,Flat", search, set_effort, 1, seconds, megabytes(path))


def hnswlib_graph(vectors: np.ndarray, folder: Path) -> Method:
    import hnswlib

    path = folder / "hnswlib.bin"

    def build() -> None:
        index = hnswlib.Index("ip", vectors.shape[1])
        index.init_index(len(vectors), M=16, ef_construction=200, random_seed=0)
        index.add_items(np.array(vectors), num_threads=os.cpu_count())
        index.save_index(str(path))

    seconds = once(path, build)
    index = hnswlib.Index("ip", vectors.shape[1])
    index.load_index(str(path))

    def search(queries: np.ndarray) -> np.ndarray:
        return index.knn_query(queries, K, num_threads=1)[0]

    return Method("hnswlib M=16", search, index.set_ef, K, seconds, megabytes(path))


def voyager_graph(vectors: np.ndarray, folder: Path) -> Method:
    import voyager

    path = folder / "voyager.voy"

    def build() -> None:
        index = voyager.Index(voyager.Space.InnerProduct, vectors.shape[1], M=16, ef_construction=200)
        index.add_items(np.array(vectors), num_threads=os.cpu_count())
        index.save(str(path))

    seconds = once(path, build)
    index = voyager.Index.load(str(path))

    def search(queries: np.ndarray) -> np.ndarray:
        return index.query(queries, K, num_threads=1)[0].astype(np.int64)

    def set_effort(effort: int) -> None:
        index.ef = effort

    return Method("Voyager M=16", search, set_effort, K, seconds, megabytes(path))


def time_build(vectors: np.ndarray, asked: dict[str, np.ndarray], folder: Path, arguments: argparse.Namespace) -> dict:
    """A build from a mapped array. What counts is memory of its own: the mapped pages go when others need the room."""
    before, started, used = own_mb(), time.perf_counter(), time.process_time()
    peaks, is_done = [before], threading.Event()

    def watch() -> None:
        while not is_done.wait(0.05):
            peaks.append(max(peaks.pop(), own_mb()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    IvfSettings(min_contents=0, **SETTINGS).build(vectors, folder / "index", SPACE)
    is_done.set()
    watcher.join()
    figures = {
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - used,
        "own_mb_before": before,
        "own_mb_peak": peaks[0],
        "resident_mb_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "size_mb": megabytes(folder / "index"),
        "effort": json.loads((folder / "index" / "effort.json").read_text()),
    }
    print(json.dumps(figures, indent=2))
    return figures


def own_mb() -> float:
    """Memory of this process that no file stands behind, now; Linux counts in kilobytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024


def measure_share(
    vectors: np.ndarray, asked: dict[str, np.ndarray], folder: Path, arguments: argparse.Namespace
) -> dict:
    """Proportional set size of one reader, and of ten at once, after 300 queries each."""
    towers(vectors, folder)
    np.save(folder / "asked.npy", next(iter(asked.values()))[:SINGLE])
    figures = {str(count): readers(folder, count) for count in (1, 10)}
    for count, sizes in figures.items():
        print(f"{count} processes: {sum(sizes):.0f} MB in all")
    return figures


def readers(folder: Path, count: int) -> list[float]:
    command = [sys.executable, __file__, "--reader", str(folder)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(count)]
    for process in processes:
        assert process.stdout
        process.stdout.readline()  # all have asked before any is measured
    sizes = []
    for process in processes:
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        sizes.append(next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) / 1024)
    for process in processes:
        process.communicate(b"\n")
    return sizes


def read(folder: Path) -> None:
    index = FaissIndex(folder / "index", SPACE)
    for query in np.load(folder / "asked.npy"):
        index.search(query[None], K)
    print("asked", flush=True)
    sys.stdin.readline()


def as_table(rows: list[dict]) -> Table:
    table = Table(title=f"asked: {rows[0]['asked']}")
    for name in ("", "effort", "recall@10", "queries/s, single", f"queries/s, batches of {BATCH}", "build s", "MB"):
        table.add_column(name, justify="left" if not name else "right")
    for row in rows:
        table.add_row(
            row["name"], str(row["effort"]), f"{row['recall']:.4f}", f"{row['single']:,.0f}", f"{row['batch']:,.0f}",
            f"{row['build_s']:.0f}", f"{row['size_mb']:.0f}",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
