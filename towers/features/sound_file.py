"""Opens audio files for random access, with libsndfile or FFmpeg."""

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
"""Pattern of libsndfile's log message for a file that is shorter than its header says."""
LEFT_OPEN = 0x7FFF0000
"""Lengths in bytes from this number on are placeholders, which programs that write into a pipe leave in the header."""


def has_ffmpeg() -> bool:
    """Returns whether PyAV is installed, which contains FFmpeg's decoders."""
    return find_spec("av") is not None


def takes_ffmpeg(path: Path) -> bool:
    """Returns whether a file's extension is that of a format that needs FFmpeg, as libsndfile does not support it."""
    return path.suffix.lower() in FFMPEG_SUFFIXES


@contextmanager
def open_sound(path: Path) -> Iterator[Recording]:
    """Opens a regular file with libsndfile, or with FFmpeg if libsndfile does not support its format.

    Raises:
        UndecodableSound: no installed decoder can read it.
        Exception: other errors of the decoders.
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
            with _opened(path) as again:  # the first handle cannot be read on after an error
                yield _Libsndfile(again, UNKNOWN_FRAMES, file.frames)
        else:
            is_cut = file.format == "OGG" and ogg_lacks_its_end(path)
            yield _Libsndfile(file, file.frames, _promised(file), is_cut=is_cut)


def _by_ffmpeg(path: Path, error: soundfile.LibsndfileError) -> AbstractContextManager[Recording]:
    if path.suffix.lower() in BARE_SUFFIXES:
        raise UndecodableSound("bare samples, whose rate and format are unknown: write them as wav or flac") from error
    if has_ffmpeg():
        from towers.features.ffmpeg import open_with_ffmpeg

        return open_with_ffmpeg(path)
    if takes_ffmpeg(path):
        raise UndecodableSound(f"{path.suffix} {TAKES_FFMPEG}") from error
    raise UndecodableSound(error.error_string) from error


def _opened(path: Path) -> soundfile.SoundFile:
    if path.suffix.lower() not in BARE_SUFFIXES:
        return soundfile.SoundFile(path)
    # Opened by descriptor, because soundfile asks for the rate of files with these extensions.
    return soundfile.SoundFile(os.open(path, os.O_RDONLY), closefd=True)


class _Libsndfile:
    """A `Recording` that libsndfile decodes."""

    def __init__(self, file: soundfile.SoundFile, frames: int, stated: int | None, *, is_cut: bool = False):
        self._file = file
        self.rate = file.samplerate
        self.frames = frames
        self.stated = stated
        self.is_cut = is_cut

    def read(self, start: int, count: int) -> Float[np.ndarray, "samples channels"]:
        """Reads from `start` on; seeks first, unless the file is untouched and `start` is 0."""
        if start != self._file.tell() or start:
            self._file.seek(start)
        return self._file.read(count, dtype="float32", always_2d=True)


def _lacks_its_end(file: soundfile.SoundFile) -> bool:
    """Returns whether a FLAC file's last sample is missing; for other formats libsndfile reports the real length."""
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
    """Returns the frames that the header of an uncompressed file states if the file ends before them; else null."""
    for promised, found in SHOULD_BE.findall(file.extra_info):
        if int(found) < int(promised) < LEFT_OPEN:
            return round(file.frames * int(promised) / int(found))
    return None
