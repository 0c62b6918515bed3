"""What is read of a sound, and which sounds will not do: one set of rules for training and for serving. No torch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float

from towers.features.settings import SpectrogramSettings

MIN_SOUND_S = 0.1
SILENCE = 1e-4
MAX_KERNEL = 1 << 20
"""A resampler keeps a filter for every phase between two rates: 0.3 MB from 44,100 to 16,000 Hz, 11 GB from 44,101."""
TOO_LOUD = "so loud that its power is not finite"


class UnusableSound(Exception):
    """A sound that cannot become a spectrogram; the message is the reason."""


def read_stretches(path: Path, settings: SpectrogramSettings) -> tuple[list[Float[np.ndarray, " _"]], int]:
    """Decodes what a record holds of a file and mixes it to mono; float32 at the file's rate in Hz, which comes second.

    Of sound that is longer than `record_s`: the middles of `num_crops` equal stretches of it, and nothing between them
    is decoded. Of shorter sound: all of it, as one stretch.

    Raises:
        UnusableSound: the file does not decode, is too short, silent or not finite.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            decoded = [_mono(file, start, wanted) for start, wanted in _spans(file.frames, rate, settings)]
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        raise UnusableSound(f"does not decode: {' '.join(str(error).split())}") from error
    check_stretches(decoded, rate)
    return decoded, rate


def cut_stretches(
    waveform: Float[np.ndarray, " samples"], rate: int, settings: SpectrogramSettings
) -> list[Float[np.ndarray, " _"]]:
    """What `read_stretches` gives of a file with this mono sound in it; raises likewise."""
    stretches = [waveform[start : start + wanted] for start, wanted in _spans(len(waveform), rate, settings)]
    check_stretches(stretches, rate)
    return stretches


def check_stretches(stretches: Sequence[Float[np.ndarray, " _"]], rate: int) -> None:
    """Raises `UnusableSound` for what is too short, cut short, silent or not finite."""
    samples = sum(len(mono) for mono in stretches)
    if samples < MIN_SOUND_S * rate:
        raise UnusableSound(f"too short: {samples / rate:.3f} s")
    if not all(len(mono) for mono in stretches):
        raise UnusableSound("cut short: nothing where a crop should be")
    peaks = np.array([np.abs(mono).max() for mono in stretches])  # NaN where a sample is NaN
    if not np.isfinite(peaks).all():
        raise UnusableSound("has samples that are not finite")
    if peaks.max() < SILENCE:
        raise UnusableSound("silent")


def _spans(frames: int, rate: int, settings: SpectrogramSettings) -> list[tuple[int, int]]:
    """(first frame, frames) of what is read of sound that says it has `frames`."""
    wanted, num_crops = round(settings.record_s * rate), settings.num_crops
    if frames <= wanted:
        return [(0, wanted)]
    length = -(-wanted // num_crops)
    middles = [(2 * crop + 1) * frames for crop in range(num_crops)]  # in frames / (2 num_crops)
    return [(max(0, (middle - num_crops * length) // (2 * num_crops)), length) for middle in middles]


def _mono(file: soundfile.SoundFile, start: int, wanted: int) -> Float[np.ndarray, " samples"]:
    if start:
        file.seek(start)
    samples = file.read(wanted, dtype="float32", always_2d=True)
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
