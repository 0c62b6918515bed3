"""Sound to what an exported content tower reads: mono, float32, at the model's rate. Knows no torch."""

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import soxr
from jaxtyping import Float, Shaped

from towers.features.settings import SpectrogramSettings
from towers.features.sound import MAX_KERNEL, UnusableSound, cut_stretches, read_stretches

ZERO_CROSSINGS, ROLLOFF = 6, 0.99
"""Of torchaudio's low-pass filter, as it stands when nothing is said."""


def waveform_of(
    sound: Path | tuple[Shaped[np.ndarray, "..."], int], settings: SpectrogramSettings
) -> Float[np.ndarray, " samples"]:
    """What the content tower reads of a sound, so that it makes of it the record that `prepare` makes.

    Args:
        sound: a file, or samples (`[samples]` or `[samples, channels]`, floats of which 1 is full scale) and their
            rate in Hz.
        settings: of the spectrogram.

    Returns:
        Float32, at `settings.sample_rate`, of longer sound only what a record holds, as `laid_out` lays it.

    Raises:
        UnusableSound: it does not decode, is too short, silent or not finite, or is not samples and a rate.
    """
    return laid_out(crops_of(sound, settings), settings)


def crops_of(
    sound: Path | tuple[Shaped[np.ndarray, "..."], int], settings: SpectrogramSettings
) -> list[Float[np.ndarray, " _"]]:
    """What a record holds of a sound, resampled; a file is decoded there alone. As `waveform_of`."""
    if isinstance(sound, Path):
        stretches = read_stretches(sound, settings)
    else:
        stretches = cut_stretches(_channels(*sound), sound[1], settings)
    return [resample(mono, stretches.rate, settings.sample_rate) for mono in stretches.mono]


def laid_out(
    crops: Sequence[Float[np.ndarray, " _"]], settings: SpectrogramSettings
) -> Float[np.ndarray, " samples_together"]:
    """One after the other, so that the content tower cuts several where they were laid.

    It takes the middles of equal stretches where there is more than a record, so each is a sample longer than a crop.
    """
    wanted = round(settings.record_s * settings.sample_rate)
    if len(crops) == 1:
        return crops[0][:wanted]
    return np.concatenate([np.resize(crop, -(-wanted // settings.num_crops) + 1) for crop in crops])


def _channels(samples: Shaped[np.ndarray, "..."], rate: int) -> Float[np.ndarray, "samples channels"]:
    if rate < 1:
        raise UnusableSound(f"a rate of {rate} Hz")
    if not np.issubdtype(samples.dtype, np.floating) or samples.ndim not in (1, 2):
        raise UnusableSound(
            f"samples are {samples.dtype} of {samples.ndim} dimensions, must be floats [samples] or [samples, channels]"
        )
    return samples.reshape(len(samples), -1).astype(np.float32, copy=False)


def resample(waveform: Float[np.ndarray, " samples"], rate: int, new_rate: int) -> Float[np.ndarray, " samples_after"]:
    """From one rate in Hz to another, as `torchaudio.transforms.Resample` does it, to the last bits of float32.

    Its filter lets through what others cut off just below half the new rate. Where the model has learnt from records
    made with it, soxr's sharper filter moves the vectors of new contents by more than it takes to change what is near.

    A windowed sinc for every phase between the rates (J. O. Smith, "Digital audio resampling",
    ccrma.stanford.edu/~jos/resample); soxr where that would take too much memory, as in `prepare`.
    """
    common = math.gcd(rate, new_rate)
    before, after = rate // common, new_rate // common
    if before == after:
        return waveform
    if before * after > MAX_KERNEL:
        return soxr.resample(waveform, rate, new_rate)
    filters, width = _filters(before, after)
    padded = np.pad(waveform, (width, width + before))
    windows = np.lib.stride_tricks.sliding_window_view(padded, filters.shape[0])[::before]
    return (windows @ filters).reshape(-1)[: -(-after * len(waveform) // before)]


@lru_cache(maxsize=16)
def _filters(before: int, after: int) -> tuple[Float[np.ndarray, "taps after"], int]:
    """A column for every phase, float32; and the samples before a window's first."""
    cutoff = min(before, after) * ROLLOFF
    width = math.ceil(ZERO_CROSSINGS * before / cutoff)
    # In float32 from the start, as torchaudio makes them: the same numbers, rounding and all.
    taps = np.arange(-width, width + before, dtype=np.float32)[:, None] / np.float32(before)
    phases = np.arange(0, -after, -1, dtype=np.float32) / np.float32(after)
    times = ((phases + taps) * np.float32(cutoff)).clip(-ZERO_CROSSINGS, ZERO_CROSSINGS)
    window = np.cos(times * np.float32(np.pi) / ZERO_CROSSINGS / 2) ** 2
    return (np.sinc(times) * window * np.float32(cutoff / before)).astype(np.float32), width
