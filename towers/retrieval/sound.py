"""Conversion of sound to the input of an exported content tower: mono, float32, at the model's sample rate.

It imports no torch.
"""

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
"""Default parameters of torchaudio's low-pass filter."""


def waveform_of(
    sound: Path | tuple[Shaped[np.ndarray, "..."], int], settings: SpectrogramSettings
) -> Float[np.ndarray, " samples"]:
    """Returns the waveform that the content tower reads, from which it makes the same record as `prepare`.

    Args:
        sound: audio file, or samples (`[samples]` or `[samples, channels]`, floats with full scale 1) and their rate in
            Hz.
        settings: settings of the spectrogram.

    Returns:
        Waveform, float32, at `settings.sample_rate`; of longer sound only the part in a record, in the layout of
        `laid_out`.

    Raises:
        UnusableSound: the sound does not decode, is too short, silent or not finite, or the samples or their rate are
            invalid.
    """
    return laid_out(crops_of(sound, settings), settings)


def crops_of(
    sound: Path | tuple[Shaped[np.ndarray, "..."], int], settings: SpectrogramSettings
) -> list[Float[np.ndarray, " _"]]:
    """Returns the resampled stretches of a sound that make up a record, and decodes only these of a file.

    Arguments and errors are those of `waveform_of`.
    """
    if isinstance(sound, Path):
        stretches = read_stretches(sound, settings)
    else:
        stretches = cut_stretches(_channels(*sound), sound[1], settings)
    return [resample(mono, stretches.rate, settings.sample_rate) for mono in stretches.mono]


def laid_out(
    crops: Sequence[Float[np.ndarray, " _"]], settings: SpectrogramSettings
) -> Float[np.ndarray, " samples_together"]:
    """Concatenates crops so that the content tower cuts them out again at the same places.

    From a waveform longer than a record, the tower takes the middles of equal parts, so each part here is one sample
    longer than a crop.
    """
    wanted = round(settings.record_s * settings.sample_rate)
    if len(crops) == 1:
        return crops[0][:wanted]
    return np.concatenate([np.resize(crop, -(-wanted // settings.num_crops) + 1) for crop in crops])


def _channels(samples: Shaped[np.ndarray, "..."], rate: int) -> Float[np.ndarray, "samples channels"]:
    if rate < 1:
        raise UnusableSound(f"a rate of {rate} Hz, must be at least 1")
    if not np.issubdtype(samples.dtype, np.floating) or samples.ndim not in (1, 2):
        raise UnusableSound(
            f"samples are {samples.dtype} of {samples.ndim} dimensions, must be floats [samples] or [samples, channels]"
        )
    return samples.reshape(len(samples), -1).astype(np.float32, copy=False)


def resample(waveform: Float[np.ndarray, " samples"], rate: int, new_rate: int) -> Float[np.ndarray, " samples_after"]:
    """Resamples from one rate in Hz to another like `torchaudio.transforms.Resample`, to the last bits of float32.

    Its filter passes frequencies just below half the new rate that sharper filters cut off. For a model trained on such
    records, soxr's sharper filter would move the vectors of new contents far enough to change their neighbours.

    The filter is a windowed sinc for every phase between the rates (J. O. Smith, "Digital audio resampling",
    ccrma.stanford.edu/~jos/resample). If the filters would take too much memory, soxr is used, as in `prepare`.
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
    """Returns the filters, float32, with a column for every phase, and the samples of padding at the start."""
    cutoff = min(before, after) * ROLLOFF
    width = math.ceil(ZERO_CROSSINGS * before / cutoff)
    # Computed in float32 throughout, as in torchaudio, so that rounding is the same.
    taps = np.arange(-width, width + before, dtype=np.float32)[:, None] / np.float32(before)
    phases = np.arange(0, -after, -1, dtype=np.float32) / np.float32(after)
    times = ((phases + taps) * np.float32(cutoff)).clip(-ZERO_CROSSINGS, ZERO_CROSSINGS)
    window = np.cos(times * np.float32(np.pi) / ZERO_CROSSINGS / 2) ** 2
    return (np.sinc(times) * window * np.float32(cutoff / before)).astype(np.float32), width
