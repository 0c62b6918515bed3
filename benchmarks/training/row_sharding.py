"""What do tables with a row a content cost each process, whole or divided by rows: memory, messages, time of a step?

Processes over gloo train the default network (no sound is encoded anew) on a catalogue of `--contents`, ids and sounds
known, `rows=whole` and `rows=divided`. Of each rank stands here what its tables, moments and gradients hold (resident
memory after the steps, less that of the same process after steps on a catalogue of a hundred), what it hands to
collectives in a step, and what of that goes to other ranks where these pass things on in a ring, as NCCL and gloo do:
twice (ranks - 1) / ranks of what is summed, ranks - 1 times what is gathered, and of an all-to-all what is not its own.
Times are by the clock, medians, on however many cores there are for all ranks together.

    OMP_NUM_THREADS=1 python benchmarks/training/row_sharding.py
"""

import argparse
import contextlib
import os
import pickle
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from rich.console import Console
from rich.table import Table
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.forks import run_forks
from benchmarks.measuring import add_smallest, command_line, write_result
from benchmarks.training.audio_memory import make_learner
from benchmarks.training.uniform_histories import micro_batch_of
from towers.batch import TrainingBatch
from towers.data.training_batches import Share, StepContents, Tables
from towers.models.rows import Divided, Whole
from towers.training.objectives.negatives import Uniform
from towers.training.optimizing import adamw, advance, clip_gradients
from towers.training.processes import Processes
from towers.training.step import Learner, accumulate_gradient

KINDS = {"whole": Whole, "divided": Divided}
FEW = 100
"""Contents of the catalogue whose steps come first: what they hold is not of the tables."""


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--contents", type=int, default=400_000, help="of the catalogue, each with a sound")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4], help="processes")
    parser.add_argument("--windows", type=int, default=32, help="histories in a step, of all ranks")
    parser.add_argument("--length", type=int, default=200, help="events of a history")
    parser.add_argument("--negatives", type=int, default=8_192, help="drawn in a step, uniformly")
    parser.add_argument("--steps", type=int, default=5, help="that are measured, after one")
    parser.add_argument("--seed", type=int, default=0)
    add_smallest(parser, contents=200, ranks=[2], windows=4, length=5, negatives=8, steps=1)
    arguments = parser.parse_args()
    rows = [row for kind in KINDS for ranks in arguments.ranks for row in measured(arguments, kind, ranks)]
    Console(width=150).print(as_table(rows, arguments))
    write_result(arguments, "row_sharding", {"sizes": vars(arguments), "figures": rows})


def measured(arguments: argparse.Namespace, kind: str, ranks: int) -> list[dict[str, Any]]:
    """A row a rank."""
    with tempfile.TemporaryDirectory() as folder:
        given = [(arguments, kind, Share(rank=rank, ranks=ranks), Path(folder)) for rank in range(ranks)]
        run_forks(work, given, f"{kind}, {ranks} processes")
        return [pickle.loads((Path(folder) / f"{rank}").read_bytes()) for rank in range(ranks)]


def work(arguments: argparse.Namespace, kind: str, share: Share, folder: Path) -> None:
    """Trains in one process, and measures."""
    torch.set_num_threads(1)
    if share.ranks > 1:
        rendezvous = f"file://{folder}/rendezvous"
        dist.init_process_group("gloo", init_method=rendezvous, rank=share.rank, world_size=share.ranks)
    train(arguments, kind, share, FEW)
    before = resident_bytes()
    found = train(arguments, kind, share, arguments.contents)
    found["resident_bytes"] -= before
    (folder / f"{share.rank}").write_bytes(pickle.dumps(found))
    if dist.is_initialized():
        dist.destroy_process_group()


def train(arguments: argparse.Namespace, kind: str, share: Share, contents: int) -> dict[str, Any]:
    """Some steps on a catalogue of that size."""
    torch.manual_seed(arguments.seed)
    learner = make_learner(contents, KINDS[kind](rank=share.rank, ranks=share.ranks))
    optimizer = adamw(learner, lr=1e-3, id_lr=1e-3, weight_decay=0.0, id_weight_decay=0.0, betas=(0.9, 0.98))
    processes, generator = Processes(share), np.random.default_rng(arguments.seed)
    batches = [make_batch(arguments, learner, contents, share, generator) for _ in range(1 + arguments.steps)]
    seconds, traffic = [], Traffic(share)
    for place, batch in enumerate(batches):
        started = time.perf_counter()
        with traffic if place == 0 else contextlib.nullcontext():
            step(learner, optimizer, batch, processes)
        seconds.append(time.perf_counter() - started)
    return {
        "kind": kind, "ranks": share.ranks, "rank": share.rank, "contents_of_step": len(batches[0].content_rows),
        "resident_bytes": resident_bytes(), "table_bytes": table_bytes(learner, optimizer),
        "seconds": median(seconds[1:]), "messages": dict(traffic.messages), "sent_bytes": dict(traffic.sent_bytes),
    }  # fmt: skip


