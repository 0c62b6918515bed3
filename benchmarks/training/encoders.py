"""What does a crop cost in each audio encoder?

A step encodes `--sounds` crops of `--seconds` at the default spectrogram settings and takes the gradient to all
weights; beside it the encoding alone, as a refresh does it. The encoders are those of configs/audio_encoder as they
stand there, and take turns in one run. Times are core-milliseconds (user and system) for one crop, medians; the ceiling
is a float32 product of large square matrices.

    OMP_NUM_THREADS=1 python benchmarks/training/encoders.py
    OMP_NUM_THREADS=1 python benchmarks/training/encoders.py --encoders mobile patch --augment
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from towers.config.composing import compose
from towers.config.instantiate import instantiate
from towers.models.audio.encoder import AudioEncoder, SoundStatistics
from towers.models.cost import multiply_adds, parameters

ENCODERS = ("statistics", "conv", "mobile", "patch")
AUGMENTATION = {"gain_db": 3.0, "noise": 0.01, "time_masks": 1, "time_mask_frames": 25, "frequency_masks": 1,
                "frequency_mask_bands": 8}  # fmt: skip


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--encoders", nargs="+", default=ENCODERS)
    parser.add_argument("--sounds", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--augment", action="store_true", help="all of the augmentation, mildly")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--square", type=int, default=2_048, help="rows of the matrices of the ceiling")
    parser.add_argument("--threads", type=int, default=1)
    add_smallest(parser, sounds=2, seconds=0.5, repetitions=1, square=64)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = measure(arguments)
    Console(width=150).print(as_table(rows, arguments))
    write_result(arguments, "encoders", {"sizes": vars(arguments), "figures": rows})


def make_encoder(name: str, is_augmented: bool) -> tuple[AudioEncoder, torch.Size]:
    """An encoder at its defaults, and the size of a crop of a second: mel bands, frames."""
    overrides = [f"audio_encoder={name}", "data.root=none"]
    if is_augmented and name != "statistics":
        overrides += [f"audio_encoder.augmentation.{key}={number}" for key, number in AUGMENTATION.items()]
    config = compose("train", overrides)
    settings = instantiate(compose("prepare", ["data.root=none"]).features, "features").spectrogram
    torch.manual_seed(0)
    encoder = instantiate(config.audio_encoder, "audio_encoder")(
        statistics=replace(
            SoundStatistics.of_none(settings.n_mels),
            mean=torch.full((settings.n_mels,), -6.0),
            std=torch.full((settings.n_mels,), 3.0),
        )
    )
    return encoder, torch.Size([settings.n_mels, settings.sample_rate // settings.hop_length])


def measure(arguments: argparse.Namespace) -> list[dict]:
    runs: dict[tuple[str, str], Callable[[], object]] = {}
    encoders: dict[str, tuple[AudioEncoder, torch.Tensor]] = {}
    for name in arguments.encoders:
        encoder, (n_mels, frames_a_second) = make_encoder(name, arguments.augment)
        crops = torch.randn(arguments.sounds, n_mels, round(arguments.seconds * frames_a_second)) * 3 - 6
        encoders[name] = encoder, crops
        runs[name, "step"] = lambda encoder=encoder, crops=crops: step(encoder, crops)
        runs[name, "encoding"] = lambda encoder=encoder, crops=crops: encode(encoder, crops)
    square = torch.randn(arguments.square, arguments.square)
    runs["ceiling", ""] = lambda: square @ square
    seconds = alternate(runs, arguments.repetitions)
    ceiling = arguments.square**3 / 1e9 / median(seconds["ceiling", ""])
    rows = []
    for name, (encoder, crops) in encoders.items():
        products = multiply_adds(encoder, crops[:1])
        took = median(seconds[name, "step"])
        rows.append(
            {"encoder": name, "parameters": parameters(encoder), "multiply_adds": products,
             "step_ms": took / arguments.sounds * 1e3,
             "encoding_ms": median(seconds[name, "encoding"]) / arguments.sounds * 1e3,
             # The gradient is twice what encoding is.
             "gmac_per_s": 3 * products * arguments.sounds / 1e9 / took, "ceiling_gmac_per_s": ceiling}
        )  # fmt: skip
    return rows


def step(encoder: AudioEncoder, crops: torch.Tensor) -> None:
    encoder.train().zero_grad(set_to_none=True)
    vectors = encoder(crops)
    if vectors.requires_grad:
        vectors.square().sum().backward()


def encode(encoder: AudioEncoder, crops: torch.Tensor) -> None:
    with torch.inference_mode():
        encoder.eval()(crops)


def alternate(
    runs: dict[tuple[str, str], Callable[[], object]], repetitions: int
) -> dict[tuple[str, str], list[float]]:
    """Seconds by name, one repetition of each after the other; two rounds warm up."""
    seconds: dict[tuple[str, str], list[float]] = {name: [] for name in runs}
    for _ in range(2 + repetitions):
        for name, run in runs.items():
            started = time.process_time()
            run()
            seconds[name].append(time.process_time() - started)
    return {name: taken[2:] for name, taken in seconds.items()}


def as_table(rows: list[dict], arguments: argparse.Namespace) -> Table:
    table = Table(title=f"{arguments.sounds} crops of {arguments.seconds} s a step; core-milliseconds a crop")
    for name in (
        "encoder", "million parameters", "million multiply-adds", "step", "encoding", "GMAC/s of a step", "ceiling"
    ):  # fmt: skip
        table.add_column(name, justify="left" if name == "encoder" else "right")
    for row in rows:
        table.add_row(
            row["encoder"], f"{row['parameters'] / 1e6:.2f}", f"{row['multiply_adds'] / 1e6:.0f}",
            f"{row['step_ms']:.1f}", f"{row['encoding_ms']:.1f}", f"{row['gmac_per_s']:.1f}",
            f"{row['ceiling_gmac_per_s']:.0f}",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
