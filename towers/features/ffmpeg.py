"""Decoding of audio formats that libsndfile does not support (m4a, aac, wma, webm), by FFmpeg through PyAV."""

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
"""Seconds that are decoded before a stretch and dropped, since a codec's frame depends on the previous one."""


@contextmanager
def open_with_ffmpeg(path: Path) -> Iterator["FfmpegRecording"]:
    """Opens the first audio stream of a file.

    Raises:
        UndecodableSound: FFmpeg cannot read the file, or the file has no audio stream.
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
    """Returns the end of the last packet in the stream's time base; 0 if no packet has a time.

    It reads the packets without decoding them, because the duration in the header may be an estimate.
    """
    end = 0
    with suppress(FFmpegError):  # a truncated file
        for packet in container.demux(stream):
            if packet.pts is not None:
                end = max(end, packet.pts + (packet.duration or 0))
    return end


class FfmpegRecording:
    """A `Recording` of one audio stream.

    Args:
        container: open container.
        stream: audio stream of the container.
        end: end of the stream's last packet, in its time base; 0 if the packets have no times.
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
        # In a container without a frame table, the duration is only an estimate.
        duration = stream.duration if stream.frames else None
        self.stated = None if duration is None else round(duration * self._seconds * self.rate)
        self._blocks = self._decoded(frames if first is None else chain([first], frames))
        self._position = 0
        self._left = np.zeros((0, 1), np.float32)

    def read(self, start: int, count: int) -> Float[np.ndarray, "samples channels"]:
        """Decodes on from the current position if `start` lies within the next second; seeks otherwise."""
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
        # The position after the seek is unknown or beyond the start, so decode from the beginning.
        self._container.seek(self._begin, stream=self._stream)
        self._blocks, self._position = self._decoded(self._container.decode(self._stream)), 0

    def _decoded(self, frames: Iterable[AudioFrame]) -> Iterator[Float[np.ndarray, "samples channels"]]:
        resampler = AudioResampler(format="fltp", rate=self.rate)
        for frame in frames:
            for block in resampler.resample(frame):
                yield np.ascontiguousarray(block.to_ndarray().T)
