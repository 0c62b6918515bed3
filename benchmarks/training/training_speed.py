"""How fast is training beside RecTools, RePlay and torch-rechub: on one core, the same network, objective and data?

ML-1M, leave-one-out: two SASRec blocks, one head, 64 dimensions, dropout .2, 128 listeners a step, every listener's
last `length` training events. Each side trains in a process of its own, on one thread, in float32, through what its
users call: `towers train`'s Trainer, batches and network; what peers do, files in peers/ say. All sides of a comparison
take turns, a window of steps each and then a matrix product, so that other work on the machine slows all alike.
Counted are core-seconds (user and system); the first window of each side is left out, and the median of the others'
ratios shown. All sides have the same allocator's settings: with the system's own (`--allocator system`) peers spend up
to two fifths of a step on fetching memory anew. Towers' feed-forward layers are as wide as the peers', and keep the
activation: as `SASRecModel` has them (sasrec), or as RecTools' `fast_transformers` (flat).

What differs: Towers sorts listeners by length before it makes steps of them (`mixed`: it does not, as peers do not),
has no dropout within attention, which peers have, and divides by a temperature. Of a sampled softmax, 256 negatives are
drawn for a step by Towers and RePlay, for each target by RecTools, and one for each target by torch-rechub. Of two
towers, torch-rechub's take a mean over the history and learn from one target of it, Towers' is the same transformer as
elsewhere and learns from all of them, against those of its step: they are compared by targets (counted by histories,
torch-rechub is an order of magnitude ahead).

At the end the core-seconds until RecTools' NDCG@10 after nine epochs is reached: by its defaults, and by the recipe of
experiment=ml1m with SASRec's blocks. RecTools' part takes half an hour; `--peer-results` takes it from an earlier run.

    scripts/peers benchmarks/peers/requirements.txt .venv-peers-torch            # RecTools; without, it is left out
    scripts/peers benchmarks/peers/replay.txt .venv-peers-replay                 # RePlay
    scripts/peers benchmarks/peers/rechub.txt .venv-peers-rechub                 # torch-rechub
    towers prepare experiment=ml1m
    python benchmarks/training/training_speed.py  # further arguments are overrides: paths.stores=...
    python benchmarks/training/training_speed.py --only speed          # without RecTools' half an hour
    python benchmarks/training/training_speed.py --peer-results benchmarks/results/rectools_quality-2026-11-25.json
    python benchmarks/training/training_speed.py --smallest            # Towers' sides alone: a check that it runs
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from benchmarks.peers.sides import HERE, KEEPING, PEERS, RECTOOLS, STEPS, Side, lines_of, peers_for, versions
from benchmarks.training.small_sequences import prepared
from towers.config.composing import compose
from towers.manifest import read_json

EXPERIMENT = "experiment=ml1m"
OURS, MIXED = "Towers", "Towers, mixed"
OUR_STEPS = {OURS: 8, MIXED: 4}
"""Spread of lengths in a window: half a bucket, in which all lengths are; and some steps that are alike."""
PROGRAM = HERE / "towers_training.py"
DROPOUT = 0.2
AT_LEAST = 3
"""Times as fast as the fastest peer, with like lengths and mixed."""
METRIC = "ndcg@10"
QUALITY_TARGET = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A comparison: network, objective and length; by what is counted."""

    model: str
    loss: str
    length: int
    unit: str = "sequences"

    @property
    def name(self) -> str:
        """Returns it as the table shows it."""
        return f"{self.model}, {self.loss}, {self.length}".replace("_", " ")


