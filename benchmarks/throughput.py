"""How fast `towers train` goes, and what share of the processor's products it reaches.

    python benchmarks/throughput.py experiment=ml1m                 # the prepared store of that experiment
    python benchmarks/throughput.py experiment=ml1m trainer.precision=bfloat16 --steps 50

Steps of the product itself, on whatever device `trainer.accelerator` finds: tokens (real ones, without padding),
targets and windows a second, floating-point operations counted by torch's own counter (a causal attention counted
half), against the best product of square matrices in the same run and precision, and the peak of memory.
"""

import argparse
import json
import platform
import resource
import subprocess
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import torch
from peers.operations import operation_counter, operations

from towers.assembly import open_store
from towers.batch import TrainingBatch
from towers.commands.train import build
from towers.config import compose, instantiate
from towers.training.loop import Loop
from towers.training.optimizing import advance, clip_gradients
from towers.training.step import accumulate_gradient

RESULTS = Path(__file__).parent / "results"
COMMIT = ("git", "rev-parse", "--short", "HEAD")


def step(loop: Loop, batch: TrainingBatch) -> None:
    """As the loop does it, without its book-keeping."""
    learner = loop._learner
    loss, fresh = accumulate_gradient(learner, batch, loop._ranks, loop._precision)
    norm = clip_gradients(learner.parameters(), 1.0)
    is_finite = torch.isfinite(norm) & torch.isfinite(loss)
    advance(loop._optimizer, is_finite)
    if fresh is not None:
        learner.table.remember(fresh.content_rows, fresh.vectors, is_finite)


def operations_of(loop: Loop, batches: list[TrainingBatch]) -> float:
    """Of the steps, a causal attention counted half."""
    with operation_counter() as counter:
        for batch in batches:
            step(loop, batch)
    return operations(counter)


def seconds(device: torch.device, function) -> float:
    """Of process time on the CPU, so that a busy machine matters less; by the clock on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        torch.cuda.synchronize()
        return time.perf_counter() - start
    start = time.process_time()
    function()
    return time.process_time() - start


def ceiling(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of the best of some products of square matrices."""
    size = 8192 if device.type == "cuda" else 1536
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    one @ other
    return max(2 * size**3 / seconds(device, lambda: one @ other) for _ in range(7))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="that are timed, after five that are not")
    arguments, overrides = parser.parse_known_args()
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    config = compose("train", [*overrides, "logger=csv", "trainer.progress=false"])
    trainer = instantiate(config.trainer, "trainer")
    loop = build(config, open_store(config), Path("unused"), trainer, trainer.launch())
    device, learner = trainer.device, loop._learner.train()
    batches = [batch.to(device) for batch in islice(loop._batches(0, 0), arguments.steps + 5)]
    warm, timed = batches[:5], batches[5:]
    for batch in warm:
        step(loop, batch)
    taken = seconds(device, lambda: [step(loop, batch) for batch in timed])
    counted = operations_of(loop, timed)
    is_bfloat16 = trainer.autocast().__class__.__name__ == "autocast"
    best = ceiling(device, torch.bfloat16 if is_bfloat16 else torch.float32)
    histories = [micro.histories for batch in timed for micro in batch.micro_batches]
    figures = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": subprocess.run(COMMIT, capture_output=True, text=True, check=False).stdout.strip(),
        "overrides": overrides,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()}, one core",
        "torch": torch.__version__,
        "precision": "bfloat16" if is_bfloat16 else "float32",
        "parameters": sum(parameter.numel() for parameter in learner.parameters()),
        "steps": len(timed),
        "seconds": taken,
        "tokens_per_s": sum(int((~history.padding_mask).sum()) for history in histories) / taken,
        "windows_per_s": sum(len(history.action) for history in histories) / taken,
        "targets_per_s": sum(len(batch.target_rows) for batch in timed) / taken,
        "padding": 1 - sum(int((~h.padding_mask).sum()) for h in histories) / sum(h.action.numel() for h in histories),
        "operations_per_s": counted / taken,
        "ceiling_operations_per_s": best,
        "share_of_ceiling": counted / taken / best,
        "peak_memory_gb": (
            torch.cuda.max_memory_allocated() / 1e9
            if device.type == "cuda"
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        ),
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    kind = "gpu" if device.type == "cuda" else "cpu"
    path = RESULTS / f"throughput-{config.name}-{kind}-{datetime.now(UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(figures, indent=2) + "\n")
    for name in ("tokens_per_s", "windows_per_s", "targets_per_s"):
        print(f"{name:>16} {figures[name]:>14,.0f}")
    share = f"{figures['share_of_ceiling']:.0%} of {best / 1e9:,.0f}"
    print(f"{'operations':>16} {counted / taken / 1e9:>14,.1f} G/s, {share}")
    print(f"{'peak memory':>16} {figures['peak_memory_gb']:>14.2f} GB; written to {path}")


if __name__ == "__main__":
    main()
