"""Sound files as broken tools, pipes and lost connections leave them, made of whole ones."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import soundfile

RATE_HZ, PART_S = 22_050, 2.0
TONES_HZ = (300, 700, 1_100, 1_900, 2_900, 3_700, 4_700)
"""Tones of equal parts of the sound, so that a tone identifies its place."""
SECONDS = PART_S * len(TONES_HZ)


def sound() -> np.ndarray:
    """Fourteen seconds, the first 1.5 of them nearly silent, so that a variable bit rate begins low."""
    time = np.arange(round(PART_S * RATE_HZ)) / RATE_HZ
    tones = np.concatenate([0.3 * np.sin(2 * np.pi * hz * time) for hz in TONES_HZ])
    tones += np.random.default_rng(0).normal(0, 0.02, len(tones))
    tones[: round(1.5 * RATE_HZ)] *= 1e-4
    return tones.astype(np.float32)


def written(container: str, samples: np.ndarray | None = None, **how: object) -> bytes:
    """The bytes of a file."""
    file = BytesIO()
    soundfile.write(file, sound() if samples is None else samples, RATE_HZ, format=container, **how)
    return file.getvalue()


def variable_mp3() -> bytes:
    """Returns an MP3 file of variable bit rate, with a Xing header."""
    return written("MP3", bitrate_mode="VARIABLE", compression_level=0.5)


def without_xing(content: bytes) -> bytes:
    """Returns an mp3 without the frame that holds the number of frames."""
    place = content.find(b"\xff", 60)
    while content[place : place + 2] != content[:2]:
        place = content.find(b"\xff", place + 1)
    return content[place:]


def with_xing_frames(content: bytes, factor: float) -> bytes:
    """Returns an mp3 whose Xing header has another number of frames."""
    place = content.find(b"Xing") + 8
    frames = round(int.from_bytes(content[place : place + 4], "big") * factor)
    return content[:place] + frames.to_bytes(4, "big") + content[place + 4 :]


def with_wav_length(content: bytes, length: int) -> bytes:
    """Returns a wav whose header has another number of bytes of samples."""
    place = content.find(b"data") + 4
    return content[:place] + length.to_bytes(4, "little") + content[place + 4 :]


def with_flac_length(content: bytes, samples: int) -> bytes:
    """Returns a FLAC whose header has another number of samples; 0: unknown."""
    assert content[4] & 0x7F == 0
    facts = int.from_bytes(content[18:26], "big") >> 36 << 36 | samples
    return content[:18] + facts.to_bytes(8, "big") + content[26:]


def half(content: bytes) -> bytes:
    """Returns the first half of a file, as a lost connection leaves it."""
    return content[: len(content) // 2]


WRONG_LENGTHS: dict[str, Callable[[], bytes]] = {
    "piped.mp3": lambda: without_xing(variable_mp3()),
    "piped, tagged.mp3": lambda: b"ID3\4\0\0\0\0\1\0" + bytes(128) + without_xing(variable_mp3()) + b"TAG" + bytes(125),
    "understated.mp3": lambda: with_xing_frames(variable_mp3(), 0.1),
    "constant.mp3": lambda: written("MP3", bitrate_mode="CONSTANT"),
    "piped.wav": lambda: with_wav_length(written("WAV"), 0xFFFFFFFF),
    "killed.wav": lambda: with_wav_length(written("WAV"), 0),
    "understated.wav": lambda: with_wav_length(written("WAV"), 1_000),
    "piped.flac": lambda: with_flac_length(written("FLAC"), 0),
    "understated.flac": lambda: with_flac_length(written("FLAC"), RATE_HZ),
}
"""Whole sounds whose header has no length, or a wrong one."""
CUT = {"a.mp3": "MP3", "a.ogg": "OGG", "a.wav": "WAV", "a.flac": "FLAC", "a.aiff": "AIFF", "a.au": "AU"}
"""Formats of files that are cut in half; what remains can be heard."""