COMPARISONS = (
    Comparison(model="sasrec", loss="softmax", length=200),
    Comparison(model="flat", loss="softmax", length=200),
    Comparison(model="sasrec", loss="softmax", length=50),
    Comparison(model="sasrec", loss="sampled_softmax", length=200),
    Comparison(model="two_towers", loss="in_batch", length=50, unit="targets"),
)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="windows of each side that count")
    parser.add_argument("--dropout", type=float, default=DROPOUT)
    parser.add_argument("--allocator", choices=("keeping", "system"), default="keeping", help="settings, of all sides")
    parser.add_argument("--peer-results", type=Path, help="RecTools' quality by epoch, as an earlier run wrote it")
    parser.add_argument("--only", choices=("speed", "quality"), help="one of the two")
    parser.add_argument("--comparisons", type=int, nargs="+", default=range(len(COMPARISONS)), help="which, from 0")
    parser.add_argument("--sizes", default="", help="further arguments of towers_training.py")
    add_smallest(parser, rounds=1, comparisons=[0], only="speed", sizes="--length 20 --batch-size 4 --bucket-batches 8")
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
        measure_speed(arguments, data, overrides, console)
    if arguments.only != "speed":
        path = arguments.peer_results or measured_peer(arguments, data)
        quality = time_to_quality(read_json(path), overrides)
        console.print(quality_line(quality))
        content = {"peers": versions(), "overrides": overrides, "quality": quality}
        write_result(arguments, "time_to_quality", content)


def measure_speed(arguments: argparse.Namespace, data: str, overrides: list[str], console: Console) -> None:
    """Every comparison, each shown and written as soon as it is there."""
    protocol = {
        "rounds": arguments.rounds, "dropout": arguments.dropout, "precision": "float32", "threads": 1, "seed": 0,
        "allocator": arguments.allocator, "steps": OUR_STEPS, "peer_steps": STEPS, "overrides": overrides,
        "at_least": AT_LEAST,
    }  # fmt: skip
    suffix = "" if arguments.dropout == DROPOUT else f"_dropout_{arguments.dropout}"
    suffix += "" if arguments.allocator == "keeping" else f"_{arguments.allocator}"
    if not arguments.smallest:
        for line in dict.fromkeys(f"{p.library} is left out: {p.makes}" for p in PEERS if not p.is_installed):
            console.print(line)
    speed = []
    for place in arguments.comparisons:
        speed.append(compared(COMPARISONS[place], arguments, data, overrides))
        console.print(verdict_of(speed[-1]))
        if not arguments.smallest:
            content = {"peers": versions(), "protocol": protocol, "speed": speed}
            write_result(arguments, f"training_speed{suffix}", content)
    console.print(speed_table(speed, arguments))


def compared(of: Comparison, arguments: argparse.Namespace, data: str, overrides: list[str]) -> dict[str, Any]:
    """Speed of all sides, and the medians of the ratios within a round."""
    common = ["--model", of.model, "--loss", of.loss, "--length", str(of.length), "--dropout", str(arguments.dropout)]
    ours = [sys.executable, str(PROGRAM), "speed", *common, EXPERIMENT, *overrides, *arguments.sizes.split()]
    commands = {OURS: [*ours, "--batches", "bucketed"], MIXED: [*ours, "--batches", "mixed"]}
    steps = dict(OUR_STEPS)
    if not arguments.smallest:  # it has to run where no peer is installed
        for peer in peers_for(of.model, of.loss):
            if peer.is_installed:
                commands[peer.name] = [*peer.command(data), *common]
                steps[peer.name] = peer.window(of.length)
    settings = KEEPING if arguments.allocator == "keeping" else {}
    with ExitStack() as stack:
        sides = {name: Side(command, settings) for name, command in commands.items()}
        for side in sides.values():
            stack.callback(side.kill)
        for name, side in sides.items():
            side.window(steps[name])
        rounds = [
            {"product": product_per_s(), **{name: side.window(steps[name]) for name, side in sides.items()}}
            for _ in range(arguments.rounds)
        ]
        ends = {name: side.end() for name, side in sides.items()}
    speeds = {name: [turn[name][of.unit] / turn[name]["core_seconds"] for turn in rounds] for name in sides}
    peers = [name for name in sides if name not in OUR_STEPS]
    work = ends[OURS]["operations_per_sequence"]
    sequences = [turn[OURS]["sequences"] / turn[OURS]["core_seconds"] for turn in rounds]
    return {
        "comparison": of.name,
        "unit": of.unit,
        "a_core_second": {name: median(values) for name, values in speeds.items()},
        "all_a_core_second": speeds,
        "ratios": {name: ratios(speeds, name) for name in peers},
        "fastest": max(peers, key=lambda name: median(speeds[name]), default=None),
        "operations_per_sequence": {name: ends[name]["operations_per_sequence"] for name in OUR_STEPS},
        "product_gflop_per_s": median(turn["product"] for turn in rounds) / 1e9,
        "share_of_ceiling": median(work * own / turn["product"] for own, turn in zip(sequences, rounds, strict=True)),
        "peak_memory_gb": {name: end["peak_memory_gb"] for name, end in ends.items()},
        "load_average": os.getloadavg(),
    }


