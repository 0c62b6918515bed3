"""Opens a file with sound in it, whatever decodes it, so that any stretch of it can be read."""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float

from towers.extras import how_to_install
from towers.features.recording import UNKNOWN_FRAMES, Recording, UndecodableSound
from towers.features.sound_headers import mended, ogg_lacks_its_end

FFMPEG_SUFFIXES = frozenset(
    (".m4a", ".m4b", ".mp4", ".aac", ".3gp", ".wma", ".asf", ".webm", ".mka", ".mkv", ".amr", ".ac3", ".ape", ".wv")
)
TAKES_FFMPEG = f"takes FFmpeg's decoders: {how_to_install('m4a')}"
BARE_SUFFIXES = (".raw", ".pcm")
SHOULD_BE = re.compile(r"^ *(?:data|SSND|Data Size|riff) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
"""How libsndfile logs that a file is shorter than its header says."""
LEFT_OPEN = 0x7FFF0000
"""Bytes: who writes into a pipe promises some more."""


def has_ffmpeg() -> bool:
    """Whether PyAV is installed, which brings FFmpeg's decoders along."""
    return find_spec("av") is not None


def takes_ffmpeg(path: Path) -> bool:
    """Whether a file, by its name, is of a format that libsndfile does not know and FFmpeg does."""
    return path.suffix.lower() in FFMPEG_SUFFIXES


@contextmanager
def open_sound(path: Path) -> Iterator[Recording]:
    """Opens a regular file by libsndfile, or by FFmpeg where that does not know it.

    Raises:
        UndecodableSound: nobody knows it.
        Exception: whatever else a decoder may raise.
    """
    try:
        file = _opened(path)
    except soundfile.LibsndfileError as error:
        with _by_ffmpeg(path, error) as recording:
            yield recording
        return
    with file:
        repaired = mended(path, file)
        if repaired is not None:
            with soundfile.SoundFile(BytesIO(repaired.content)) as whole:
                yield _Libsndfile(whole, whole.frames, repaired.stated)
        elif _lacks_its_end(file):
            with _opened(path) as again:  # after damage nothing more is read of the first
                yield _Libsndfile(again, UNKNOWN_FRAMES, file.frames)
        else:
            is_cut = file.format == "OGG" and ogg_lacks_its_end(path)
            yield _Libsndfile(file, file.frames, _promised(file), is_cut=is_cut)


def _by_ffmpeg(path: Path, error: soundfile.LibsndfileError) -> AbstractContextManager[Recording]:
    if path.suffix.lower() in BARE_SUFFIXES:
        raise UndecodableSound("bare samples, whose rate and format nobody knows: write them as wav or flac") from error
    if has_ffmpeg():
        from towers.features.ffmpeg import open_with_ffmpeg

        return open_with_ffmpeg(path)
    if takes_ffmpeg(path):
        raise UndecodableSound(f"{path.suffix} {TAKES_FFMPEG}") from error
    raise UndecodableSound(error.error_string) from error


def _opened(path: Path) -> soundfile.SoundFile:
    if path.suffix.lower() not in BARE_SUFFIXES:
        return soundfile.SoundFile(path)
    # By its content alone: of a name that ends so, soundfile wants to be told the rate.
    return soundfile.SoundFile(os.open(path, os.O_RDONLY), closefd=True)


class _Libsndfile:
    """A file that libsndfile has opened; a `Recording`."""

    def __init__(self, file: soundfile.SoundFile, frames: int, stated: int | None, *, is_cut: bool = False):
        self._file = file
        self.rate = file.samplerate
        self.frames = frames
        self.stated = stated
        self.is_cut = is_cut

    def read(self, start: int, count: int) -> Float[np.ndarray, "samples channels"]:
        """Seeks, unless this is the first stretch and the file's own beginning."""
        if start != self._file.tell() or start:
            self._file.seek(start)
        return self._file.read(count, dtype="float32", always_2d=True)


def _lacks_its_end(file: soundfile.SoundFile) -> bool:
    """Whether the last sample of a FLAC file is not there; of other formats libsndfile gives the length that is."""
    if file.format != "FLAC" or not 0 < file.frames < UNKNOWN_FRAMES:
        return False
    try:
        file.seek(file.frames - 1)
        has_end = len(file.read(1)) == 1
        file.seek(0)
    except soundfile.LibsndfileError:
        return True
    return not has_end


def _promised(file: soundfile.SoundFile) -> int | None:
    """The length that a header of bare samples promises, where the file ends before; null where it does not."""
    for promised, found in SHOULD_BE.findall(file.extra_info):
        if int(found) < int(promised) < LEFT_OPEN:
            return round(file.frames * int(promised) / int(found))
    return None
