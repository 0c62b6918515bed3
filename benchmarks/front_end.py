"""Does making spectrograms take much longer than decoding, resampling and the log-mel, each for itself?

On real sound from the catalogue. In every round the same files are decoded, what came out is resampled, what came out
of that goes through the log-mel, and then `SpectrogramSet` makes the whole: digests, checks, threads, parts, the files
that stay. The parts' time is the harmonic sum of their rates. Rates are seconds of sound per core-second (user and
system), medians over the rounds; beside them stands what one gets on all cores, in seconds of sound per second.

    OMP_NUM_THREADS=1 python benchmarks/front_end.py
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow.parquet as pq
import soundfile
import torch
from rich.console import Console
from rich.table import Table

from towers.data.log_mel import LogMel, resampler
from towers.data.spectrogram_parts import Decoding
from towers.data.spectrogram_writer import SpectrogramSet
from towers.data.spectrograms import REJECTED
from towers.features.settings import SpectrogramSettings
from towers.manifest import library_versions, write_json

RESULTS = Path(__file__).parent / "results"
CATALOGUE = Path(os.environ.get("TOWERS_SHARED_DATA", "../shared/data")) / "catalogue"
PARTS = ("decode", "resample", "log-mel")
WHOLE, ALL_CORES = "whole", "whole, all cores"
AIM = 1.3
"""What the whole may take, in times of its parts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200, help="usable sounds of the catalogue")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--num-mels", type=int, default=SpectrogramSettings().n_mels)
    parser.add_argument("--record-s", type=float, default=SpectrogramSettings().record_s)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = SpectrogramSettings(n_mels=arguments.num_mels, record_s=arguments.record_s)
    names = usable(arguments.files, settings)
    rounds = [one_round(names, settings) for _ in range(1 + arguments.repetitions)][1:]  # the first warms up
    rates = {name: median(each[name] for each in rounds) for name in rounds[0]}
    together = median(harmonic_sum(each) for each in rounds)
    ratio = median(harmonic_sum(each) / each[WHOLE] for each in rounds)
    Console(width=100).print(as_table(rates, together))
    print(f"the whole takes {ratio:.2f} x its parts (aim: at most {AIM})")
    now = datetime.now(UTC)
    write_json(
        RESULTS / f"front_end-{now:%Y-%m-%d}.json",
        {"when": now.isoformat(timespec="seconds"), "machine": machine(), "libraries": library_versions(),
         "sizes": vars(arguments), "sound": described(names[0]), "rates": rates, "together": together,
         "ratio": ratio, "rounds": rounds},
    )  # fmt: skip


def harmonic_sum(rates: dict[str, float]) -> float:
    """The rate of one part after the other."""
    return 1 / sum(1 / rates[name] for name in PARTS)


def usable(number: int, settings: SpectrogramSettings) -> list[str]:
    """The first paths of the catalogue whose sound can be used."""
    names = [name for name in pq.read_table(CATALOGUE / "contents")["audio"].to_pylist() if name is not None]
    names = names[: number + 50]
    with tempfile.TemporaryDirectory() as folder:
        target = make(Path(folder), names, settings, os.cpu_count() or 1)[0]
        bad = set(pq.read_table(target / REJECTED)["content_id"].to_pylist())
    return [name for name in names if name not in bad][:number]


def one_round(names: list[str], settings: SpectrogramSettings) -> dict[str, float]:
    """Rates of the parts and of the whole."""
    log_mel, new_rate = LogMel(settings), settings.sample_rate
    with torch.inference_mode():
        decode_s, decoded = timed(decode, ((CATALOGUE / name, settings.record_s) for name in names))
        resample_s, waveforms = timed(lambda mono, rate: resampler(rate, new_rate)(torch.from_numpy(mono)), decoded)
        log_mel_s, _ = timed(lambda waveform: log_mel(waveform), ((waveform,) for waveform in waveforms))
    sound_s = sum(len(mono) / rate for mono, rate in decoded)
    rates = {name: sound_s / s for name, s in zip(PARTS, (decode_s, resample_s, log_mel_s), strict=True)}
    for name, num_workers in ((WHOLE, 1), (ALL_CORES, os.cpu_count() or 1)):
        with tempfile.TemporaryDirectory() as folder:
            core, wall = time.process_time(), time.perf_counter()
            decoding = make(Path(folder), names, settings, num_workers)[1]
            core, wall = time.process_time() - core, time.perf_counter() - wall
            assert decoding.files == len(names)
        rates[name] = sound_s / core
        rates[f"{name}, per second"] = sound_s / wall
    return rates


def make(folder: Path, names: list[str], settings: SpectrogramSettings, num_workers: int) -> tuple[Path, Decoding]:
    made = SpectrogramSet(folder, CATALOGUE, names, names, settings)
    decoding = made.make(num_workers, lambda done, total, remark: None)
    return made.target, decoding


def decode(path: Path, record_s: float) -> tuple[np.ndarray, int]:
    """The middle, mono; the catalogue's sound is."""
    with soundfile.SoundFile(path) as file:
        wanted = round(record_s * file.samplerate)
        if wanted < file.frames:
            file.seek((file.frames - wanted) // 2)
        return file.read(wanted, dtype="float32", always_2d=True)[:, 0], file.samplerate


def timed(run: Callable, arguments: Iterable[tuple]) -> tuple[float, list]:
    started = time.process_time()
    results = [run(*each) for each in arguments]
    return time.process_time() - started, results


def described(name: str) -> dict:
    found = soundfile.info(CATALOGUE / name)
    return {"format": f"{found.format}, {found.subtype}", "rate_hz": found.samplerate, "channels": found.channels,
            "duration_s": found.duration}  # fmt: skip


def machine() -> dict:
    # What other work ran on the cores beside this.
    return {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(),
            "load_average": os.getloadavg(), "omp_num_threads": os.environ.get("OMP_NUM_THREADS")}  # fmt: skip


def as_table(rates: dict[str, float], together: float) -> Table:
    table = Table(title="front end: seconds of sound")
    for name in ("", "per core-second", "per second"):
        table.add_column(name, justify="right" if name else "left")
    for name in PARTS:
        table.add_row(name, f"{rates[name]:,.0f}", "")
    table.add_row("the three", f"{together:,.0f}", "")
    for name in (WHOLE, ALL_CORES):
        table.add_row(name, f"{rates[name]:,.0f}", f"{rates[f'{name}, per second']:,.0f}")
    return table


if __name__ == "__main__":
    main()