def ratios(speeds: dict[str, list[float]], peer: str) -> dict[str, float]:
    """Medians of our sides' speeds beside a peer's of the same round."""
    return {ours: median(own / other for own, other in zip(speeds[ours], speeds[peer], strict=True))
            for ours in OUR_STEPS}  # fmt: skip


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


def measured_peer(arguments: argparse.Namespace, data: str) -> Path:
    """RecTools' quality after each epoch, written to a file."""
    lines = list(lines_of([str(RECTOOLS.python), str(HERE / "rectools_training.py"), "quality", data]))
    return write_result(arguments, "rectools_quality", {"peers": versions(), "epochs": lines[:-1], **lines[-1]})


def time_to_quality(peer: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Core-seconds of both sides until the peer's last NDCG@10 is reached; on the test, seen contents filtered."""
    last = peer["epochs"][-1]
    command = [sys.executable, str(PROGRAM), "quality", "--enough", str(last[METRIC])]
    *epochs, _ = lines_of([*command, EXPERIMENT, *overrides])
    return {
        "enough": last[METRIC],
        "peer": peer,
        "epochs": epochs,
        "is_reached": epochs[-1][METRIC] >= last[METRIC],
        "share": epochs[-1]["core_seconds"] / last["core_seconds"],
        "at_most": QUALITY_TARGET,
    }


def speed_table(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> Table:
    table = Table(title=f"medians of {arguments.rounds} windows; dropout {arguments.dropout}; "
                        f"{arguments.allocator} allocator")  # fmt: skip
    for name in ("", "side", "a core-second", "Towers is", "mixed it is", "share of the product", "GB"):
        table.add_column(name, justify="left" if name in {"", "side"} else "right")
    for row in rows:
        for name, speed in row["a_core_second"].items():
            beside = row["ratios"].get(name, {})
            table.add_row(
                row["comparison"] if name == OURS else "",
                name,
                f"{speed:,.0f} {row['unit']}",
                *(f"{beside[ours]:.2f} x" if beside else "" for ours in OUR_STEPS),
                f"{row['share_of_ceiling']:.0%}" if name == OURS else "",
                f"{row['peak_memory_gb'][name]:.1f}",
            )
        table.add_section()
    return table


def verdict_of(row: dict[str, Any]) -> str:
    """Returns whether Towers is as many times as fast as the fastest peer as it has to be."""
    fastest = row["fastest"]
    if fastest is None:
        return f"{row['comparison']}: no peer"
    own = row["ratios"][fastest]
    if row["unit"] != "sequences":
        return f"{row['comparison']}: {own[OURS]:.2f} x {fastest} by {row['unit']}, of which that has one a sequence"
    of_each = (f"{ours} {own[ours]:.2f} x: {verdict(own[ours] >= AT_LEAST)}" for ours in OUR_STEPS)
    return f"{row['comparison']}: the fastest is {fastest}; at least {AT_LEAST} x: {', '.join(of_each)}"


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
