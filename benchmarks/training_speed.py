"""How fast is training beside RecTools, on one core, with the same network, objective and data?

ML-1M, leave-one-out: two SASRec blocks, one head, 64 dimensions, dropout .2, 128 listeners a step, every listener's
last `length` training events. Each side trains in a process of its own, on one thread, in float32, through what its
users call: `towers train`'s Trainer, batches and network; RecTools' `SASRecModel.fit`, and a bare loop around the
network of its `fast_transformers`. The sides take turns, a window of steps each and then a matrix product, so that
whatever else runs on the machine slows all alike. Counted are core-seconds (user and system); the first window of each
side is left out, and the median of the others' ratios shown. Towers' feed-forward layers are as wide as the peer's it
stands beside, and keep the activation. What differs: Towers sorts listeners by length before it makes steps of them
(`mixed`: it does not), has no dropout within attention, and draws the negatives of a sampled softmax for a step and not
for each target.

At the end the core-seconds until RecTools' NDCG@10 after nine epochs is reached: by its defaults, and by the recipe of
experiment=ml1m with SASRec's blocks. RecTools' part takes half an hour; `--peer-results` takes it from an earlier run.

    scripts/peers benchmarks/peers/requirements.txt .venv-peers-torch
    towers prepare experiment=ml1m
    python benchmarks/training_speed.py                       # further arguments are overrides: paths.stores=...
    python benchmarks/training_speed.py --peer-results benchmarks/results/rectools_quality-2026-11-25.json
    python benchmarks/training_speed.py --smallest            # Towers' sides alone: a check that it runs
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import RESULTS, add_smallest, machine
from benchmarks.small_sequences import prepared
from towers.config.composing import compose
from towers.manifest import library_versions, read_json, write_json

HERE = Path(__file__).parent
PEERS = HERE / "peers"
PEER_PYTHON = HERE.parent / ".venv-peers-torch" / "bin" / "python"
EXPERIMENT = "experiment=ml1m"
OURS, MIXED, PEER = "Towers", "Towers, mixed", "RecTools"
STEPS = {OURS: 8, MIXED: 4}
"""Of a window: half a bucket, in which all lengths are; and some steps that are alike."""
PEER_STEPS = {50: 8, 200: 3}
DROPOUT = 0.2
METRIC = "ndcg@10"
QUALITY_TARGET = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is compared, and how many times as fast Towers has to be."""

    loss: str
    length: int
    model: str
    at_least: float

    @property
    def name(self) -> str:
        """As the table has it."""
        return f"{self.loss.replace('_', ' ')}, length {self.length}, beside {MODELS[self.model]}"


MODELS = {"flat": "fast_transformers", "sasrec": "SASRecModel"}
CLAIMS = (
    Claim(loss="softmax", length=200, model="flat", at_least=3),
    Claim(loss="softmax", length=200, model="sasrec", at_least=5),
    Claim(loss="softmax", length=50, model="flat", at_least=1.5),
    Claim(loss="softmax", length=50, model="sasrec", at_least=2.5),
    Claim(loss="sampled_softmax", length=200, model="sasrec", at_least=10),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="windows of each side that count")
    parser.add_argument("--dropout", type=float, default=DROPOUT)
    parser.add_argument("--peer-results", type=Path, help="RecTools' quality by epoch, as an earlier run wrote it")
    parser.add_argument("--only", choices=("speed", "quality"), help="one of the two")
    parser.add_argument("--claims", type=int, default=len(CLAIMS), help="the first so many")
    parser.add_argument("--sizes", default="", help="further arguments of towers_training.py")
    add_smallest(parser, rounds=1, claims=1, only="speed", sizes="--length 20 --batch-size 4 --bucket-batches 8")
    arguments, overrides = parser.parse_known_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.smallest:
            overrides = [*prepared(Path(folder)), *overrides]
        measure(arguments, overrides)