def step(learner: Learner, optimizer: torch.optim.Optimizer, batch: TrainingBatch, processes: Processes) -> None:
    """Returns the batch as the module takes it."""
    loss, _ = accumulate_gradient(learner, batch, processes, contextlib.nullcontext())
    processes.sum_gradients(learner.parameters())
    norm = clip_gradients(learner.parameters(), 1.0, learner.divided_ids(), processes.sum_)
    advance(optimizer, torch.isfinite(norm) & torch.isfinite(loss), optimizer.step)


def make_batch(
    arguments: argparse.Namespace, learner: Learner, contents: int, share: Share, generator: np.random.Generator
) -> TrainingBatch:
    """Histories of contents drawn uniformly, every event a target; this rank's windows of them."""
    heard = generator.integers(0, contents, (arguments.windows, arguments.length))
    negatives = Uniform(np.ones(contents, np.int64), min(arguments.negatives, contents))
    candidates, log_q = negatives.sample(heard.reshape(-1), generator)
    step_contents = StepContents(np.zeros(contents + 1, np.int32), candidates, heard)
    own = heard[share.rank :: share.ranks]
    tables, nothing = learner.tables(), np.zeros(0, np.int64)
    return TrainingBatch(
        micro_batches=(micro_batch_of(own, step_contents),),
        content_rows=torch.from_numpy(step_contents.rows),
        candidate_log_q=torch.from_numpy(log_q),
        candidate_since_s=torch.zeros(len(candidates), dtype=torch.int32),
        target_rows=torch.from_numpy(heard.reshape(-1)),
        total_weight=torch.tensor(float(heard.size)),
        fresh_index=torch.from_numpy(nothing),
        fresh_spectrograms=torch.zeros(0, 1, 8),
        epoch=0, number=0, batches=1,
        routes=tables.routes(step_contents.rows, nothing, share) if isinstance(tables, Tables) else None,
    )  # fmt: skip


def table_bytes(learner: Learner, optimizer: torch.optim.Optimizer) -> dict[str, int]:
    """Returns the bytes of this rank's part of the tables, by their sizes."""
    weight = learner.two_tower.content_tower._id_delta.weight
    moments = [moment for moment in optimizer.state[weight].values() if moment.dim()]
    parts = {"ids": [weight], "moments": moments, "sounds": [learner.table.state_dict()["_audio_vectors"]]}
    return {name: sum(tensor.nbytes for tensor in tensors) for name, tensors in parts.items()}


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Traffic(TorchDispatchMode):
    """Counts what a rank hands to collectives, and what of it goes to others.

    Args:
        share: of the rank.
    """

    def __init__(self, share: Share):
        super().__init__()
        self._share = share
        self.messages: Counter[str] = Counter()
        self.sent_bytes: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace in ("c10d", "_c10d_functional"):
            self._count(func._schema.name.partition("::")[2].strip("_"), args)
        return func(*args, **(kwargs or {}))

    def _count(self, name: str, args: Any) -> None:
        others, ranks = self._share.ranks - 1, self._share.ranks
        if name == "allreduce":
            sent = 2 * others / ranks * sum(tensor.nbytes for tensor in args[0])
        elif name == "allgather":
            sent = others * sum(tensor.nbytes for tensor in args[1])
        elif name == "all_to_all_single":
            splits = args[2]
            kept = splits[self._share.rank] if sum(splits) else 0
            sent = args[0].nbytes * (sum(splits) - kept) / max(sum(splits), 1)
        elif name in ("wait_tensor", "wrap_tensor_autograd"):  # nothing is sent
            return
        else:
            raise ValueError(f"a collective that is not counted: {name}")
        self.messages[name] += 1
        self.sent_bytes[name] += round(sent)


def as_table(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> Table:
    table = Table(title=f"{arguments.contents:,} contents, {rows[0]['contents_of_step']:,} of them in a step; the rank "
                        "that has most of each")  # fmt: skip
    names = ("rows", "processes", "tables MB", "resident MB", "messages a step", "all-to-all MB", "other MB sent", "s")
    for name in names:
        table.add_column(name, justify="right")
    for kind in KINDS:
        for ranks in arguments.ranks:
            group = [row for row in rows if (row["kind"], row["ranks"]) == (kind, ranks)]
            exchanged = [row["sent_bytes"].get("all_to_all_single", 0) for row in group]
            others = [sum(row["sent_bytes"].values()) - own for row, own in zip(group, exchanged, strict=True)]
            figures = (
                max(sum(row["table_bytes"].values()) for row in group) / 1e6,
                max(row["resident_bytes"] for row in group) / 1e6,
            )
            table.add_row(
                kind, f"{ranks}", *(f"{figure:,.0f}" for figure in figures),
                f"{max(sum(row['messages'].values()) for row in group)}", f"{max(exchanged) / 1e6:.2f}",
                f"{max(others) / 1e6:.2f}", f"{max(row['seconds'] for row in group):.2f}",
            )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
