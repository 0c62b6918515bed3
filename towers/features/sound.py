"""What is read of a sound, and which sounds will not do: one set of rules for training and for serving. No torch."""

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
"""Where less than this is missing, it is an encoder's padding."""
CANCELLED = 0.05
"""Share of the power that channels without any relation have when mixed, below which they cancel each other: two whose
correlation is under -0.95. Ogg and mp3 leave some noise where there was nothing."""
BLOCKS = (1 << 12, 1 << 6)
"""Frames that are read at once where they are only counted, and again from where that failed."""
MAX_KERNEL = 1 << 20
"""A resampler keeps a filter for every phase between two rates: 0.3 MB from 44,100 to 16,000 Hz, 11 GB from 44,101."""
UNDECODED = "does not decode"
TOO_LOUD = "so loud that its power is not finite"


class UnusableSound(Exception):
    """A sound that cannot become a spectrogram; the message is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretches:
    """What a record holds of a sound, before it is resampled.

    Args:
        mono: the stretches, float32.
        rate: in Hz.
        remark: in which way they are not the whole sound, or not its mix; null where they are.
    """

    mono: list[Float[np.ndarray, " _"]]
    rate: int
    remark: str | None = None


def read_stretches(path: Path, settings: SpectrogramSettings) -> Stretches:
    """Decodes what a record holds of a file and mixes it to mono, at the file's rate.

    Of sound that is longer than `record_s`: the middles of `num_crops` equal stretches of it, and nothing between them
    is decoded. Of shorter sound: all of it, as one stretch. Of a file that is cut short, or damaged: of what decodes
    before. How long a sound is, decoding decides; the header is believed where it can be.

    Raises:
        UnusableSound: there is no such file, it does not decode, is too short, silent or not finite.
    """
    if not path.is_file():  # a pipe would be waited for
        kind = "is no file" if path.exists() else "no such file"
        raise UnusableSound(f"{kind}: {path.absolute()}")
    try:
        parts, rate, remark = _decoded(path, settings)
    except Exception as error:  # whatever a decoder raises: it is this file's fault, and no other's
        raise UnusableSound(f"{UNDECODED}: {' '.join(str(error).split()) or type(error).__name__}") from error
    return _mixed(parts, rate, remark)


def cut_stretches(
    samples: Float[np.ndarray, "samples channels"], rate: int, settings: SpectrogramSettings
) -> Stretches:
    """What `read_stretches` gives of a file with this sound in it; raises likewise."""
    return _mixed([samples[start : start + wanted] for start, wanted in _spans(len(samples), rate, settings)], rate)


def _decoded(
    path: Path, settings: SpectrogramSettings
) -> tuple[list[Float[np.ndarray, "_ channels"]], int, str | None]:
    """Stretches with all their channels, the rate, and what is missing of the sound, if anything."""
    parts = None
    with open_sound(path) as recording:
        rate, frames = recording.rate, recording.frames
        stated, is_cut = recording.stated or frames, recording.is_cut
        if frames < UNKNOWN_FRAMES:
            with suppress(Exception):  # damaged where a stretch should be
                parts = _read(recording, frames, settings)
    if parts is None:
        frames = _counted(path)
        with open_sound(path) as recording:
            parts = _read(recording, frames, settings)
        if not frames or parts is None:
            raise UndecodableSound("nothing of it decodes")
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
    """The stretches of sound that is so long, but for padding; null where it is shorter."""
    parts = []
    for start, wanted in _spans(frames, recording.rate, settings):
        there = min(wanted, frames - start)
        parts.append(recording.read(start, there))
        if len(parts[-1]) < min(there, max(1, there - LOST_S * recording.rate)):
            return None
    return parts


def _counted(path: Path) -> int:
    """How many frames decode, up to the end or to damage; to the last few, for a block with damage in it is lost."""
    frames = 0
    for block in BLOCKS:
        # What libsndfile raises where the length is open, and the end has come, is no other error than damage.
        with open_sound(path) as recording, suppress(Exception):
            while read := len(recording.read(frames, block)):
                frames += read
    return frames


def _mixed(parts: Sequence[Float[np.ndarray, "_ channels"]], rate: int, remark: str | None = None) -> Stretches:
    """The mean of the channels; of those that cancel each other the loudest alone.

    Raises:
        UnusableSound: it is too short, silent or not finite.
    """
    mono = [part[:, 0] if part.shape[1] == 1 else part.mean(axis=1) for part in parts]
    if parts[0].shape[1] > 1:
        with np.errstate(over="ignore", invalid="ignore"):  # what is too loud is found out below
            some = np.concatenate([part[::8] for part in parts])  # tells as much, and takes an eighth of the time
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
    """(first frame, frames) of what is read of sound that has so many `frames`."""
    wanted, num_crops = round(settings.record_s * rate), settings.num_crops
    if frames <= wanted:
        return [(0, wanted)]
    length = -(-wanted // num_crops)
    middles = [(2 * crop + 1) * frames for crop in range(num_crops)]  # in frames / (2 num_crops)
    return [(max(0, (middle - num_crops * length) // (2 * num_crops)), length) for middle in middles]