def measure(arguments: argparse.Namespace, overrides: list[str]) -> None:
    """Speed, quality, or both; written unless the smallest form is asked for."""
    data = str(compose("prepare", [EXPERIMENT, *overrides]).data.root)
    console = Console(width=170)
    if arguments.only != "quality":
        speed = [compared(claim, arguments, data, overrides) for claim in CLAIMS[: arguments.claims]]
        console.print(speed_table(speed, arguments))
        protocol = {
            "rounds": arguments.rounds, "dropout": arguments.dropout, "precision": "float32", "threads": 1,
            "steps": STEPS, "peer_steps": PEER_STEPS, "overrides": overrides, "seed": 0,
        }  # fmt: skip
        suffix = "" if arguments.dropout == DROPOUT else f"_dropout_{arguments.dropout}"
        if not arguments.smallest:
            write(f"training_speed{suffix}", {"protocol": protocol, "speed": speed})
    if arguments.only != "speed":
        path = arguments.peer_results or measured_peer(data)
        quality = time_to_quality(read_json(path), overrides)
        console.print(quality_line(quality))
        write("time_to_quality", {"overrides": overrides, "quality": quality})


class Side:
    """A training in a process of its own, a window at a time.

    Args:
        command: starts it.
    """

    def __init__(self, command: list[str]):
        self._process = subprocess.Popen(command, **PIPES)

    def window(self, steps: int) -> dict[str, float]:
        """Trains so many steps; sequences and core-seconds."""
        return self._ask(str(steps))

    def end(self) -> dict[str, Any]:
        """What the training tells when it has ended."""
        output, _ = self._process.communicate("\n")
        return {name: value for line in output.splitlines() for name, value in json.loads(line).items()}

    def kill(self) -> None:
        """Where something failed on the way."""
        self._process.kill()
        self._process.wait()

    def _ask(self, line: str) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(line, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"training ended early: {self._process.args}")
        return json.loads(answer)


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
PIPES: dict[str, Any] = {
    "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "env": ENVIRONMENT
}  # fmt: skip


def compared(claim: Claim, arguments: argparse.Namespace, data: str, overrides: list[str]) -> dict[str, Any]:
    """Speed of all sides, and the medians of the ratios within a round."""
    common = ["--model", claim.model, "--loss", claim.loss, "--length", str(claim.length),
              "--dropout", str(arguments.dropout)]  # fmt: skip
    ours = [sys.executable, str(PEERS / "towers_training.py"), "speed", *common, EXPERIMENT, *overrides]
    commands = {
        OURS: [*ours, "--batches", "bucketed", *arguments.sizes.split()],
        MIXED: [*ours, "--batches", "mixed", *arguments.sizes.split()],
        PEER: [str(PEER_PYTHON), str(PEERS / "rectools_training.py"), "speed", data, *common],
    }
    if arguments.smallest:  # it has to run where no peer is installed
        del commands[PEER]
    steps = {**STEPS, PEER: PEER_STEPS[claim.length]}
    with ExitStack() as stack:
        sides = {name: Side(command) for name, command in commands.items()}
        for side in sides.values():
            stack.callback(side.kill)
        for name, side in sides.items():
            side.window(steps[name])
        rounds = [
            {"product": product_per_s(), **{name: side.window(steps[name]) for name, side in sides.items()}}
            for _ in range(arguments.rounds)
        ]
        ends = {name: side.end() for name, side in sides.items()}
    speeds = {name: [turn[name]["sequences"] / turn[name]["core_seconds"] for turn in rounds] for name in sides}
    work = ends[OURS]["operations_per_sequence"]
    return {
        "claim": claim.name,
        "at_least": claim.at_least,
        "ratio": ratio(speeds, OURS),
        "ratio_mixed": ratio(speeds, MIXED),
        "sequences_per_core_second": {name: median(values) for name, values in speeds.items()},
        "all_sequences_per_core_second": speeds,
        "operations_per_sequence": {name: ends[name]["operations_per_sequence"] for name in (OURS, MIXED)},
        "product_gflop_per_s": median(turn["product"] for turn in rounds) / 1e9,
        "share_of_ceiling": median(
            work * own / turn["product"] for own, turn in zip(speeds[OURS], rounds, strict=True)
        ),
        "peak_memory_gb": {name: end["peak_memory_gb"] for name, end in ends.items()},
        "load_average": os.getloadavg(),
    }


