"""Rules for which part of a sound is read and which sounds are unusable; shared by training and serving, no torch."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from towers.features.recording import UNKNOWN_FRAMES, Recording, UndecodableSound
from towers.features.settings import SpectrogramSettings
from towers.features.sound_file import open_sound

MIN_SOUND_S = 0.1
SILENCE = 1e-4
LOST_S = 0.2
"""Seconds below which a missing end is taken for an encoder's padding."""
CANCELLED = 0.05
"""Threshold for channels that cancel each other: the power of their mix, as a share of what uncorrelated channels would
have. Two channels of equal power are below it if their correlation is under -0.95. It is not 0, because Ogg and MP3
leave some noise in silence."""
BLOCKS = (1 << 12, 1 << 6)
"""Frames per read while counting; the smaller blocks continue where a larger one failed."""
MAX_KERNEL = 1 << 20
"""Largest filter bank of a resampler, which holds a filter for every phase between two rates: 0.3 MB from 44,100 to
16,000 Hz, but 11 GB from 44,101 Hz."""
UNDECODED = "does not decode"
TOO_LOUD = "so loud that its power is not finite"


class UnusableSound(Exception):
    """A sound that cannot become a spectrogram; the message is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretches:
    """The parts of a sound that make up a record, before resampling.

    Args:
        mono: stretches of the mono mix, float32.
        rate: sample rate in Hz.
        remark: why the stretches are not taken from the whole sound or not from its mix; null if they are.
    """

    mono: list[Float[np.ndarray, " _"]]
    rate: int
    remark: str | None = None


def read_stretches(path: Path, settings: SpectrogramSettings) -> Stretches:
    """Decodes the parts of a file that make up its record and mixes them to mono, at the file's sample rate.

    Sound longer than `record_s` gives the middles of `num_crops` equal parts, and nothing between them is decoded.
    Shorter sound gives one stretch with all of it. For a truncated or damaged file, the sound is what decodes before
    the damage. The length in the header is used unless it proves wrong; then the decoded frames are counted.

    Raises:
        UnusableSound: the file does not exist or does not decode, or its sound is too short, silent or not finite.
    """
    if not path.is_file():  # opening a pipe would block
        kind = "is no file" if path.exists() else "no such file"
        raise UnusableSound(f"{kind}: {path.absolute()}")
    try:
        parts, rate, remark = _decoded(path, settings)
    except Exception as error:  # decoders raise errors of many types; only this file is affected
        raise UnusableSound(f"{UNDECODED}: {' '.join(str(error).split()) or type(error).__name__}") from error
    return _mixed(parts, rate, remark)


def cut_stretches(
    samples: Float[np.ndarray, "samples channels"], rate: int, settings: SpectrogramSettings
) -> Stretches:
    """Returns what `read_stretches` would return for a file with these samples, and raises the same errors."""
    return _mixed([samples[start : start + wanted] for start, wanted in _spans(len(samples), rate, settings)], rate)


def _decoded(
    path: Path, settings: SpectrogramSettings
) -> tuple[list[Float[np.ndarray, "_ channels"]], int, str | None]:
    """Returns stretches with all channels, the sample rate in Hz, and a remark if a part of the sound is missing."""
    parts = None
    with open_sound(path) as recording:
        rate, frames = recording.rate, recording.frames
        stated, is_cut = recording.stated or frames, recording.is_cut
        if frames < UNKNOWN_FRAMES:
            with suppress(Exception):  # the file is damaged within a stretch
                parts = _read(recording, frames, settings)
    if parts is None:
        frames = _counted(path)
        with open_sound(path) as recording:
            parts = _read(recording, frames, settings)
        if not frames or parts is None:
            raise UndecodableSound("no part of it decodes")
    if stated < UNKNOWN_FRAMES and stated - frames >= LOST_S * rate:
        return parts, rate, f"cut short: {frames / rate:,.1f} of {stated / rate:,.1f} s decode"
    return (
        parts,
        rate,
        f"cut short: its end is missing or stands by itself, {frames / rate:,.1f} s decode" if is_cut else None,
    )


def _read(
    recording: Recording, frames: int, settings: SpectrogramSettings
) -> list[Float[np.ndarray, "_ channels"]] | None:
    """Reads the stretches of a recording of `frames` frames; null if it turns out shorter by more than padding."""
    parts = []
    for start, wanted in _spans(frames, recording.rate, settings):
        there = min(wanted, frames - start)
        parts.append(recording.read(start, there))
        if len(parts[-1]) < min(there, max(1, there - LOST_S * recording.rate)):
            return None
    return parts


def _counted(path: Path) -> int:
    """Counts the frames that decode before the end or before damage, to within the size of the smallest block."""
    frames = 0
    for block in BLOCKS:
        # At the end of a file of unknown length, libsndfile raises the same error as for damage.
        with open_sound(path) as recording, suppress(Exception):
            while read := len(recording.read(frames, block)):
                frames += read
    return frames


def _mixed(parts: Sequence[Float[np.ndarray, "_ channels"]], rate: int, remark: str | None = None) -> Stretches:
    """Averages the channels, or takes the loudest one if they cancel each other.

    Raises:
        UnusableSound: the mix is too short, silent or not finite.
    """
    mono = [part[:, 0] if part.shape[1] == 1 else part.mean(axis=1) for part in parts]
    if parts[0].shape[1] > 1:
        with np.errstate(over="ignore", invalid="ignore"):  # `_check` finds samples that are not finite
            some = np.concatenate([part[::8] for part in parts])  # every eighth sample suffices
            products = some.T @ some
            is_cancelled = products.sum() < CANCELLED * np.trace(products)
        if is_cancelled:
            loudest = int(np.diagonal(products).argmax())
            mono = [np.ascontiguousarray(part[:, loudest]) for part in parts]
            cancelled = "channels cancel each other when mixed to mono: the loudest is taken"
            remark = cancelled if remark is None else f"{remark}; {cancelled}"
    _check(mono, rate)
    return Stretches(mono=mono, rate=rate, remark=remark)


def _check(stretches: Sequence[Float[np.ndarray, " _"]], rate: int) -> None:
    samples = sum(len(mono) for mono in stretches)
    if samples < MIN_SOUND_S * rate:
        raise UnusableSound(f"too short: {samples / rate:.3f} s")
    peaks = np.array([np.abs(mono).max() for mono in stretches])  # NaN where a sample is NaN
    if not np.isfinite(peaks).all():
        raise UnusableSound("has samples that are not finite")
    if peaks.max() < SILENCE:
        raise UnusableSound("silent")


def _spans(frames: int, rate: int, settings: SpectrogramSettings) -> list[tuple[int, int]]:
    """Returns (first frame, number of frames) of each stretch to read from sound with `frames` frames."""
    wanted, num_crops = round(settings.record_s * rate), settings.num_crops
    if frames <= wanted:
        return [(0, wanted)]
    length = -(-wanted // num_crops)
    middles = [(2 * crop + 1) * frames for crop in range(num_crops)]  # in frames / (2 num_crops)
    return [(max(0, (middle - num_crops * length) // (2 * num_crops)), length) for middle in middles]
