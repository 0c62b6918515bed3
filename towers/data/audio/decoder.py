"""Decodes sound files to records, several at a time. Imports torch."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch

from towers.data.audio.log_mel import LogMel, UnusableSound, read_crops, record_from
from towers.data.audio.sound_objects import on_disk
from towers.data.audio.spectrogram_parts import Decoding, Heard, Part, SoundFile, SoundProgress
from towers.features.settings import SpectrogramSettings


class Decoder:
    """Decodes sound files to records, several at a time.

    Args:
        settings: settings of the spectrogram.
        known: function from a file's digest to its earlier result; null for a file that has to be decoded.
        num_workers: number of threads; libsndfile and torch release Python's lock.
    """

    def __init__(self, settings: SpectrogramSettings, known: Callable[[str], Heard | None], num_workers: int):
        self._settings = settings
        self._log_mel = LogMel(settings)
        self._known = known
        self._num_workers = num_workers

    def write(self, parts: Sequence[Part], on_progress: SoundProgress) -> Decoding:
        """Decodes and writes the parts that are missing, one after the other; returns how much was decoded."""
        missing = [part for part in parts if not part.folder.exists()]
        total = sum(len(part.files) for part in parts)
        done = total - sum(len(part.files) for part in missing)
        decoding, wall, core = Decoding(), time.perf_counter(), time.process_time()

        def told(results: Iterator[tuple[Heard, float | None]], number: int) -> Iterator[Heard]:
            nonlocal done
            for _ in range(number):
                result, sound_s = next(results)
                if sound_s is not None:
                    decoding.files += 1
                    decoding.sound_s += sound_s
                done += 1
                decoding.wall_s = time.perf_counter() - wall
                on_progress(done, total, decoding.rate)
                yield result

        with _single_threaded_torch(), ThreadPoolExecutor(self._num_workers) as pool:
            results = self._in_order(pool, (file for part in missing for file in part.files))
            for part in missing:
                part.write(told(results, len(part.files)))
        decoding.core_s = time.process_time() - core
        return decoding

    def _in_order(self, pool: ThreadPoolExecutor, files: Iterator[SoundFile]) -> Iterator[tuple[Heard, float | None]]:
        """Yields the result of `_one` for every file, in order, with a bounded number of files in work."""
        pending: deque[Future[tuple[Heard, float | None]]] = deque()
        for file in files:
            pending.append(pool.submit(self._one, file))
            if len(pending) >= 8 * self._num_workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def _one(self, file: SoundFile) -> tuple[Heard, float | None]:
        """Decodes a file; returns the result, and how many seconds were decoded (None where it was not read)."""
        if file.refusal is not None:
            return Heard(record=None, reason=file.refusal), None
        known = None if file.digest is None else self._known(file.digest)
        if known is not None:
            return known, None
        try:
            with torch.inference_mode(), on_disk(file.path) as path:
                crops, remark = read_crops(path, self._settings)
                record = record_from(crops, self._log_mel, self._settings)
        except UnusableSound as error:
            return Heard(record=None, reason=str(error)), 0.0
        return Heard(record=record, reason=remark), sum(map(len, crops)) / self._settings.sample_rate


@contextmanager
def _single_threaded_torch() -> Iterator[None]:
    """Lets torch use one thread for each file, since files are decoded in parallel."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
