"""Measures how fast `towers train` is, and what share of the processor's products it reaches.

    python benchmarks/training/throughput.py experiment=ml1m                 # the prepared store of that experiment
    python benchmarks/training/throughput.py experiment=ml1m trainer.precision=bfloat16 --steps 50

Steps of the product itself, on the device that `trainer.accelerator` finds: tokens (real ones, without padding),
targets and windows a second, floating-point operations counted by torch's own counter (a causal attention counted
half), against the best product of square matrices in the same run and precision, and the peak of memory.
"""

import platform
import resource
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import add_smallest, command_line, without_paths, write_result
from benchmarks.peers.operations import operation_counter, operations
from benchmarks.training.small_sequences import prepared
from towers.assembly.prepared import prepared_store
from towers.assembly.training import build, training_plan
from towers.batch import TrainingBatch
from towers.config.composing import compose
from towers.data.training_batches import Share
from towers.training.module import TowersModule
from towers.training.optimizing import advance, clip_gradients
from towers.training.step import accumulate_gradient


def step(module: TowersModule, optimizer: torch.optim.Optimizer, batch: TrainingBatch) -> None:
    """Runs a step as the module does, without its book-keeping."""
    learner = module.learner
    loss, fresh = accumulate_gradient(learner, batch, module.processes, module.autocast(learner.table.device))
    norm = clip_gradients(learner.parameters(), module.gradient_clip)
    is_finite = torch.isfinite(norm) & torch.isfinite(loss)
    advance(optimizer, is_finite, optimizer.step)
    if fresh is not None:
        learner.table.remember(fresh.content_rows, fresh.vectors, is_finite)


def seconds(device: torch.device, function) -> float:
    """Returns process time on the CPU, so that a busy machine matters less; by the clock on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        torch.cuda.synchronize()
        return time.perf_counter() - start
    start = time.process_time()
    function()
    return time.process_time() - start


def ceiling(device: torch.device, dtype: torch.dtype, square: int) -> float:
    """Operations a second of the best of some products of square matrices."""
    size = 8192 if device.type == "cuda" else square
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    one @ other
    return max(2 * size**3 / seconds(device, lambda: one @ other) for _ in range(7))


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--steps", type=int, default=20, help="that are timed, after five that are not")
    parser.add_argument("--square", type=int, default=1536, help="side of the matrices of the product beside it")
    add_smallest(parser, steps=2, square=64)
    arguments, overrides = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.smallest:
            overrides = [*prepared(Path(folder)), *overrides]
        figures = measured(arguments.steps, arguments.square, overrides)
    name = figures.pop("experiment")
    for key in ("tokens_per_s", "windows_per_s", "targets_per_s"):
        print(f"{key:>16} {figures[key]:>14,.0f}")
    best = figures["ceiling_operations_per_s"]
    share = f"{figures['share_of_ceiling']:.0%} of {best / 1e9:,.0f}"
    print(f"{'operations':>16} {figures['operations_per_s'] / 1e9:>14,.1f} G/s, {share}")
    print(f"{'peak memory':>16} {figures['peak_memory_gb']:>14.2f} GB")
    write_result(arguments, f"throughput-{name}-{'gpu' if torch.cuda.is_available() else 'cpu'}", figures)


def measured(steps: int, square: int, overrides: list[str]) -> dict[str, Any]:
    """Figures of so many steps."""
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    config = compose("train", [*overrides, "logger=csv", "trainer.progress=false"])
    plan = training_plan(config, prepared_store(config).open())
    settings, parts = plan.trainer, build(plan, Share())
    device, module = torch.device("cuda" if torch.cuda.is_available() else "cpu"), parts.module.train()
    module.learner.to(device)
    optimizer = module.configure_optimizers()
    batches = [batch.to(device) for batch in islice(parts.data.loaders.training(-1), steps + 5)]
    warm, timed = batches[:5], batches[5:]
    for batch in warm:
        step(module, optimizer, batch)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    taken = seconds(device, lambda: [step(module, optimizer, batch) for batch in timed])
    peak = (  # before anything but steps takes memory
        torch.cuda.max_memory_allocated() / 1e9
        if device.type == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    )
    with operation_counter() as counter:
        for batch in timed:
            step(module, optimizer, batch)
    counted = operations(counter)
    is_bfloat16 = isinstance(settings.autocast(device), torch.autocast)
    best = ceiling(device, torch.bfloat16 if is_bfloat16 else torch.float32, square)
    histories = [micro.histories for batch in timed for micro in batch.micro_batches]
    return {
        "experiment": config.name,
        "overrides": without_paths(overrides),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()}, one core",
        "torch": torch.__version__,
        "precision": "bfloat16" if is_bfloat16 else "float32",
        "parameters": sum(parameter.numel() for parameter in module.learner.parameters()),
        "steps": len(timed),
        "seconds": taken,
        "tokens_per_s": sum(int((~history.padding_mask).sum()) for history in histories) / taken,
        "windows_per_s": sum(len(history.action) for history in histories) / taken,
        "targets_per_s": sum(len(batch.target_rows) for batch in timed) / taken,
        "padding": 1 - sum(int((~h.padding_mask).sum()) for h in histories) / sum(h.action.numel() for h in histories),
        "operations_per_s": counted / taken,
        "ceiling_operations_per_s": best,
        "share_of_ceiling": counted / taken / best,
        "peak_memory_gb": peak,
    }  # fmt: skip


if __name__ == "__main__":
    main()
