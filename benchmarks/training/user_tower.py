"""How near does a step of the user tower come to the speed of its matrix products, and do bf16 and compiling pay?

A step is the states at all events, forward and backward, with dropout, to the weights and to the contents' vectors.
Counted are the products of the matrices and of attention, its causal half alone, backward twice forward. The ceiling is
a float32 product of large square matrices; all variants and the ceiling alternate in one run. Times are core-seconds
(user and system), medians.

    OMP_NUM_THREADS=1 python benchmarks/training/user_tower.py
    OMP_NUM_THREADS=1 python benchmarks/training/user_tower.py --block ligr --profile
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.measuring import add_smallest, command_line, write_result
from towers.features.events import NUM_ACTIONS, NUM_ELAPSED_BUCKETS, NUM_PLAYED_BUCKETS
from towers.models.blocks import LiGRBlock, SASRecBlock, SwiGLUBlock
from towers.models.user_tower import UserTower

SHAPES = ((40, 200), (128, 50))
"""Listeners and events of each."""
BLOCKS = {
    "swiglu": partial(SwiGLUBlock, expansion=2),
    "ligr": partial(LiGRBlock, expansion=2),
    "sasrec": partial(SASRecBlock, expansion=1, activation="relu"),
}
EAGER, COMPILED, BF16, CEILING = "eager", "compiled", "eager, bf16", "square product"


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--block", choices=BLOCKS, default="swiglu")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--window", type=int, default=None, help="events; all without it")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--square", type=int, default=2_048, help="rows of the matrices of the ceiling")
    parser.set_defaults(shapes=SHAPES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-compile", action="store_true", help="leave the compiled variant out")
    parser.add_argument("--profile", action="store_true", help="also print where the time of the eager step goes")
    add_smallest(parser, dim=8, layers=1, repetitions=1, no_compile=True, square=64, shapes=[(2, 5)])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [row for shape in arguments.shapes for row in measure(arguments, *shape)]
    Console(width=150).print(as_table(rows, arguments))
    write_result(arguments, "user_tower", {"sizes": vars(arguments), "figures": rows})


def make_tower(arguments: argparse.Namespace) -> UserTower:
    torch.manual_seed(0)
    return UserTower(
        user_vocabulary_sizes=(), num_contexts=1, content_dim=arguments.dim, dim=arguments.dim,
        num_layers=arguments.layers, num_heads=arguments.heads, dropout=arguments.dropout, window=arguments.window,
        block=BLOCKS[arguments.block],
    )  # fmt: skip


def make_histories(batch: int, length: int, dim: int) -> tuple[Tensor, ...]:
    """Returns the arguments of the tower."""
    generator = torch.Generator().manual_seed(0)
    vectors = nn.functional.normalize(torch.randn(batch, length, dim, generator=generator), dim=-1).requires_grad_()
    codes = (
        torch.randint(size, (batch, length), generator=generator)
        for size in (NUM_ACTIONS, NUM_ELAPSED_BUCKETS, NUM_PLAYED_BUCKETS, 1)
    )
    return vectors, *codes, torch.zeros((batch, 0), dtype=torch.int64)


def measure(arguments: argparse.Namespace, batch: int, length: int) -> list[dict]:
    tower, histories = make_tower(arguments), make_histories(batch, length, arguments.dim)
    events = torch.arange(batch)[:, None] * (length + 1) + torch.arange(length)
    gradient = torch.randn(batch * length, arguments.dim)
    variants: dict[str, Callable[..., Tensor]] = {EAGER: tower.states_at, BF16: in_bf16(tower.states_at)}
    if not arguments.no_compile:
        variants[COMPILED] = torch.compile(tower.states_at, dynamic=True)

    def step(states_at: Callable[..., Tensor]) -> None:
        tower.zero_grad(set_to_none=True)
        histories[0].grad = None
        states_at(*histories, events.flatten(), None).backward(gradient)

    square = torch.randn(arguments.square, arguments.square)
    runs: dict[str, Callable[[], object]] = {name: partial(step, variant) for name, variant in variants.items()}
    seconds = alternate({**runs, CEILING: lambda: square @ square}, arguments.repetitions)
    if arguments.profile:
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            step(tower.states_at)
        print(profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=16, max_name_column_width=50))
    ceiling = 2 * arguments.square**3 / 1e9 / median(seconds.pop(CEILING))
    differences = largest_differences(tower, variants, histories, events.flatten())
    tokens, gflop = batch * (length + 1), products(tower, arguments, batch, length) / 1e9
    return [
        {"shape": [batch, length], "name": name, "core_seconds_per_million_tokens": median(taken) / tokens * 1e6,
         "gflop_per_s": gflop / median(taken), "share_of_ceiling": gflop / median(taken) / ceiling,
         "ceiling_gflop_per_s": ceiling, "largest_difference": differences[name]}
        for name, taken in seconds.items()
    ]  # fmt: skip


def in_bf16(states_at: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(*inputs: object) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return states_at(*inputs).float()

    return run


def alternate(runs: dict[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Seconds by name, one repetition of each after the other; two rounds warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(2 + repetitions):
        for name, run in runs.items():
            started = time.process_time()
            run()
            seconds[name].append(time.process_time() - started)
    return {name: taken[2:] for name, taken in seconds.items()}


def largest_differences(
    tower: UserTower, variants: dict[str, Callable[..., Tensor]], histories: tuple[Tensor, ...], positions: Tensor
) -> dict[str, float]:
    """Returns the greatest difference of any component of any state from the eager step in float32, without dropout."""
    tower.eval()
    with torch.no_grad():
        states = {name: variant(*histories, positions, None) for name, variant in variants.items()}
    tower.train()
    return {name: (found - states[EAGER]).abs().max().item() for name, found in states.items()}


def products(tower: UserTower, arguments: argparse.Namespace, batch: int, length: int) -> float:
    """Floating-point operations of a step's products."""
    tokens = batch * (length + 1)
    in_matrices = sum(part.weight.numel() for part in tower.modules() if isinstance(part, nn.Linear)) * tokens
    reach = (length + 1) / 2 if arguments.window is None else min(arguments.window, (length + 1) / 2)
    in_attention = 2 * arguments.layers * tokens * reach * arguments.dim
    return 3 * 2 * (in_matrices + in_attention)


def as_table(rows: list[dict], arguments: argparse.Namespace) -> Table:
    sizes = f"{arguments.block}, dim {arguments.dim}, {arguments.layers} layers, {arguments.heads} heads"
    table = Table(title=f"user tower, forward and backward: {sizes}")
    for name in (
        "listeners x events", "", "core-seconds a million tokens", "GFLOP/s", "ceiling", "share of it",
        "largest difference of a state",
    ):  # fmt: skip
        table.add_column(name, justify="right" if name else "left")
    for row in rows:
        table.add_row(
            "{} x {}".format(*row["shape"]), row["name"], f"{row['core_seconds_per_million_tokens']:.2f}",
            f"{row['gflop_per_s']:.1f}", f"{row['ceiling_gflop_per_s']:.0f}", f"{row['share_of_ceiling']:.2f}",
            f"{row['largest_difference']:.1e}",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