def ratio(speeds: dict[str, list[float]], side: str) -> float:
    """Median of a side's speed beside the peer's of the same round; nan without a peer."""
    return median(own / peer for own, peer in zip(speeds[side], speeds[PEER], strict=True)) if PEER in speeds else nan


def product_per_s() -> float:
    """Operations a core-second of a product of square matrices, the best of some."""
    size = 1536
    one, other = torch.randn(2, size, size)
    seconds = []
    for _ in range(6):
        started = time.process_time()
        torch.mm(one, other)
        seconds.append(time.process_time() - started)
    return 2 * size**3 / min(seconds)


def measured_peer(data: str) -> Path:
    """RecTools' quality after each epoch, written to a file."""
    lines = list(lines_of([str(PEER_PYTHON), str(PEERS / "rectools_training.py"), "quality", data]))
    return write("rectools_quality", {"epochs": lines[:-1], **lines[-1]})


def write(name: str, figures: dict[str, Any]) -> Path:
    """With what it was measured on; where to."""
    now = datetime.now(UTC)
    path = RESULTS / f"{name}-{now:%Y-%m-%d}.json"
    write_json(path, {"when": now.isoformat(timespec="seconds"), "machine": machine(), "libraries": library_versions(),
                      "peer": versions_of_the_peer(), **figures})  # fmt: skip
    return path


def time_to_quality(peer: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Core-seconds of both sides until the peer's last NDCG@10 is reached; on the test, seen contents filtered."""
    last = peer["epochs"][-1]
    command = [sys.executable, str(PEERS / "towers_training.py"), "quality", "--enough", str(last[METRIC])]
    *epochs, _ = lines_of([*command, EXPERIMENT, *overrides])
    return {
        "enough": last[METRIC],
        "peer": peer,
        "epochs": epochs,
        "is_reached": epochs[-1][METRIC] >= last[METRIC],
        "share": epochs[-1]["core_seconds"] / last["core_seconds"],
        "at_most": QUALITY_TARGET,
    }


def lines_of(command: list[str]) -> Iterator[dict[str, Any]]:
    """What a training tells on its way."""
    with subprocess.Popen(command, **PIPES) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise SystemExit(f"failed: {command}")


def versions_of_the_peer() -> dict[str, str]:
    command = "import importlib.metadata as m; print(*(m.version(n) for n in ('RecTools', 'torch', 'numpy')))"
    found = subprocess.run([PEER_PYTHON, "-c", command], capture_output=True, text=True, check=True).stdout.split()
    return dict(zip(("RecTools", "torch", "numpy"), found, strict=True))


def speed_table(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> Table:
    table = Table(title=f"sequences a core-second, medians of {arguments.rounds} windows; dropout {arguments.dropout}")
    names = ("", OURS, PEER, "ratio", "at least", "", "ratio, mixed", "share of the product", "GB", "GB, RecTools")
    for name in names:
        table.add_column(name, justify="left" if not name else "right")
    for row in rows:
        speeds, memory = row["sequences_per_core_second"], row["peak_memory_gb"]
        table.add_row(
            row["claim"],
            f"{speeds[OURS]:.0f}",
            f"{speeds.get(PEER, nan):.0f}",
            f"{row['ratio']:.2f}",
            f"{row['at_least']:g}",
            verdict(row["ratio"] >= row["at_least"]),
            f"{row['ratio_mixed']:.2f}",
            f"{row['share_of_ceiling']:.0%}",
            f"{memory[OURS]:.1f}",
            f"{memory.get(PEER, nan):.1f}",
        )
    return table


def quality_line(quality: dict[str, Any]) -> str:
    own, peer = quality["epochs"][-1], quality["peer"]["epochs"][-1]
    is_met = quality["is_reached"] and quality["share"] <= quality["at_most"]
    return (
        f"{METRIC} {quality['enough']:.4f}: RecTools {peer['core_seconds']:.0f} core-seconds ({peer['epoch']} epochs), "
        f"Towers {own['core_seconds']:.0f} ({own['epoch']} epochs, {own[METRIC]:.4f}): a share of "
        f"{quality['share']:.3f}, at most {quality['at_most']:g}: {verdict(is_met)}"
    )


def verdict(is_met: bool) -> str:
    return "met" if is_met else "missed"


if __name__ == "__main__":
    main()
