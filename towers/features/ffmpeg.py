"""Sound in formats that libsndfile does not know (m4a, aac, wma, webm), decoded by FFmpeg through PyAV."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from jaxtyping import Float

from towers.features.recording import UNKNOWN_FRAMES, UndecodableSound

RUN_UP_S = 0.2
"""Decoded before a stretch and left out of it: a frame needs the one before."""


@contextmanager
def open_with_ffmpeg(path: Path) -> Iterator["FfmpegRecording"]:
    """The first sound of a file.

    Raises:
        UndecodableSound: it is none, or has no sound.
    """
    try:
        with _opened(path) as container:
            end = _end(container, _sound_of(container))
        with _opened(path) as container:
            yield FfmpegRecording(container, _sound_of(container), end)
    except FFmpegError as error:
        raise UndecodableSound(error.strerror or type(error).__name__) from error


def _opened(path: Path) -> InputContainer:
    return av.open(str(path), metadata_errors="replace")


def _sound_of(container: InputContainer) -> AudioStream:
    for stream in container.streams.audio:
        if stream.rate:
            return stream
    raise UndecodableSound("no sound in it")


def _end(container: InputContainer, stream: AudioStream) -> int:
    """When the last packet ends, in the stream's unit; none is decoded. What the header says may be an estimate."""
    end = 0
    with suppress(FFmpegError):  # cut short
        for packet in container.demux(stream):
            if packet.pts is not None:
                end = max(end, packet.pts + (packet.duration or 0))
    return end


class FfmpegRecording:
    """A `Recording` of one stream.

    Args:
        container: opened.
        stream: of it.
        end: of its last packet, in the stream's unit; 0 where packets do not tell.
    """

    def __init__(self, container: InputContainer, stream: AudioStream, end: int):
        self._container = container
        self._stream = stream
        self._seconds = float(stream.time_base or 0)
        self.rate = stream.rate
        self.is_cut = False
        frames = container.decode(stream)
        first = next(frames, None)
        self._begin = 0 if first is None or first.pts is None else first.pts
        self.frames = max(0, round((end - self._begin) * self._seconds * self.rate)) or UNKNOWN_FRAMES
        # Without a table of all frames, a duration is an estimate.
        duration = stream.duration if stream.frames else None
        self.stated = None if duration is None else round(duration * self._seconds * self.rate)
        self._blocks = self._decoded(frames if first is None else chain([first], frames))
        self._position = 0
        self._left = np.zeros((0, 1), np.float32)

    def read(self, start: int, count: int) -> Float[np.ndarray, "samples channels"]:
        """Goes on from where it stands where that is near; else leaps to a little before."""
        if not self._position <= start <= self._position + self.rate:
            self._leap(start)
        parts, end = [self._left[:0]], min(start + count, self.frames)
        while self._position < end:
            block = self._left if len(self._left) else next(self._blocks, None)
            if block is None:
                break
            skipped = min(max(0, start - self._position), len(block))
            kept = block[skipped : max(skipped, end - self._position)]
            parts.append(kept)
            self._left = block[skipped + len(kept) :]
            self._position += skipped + len(kept)
        return np.concatenate(parts[1:] or parts)

    def _leap(self, start: int) -> None:
        self._left = self._left[:0]
        if self._seconds and start > RUN_UP_S * self.rate:
            offset = self._begin + round((start / self.rate - RUN_UP_S) / self._seconds)
            self._container.seek(offset, stream=self._stream)
            first = next(frames := self._container.decode(self._stream), None)
            if first is not None and first.pts is not None:
                self._position = round((first.pts - self._begin) * self._seconds * self.rate)
                self._blocks = self._decoded(chain([first], frames))
                if 0 <= self._position <= start:
                    return
        # Nobody knows where it has leapt to: all of it, then.
        self._container.seek(self._begin, stream=self._stream)
        self._blocks, self._position = self._decoded(self._container.decode(self._stream)), 0

    def _decoded(self, frames: Iterable[AudioFrame]) -> Iterator[Float[np.ndarray, "samples channels"]]:
        resampler = AudioResampler(format="fltp", rate=self.rate)
        for frame in frames:
            for block in resampler.resample(frame):
                yield np.ascontiguousarray(block.to_ndarray().T)
