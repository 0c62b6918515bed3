"""How near does the exact softmax in chunks come to the speed of its matrix products, and what memory does it add?

A step is value and gradients, for states and contents. Its products are three: logits, and the gradient of either side.
The ceiling is a float32 product of large square matrices; ceiling, ours and torch's `cross_entropy` (where its logits
fit) alternate in one run. Times are core-seconds (user and system), medians. The largest catalogue runs once, in a
process of its own, whose peak of memory before the step and after it says what the step adds.

    OMP_NUM_THREADS=1 python benchmarks/training/softmax.py
"""

import argparse
import json
from collections.abc import Callable
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.apart import output_of
from benchmarks.measuring import add_smallest, command_line, peak_mb, timed, write_result
from towers.training.objectives.softmax_loss import Competition, SoftmaxLoss

TEMPERATURE = 0.07
OURS, PLAIN, CEILING = "in chunks", "cross_entropy", "square product"
SIZES = ((3_416, 64, (OURS, PLAIN)), (10_000, 128, (OURS, PLAIN)), (100_000, 128, (OURS,)))
"""Contents, dimensions, and what is measured there."""


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--targets", type=int, default=8_192)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--largest", type=int, default=1_000_000, help="contents of the largest catalogue")
    parser.add_argument("--dim", type=int, default=128, help="dimensions of the largest catalogue")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--square", type=int, default=2_048, help="rows of the matrices of the ceiling")
    parser.set_defaults(sizes=SIZES)
    parser.add_argument("--only-largest", action="store_true", help="one step there; prints seconds and memory as JSON")
    add_smallest(parser, targets=64, repetitions=1, largest=500, dim=8, square=64, sizes=[(200, 8, (OURS, PLAIN))])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.only_largest:
        print(json.dumps(largest_step(arguments)))
        return
    rows, ceilings = [], []
    for contents, dim, names in arguments.sizes:
        seconds = alternate(arguments, contents, dim, names)
        ceilings += [2 * arguments.square**3 / 1e9 / taken for taken in seconds.pop(CEILING)]
        rows += [{"name": name, "contents": contents, "dim": dim, "seconds": median(s)} for name, s in seconds.items()]
    largest = run_largest(arguments)
    rows.append({"name": OURS, "contents": arguments.largest, "dim": arguments.dim, "seconds": largest["seconds"]})
    rows = [row | figures(arguments.targets, row, median(ceilings)) for row in rows]
    Console(width=140).print(as_table(rows, arguments.targets))
    print(
        f"ceiling {median(ceilings):.0f} GFLOP/s; {largest['added_mb']:.0f} MB added by a step of the largest catalogue"
    )
    write_result(
        arguments, "softmax",
        {"sizes": vars(arguments), "ceiling_gflop_per_s": median(ceilings), "largest": largest, "figures": rows},
    )  # fmt: skip


def alternate(arguments: argparse.Namespace, contents: int, dim: int, names: tuple[str, ...]) -> dict[str, list[float]]:
    """Seconds by name, one repetition of each after the other; the first round warms up."""
    states, vectors, target = world(arguments, contents, dim)
    square = torch.randn(arguments.square, arguments.square)
    runs: dict[str, Callable[[], object]] = {
        OURS: lambda: step_in_chunks(states, vectors, target),
        PLAIN: lambda: cross_entropy(states @ vectors.T, target, reduction="sum").backward(),
        CEILING: lambda: square @ square,
    }
    seconds: dict[str, list[float]] = {name: [] for name in (*names, CEILING)}
    for _ in range(1 + arguments.repetitions):
        for name, taken in seconds.items():
            states.grad = vectors.grad = None
            taken.append(timed(runs[name])[1])
    return {name: taken[1:] for name, taken in seconds.items()}


def world(arguments: argparse.Namespace, contents: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """States over the temperature, and contents: random unit vectors; targets drawn uniformly.

    Normalised in place, so that memory is never higher than what is handed back.
    """
    generator = torch.Generator().manual_seed(arguments.seed)
    states, vectors = (torch.randn(size, dim, generator=generator) for size in (arguments.targets, contents))
    for tensor in (states, vectors):
        tensor.div_(tensor.norm(dim=1, keepdim=True))
    target = torch.randint(0, contents, (arguments.targets,), generator=generator)
    return states.div_(TEMPERATURE).requires_grad_(), vectors.requires_grad_(), target


def step_in_chunks(states: Tensor, vectors: Tensor, target: Tensor) -> None:
    competition = Competition(num_candidates=len(vectors), target=target, weight=torch.ones(len(target)))
    SoftmaxLoss.apply(states, vectors, competition).backward()


def largest_step(arguments: argparse.Namespace) -> dict[str, float]:
    """Runs one step of the largest catalogue; a small one first, so that libraries are loaded."""
    step_in_chunks(*world(arguments, 1_000, arguments.dim))
    states, vectors, target = world(arguments, arguments.largest, arguments.dim)
    before = peak_mb()
    _, seconds = timed(lambda: step_in_chunks(states, vectors, target))
    return {"seconds": seconds, "before_mb": before, "added_mb": peak_mb() - before}


def run_largest(arguments: argparse.Namespace) -> dict[str, float]:
    keywords = [f"--{name}={getattr(arguments, name)}" for name in ("targets", "largest", "dim", "threads", "seed")]
    return json.loads(output_of([__file__, "--only-largest", *keywords]))


def figures(targets: int, row: dict, ceiling: float) -> dict:
    entries = targets * row["contents"]
    gflop_per_s = 6 * entries * row["dim"] / row["seconds"] / 1e9
    return {
        "gflop_per_s": gflop_per_s,
        "share_of_ceiling": gflop_per_s / ceiling,
        "ns_per_target_content": 1e9 * row["seconds"] / entries,
    }


def as_table(rows: list[dict], targets: int) -> Table:
    table = Table(title=f"exact softmax, {targets:,} targets, value and gradients")
    for name in (
        "",
        "contents",
        "dimensions",
        "core-seconds",
        "GFLOP/s",
        "share of the ceiling",
        "ns a target-content",
    ):
        table.add_column(name, justify="right" if name else "left")
    for row in rows:
        table.add_row(
            row["name"], f"{row['contents']:,}", f"{row['dim']}", f"{row['seconds']:.3f}",
            f"{row['gflop_per_s']:.1f}", f"{row['share_of_ceiling']:.2f}", f"{row['ns_per_target_content']:.2f}",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
