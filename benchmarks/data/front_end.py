"""Does making spectrograms take much longer than decoding, resampling and the log-mel, each for itself?

On real sound from the catalogue. Some files are decoded, what came out is resampled, what came out of that goes through
the log-mel, and then `SpectrogramSet` makes the whole of them: digests, checks, threads, the files that stay; then come
the next, and so on, for several rounds. The parts' time is the harmonic sum of their rates. Rates are seconds of sound
per core-second (user and system), medians over the rounds; beside them stands what one gets on all cores, in seconds of
sound per second.

    OMP_NUM_THREADS=1 python benchmarks/data/front_end.py
"""

import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow.parquet as pq
import soundfile
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, timed, write_result
from towers.data.audio.log_mel import LogMel, resampler
from towers.data.audio.spectrogram_parts import Decoding
from towers.data.audio.spectrogram_writer import SpectrogramSet
from towers.data.audio.spectrograms import REJECTED
from towers.features.settings import SpectrogramSettings

CATALOGUE = Path(os.environ.get("TOWERS_SHARED_DATA", "../shared/data")) / "catalogue"
PARTS = ("decode", "resample", "log-mel")
WHOLE, ALL_CORES, PER_SECOND = "whole", "whole, all cores", "whole, all cores, per second"
AT_A_TIME = 25
"""Files that go through the parts, then through the whole; other work on the machine then slows both alike."""
AIM = 1.3
"""Greatest allowed time of the whole, in multiples of its parts."""


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--data", type=Path, default=CATALOGUE, help="raw data with sound")
    parser.add_argument("--files", type=int, default=200, help="usable sounds of the catalogue")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--num-mels", type=int, default=SpectrogramSettings().n_mels)
    parser.add_argument("--record-s", type=float, default=SpectrogramSettings().record_s)
    add_smallest(parser, files=3, repetitions=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = SpectrogramSettings(n_mels=arguments.num_mels, record_s=arguments.record_s)
    names = usable(arguments.data, arguments.files, settings)
    rounds = [one_round(arguments.data, names, settings) for _ in range(1 + arguments.repetitions)][
        1:
    ]  # the first warms up
    rates = {name: median(each[name] for each in rounds) for name in rounds[0]}
    together = median(harmonic_sum(each) for each in rounds)
    ratio = median(harmonic_sum(each) / each[WHOLE] for each in rounds)
    Console(width=100).print(as_table(rates, together))
    print(f"the whole takes {ratio:.2f} x its parts (aim: at most {AIM})")
    write_result(
        arguments, "front_end",
        {"sizes": {**vars(arguments), "data": arguments.data.name}, "sound": described(arguments.data / names[0]),
         "rates": rates, "together": together, "ratio": ratio, "rounds": rounds},
    )  # fmt: skip


def harmonic_sum(rates: dict[str, float]) -> float:
    """The rate of one part after the other."""
    return 1 / sum(1 / rates[name] for name in PARTS)


def usable(data: Path, number: int, settings: SpectrogramSettings) -> list[str]:
    """The first paths of the catalogue whose sound can be used."""
    names = [name for name in pq.read_table(data / "contents")["audio"].to_pylist() if name is not None]
    names = names[: number + 50]
    with tempfile.TemporaryDirectory() as folder:
        target = make(Path(folder), data, names, settings, os.cpu_count() or 1)[0]
        bad = set(pq.read_table(target / REJECTED)["content_id"].to_pylist())
    return [name for name in names if name not in bad][:number]


def one_round(data: Path, names: list[str], settings: SpectrogramSettings) -> dict[str, float]:
    """Rates of the parts and of the whole."""
    core_s: Counter[str] = Counter()
    sound_s = 0.0
    for start in range(0, len(names), AT_A_TIME):
        batch = names[start : start + AT_A_TIME]
        sound_s += add_parts(core_s, data, batch, settings)
        core_s[WHOLE] += whole(data, batch, settings, num_workers=1)[0]
    rates = {name: sound_s / taken for name, taken in core_s.items()}
    core, wall = whole(data, names, settings, num_workers=os.cpu_count() or 1)
    return {**rates, ALL_CORES: sound_s / core, PER_SECOND: sound_s / wall}


def add_parts(core_s: Counter[str], data: Path, names: list[str], settings: SpectrogramSettings) -> float:
    """Adds what each part takes; gives how much sound it was, in seconds."""
    log_mel, new_rate = LogMel(settings), settings.sample_rate
    with torch.inference_mode():
        decoded, taken = timed(lambda: [decode(data / name, settings.record_s) for name in names])
        core_s["decode"] += taken
        waveforms, taken = timed(lambda: [resampler(rate, new_rate)(torch.from_numpy(mono)) for mono, rate in decoded])
        core_s["resample"] += taken
        _, taken = timed(lambda: [log_mel(waveform) for waveform in waveforms])
        core_s["log-mel"] += taken
    return sum(len(mono) / rate for mono, rate in decoded)


def whole(data: Path, names: list[str], settings: SpectrogramSettings, num_workers: int) -> tuple[float, float]:
    """Core-seconds and seconds of making a set."""
    with tempfile.TemporaryDirectory() as folder:
        core, wall = time.process_time(), time.perf_counter()
        decoding = make(Path(folder), data, names, settings, num_workers)[1]
        assert decoding.files == len(names)
        return time.process_time() - core, time.perf_counter() - wall


def make(
    folder: Path, data: Path, names: list[str], settings: SpectrogramSettings, num_workers: int
) -> tuple[Path, Decoding]:
    made = SpectrogramSet(folder, data, names, names, settings)
    decoding = made.make(num_workers, lambda done, total, remark: None)
    return made.target, decoding


def decode(path: Path, record_s: float) -> tuple[np.ndarray, int]:
    """The middle, mono; the catalogue's sound is."""
    with soundfile.SoundFile(path) as file:
        wanted = round(record_s * file.samplerate)
        if wanted < file.frames:
            file.seek((file.frames - wanted) // 2)
        return file.read(wanted, dtype="float32", always_2d=True)[:, 0], file.samplerate


def described(sound: Path) -> dict:
    found = soundfile.info(sound)
    return {"format": f"{found.format}, {found.subtype}", "rate_hz": found.samplerate, "channels": found.channels,
            "duration_s": found.duration}  # fmt: skip


def as_table(rates: dict[str, float], together: float) -> Table:
    table = Table(title="front end: seconds of sound")
    for name in ("", "per core-second", "per second"):
        table.add_column(name, justify="right" if name else "left")
    for name in PARTS:
        table.add_row(name, f"{rates[name]:,.0f}", "")
    table.add_row("the three", f"{together:,.0f}", "")
    table.add_row(WHOLE, f"{rates[WHOLE]:,.0f}", "")
    table.add_row(ALL_CORES, f"{rates[ALL_CORES]:,.0f}", f"{rates[PER_SECOND]:,.0f}")
    return table


if __name__ == "__main__":
    main()
