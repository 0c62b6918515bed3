"""The spectrograms of a catalogue, made: decoded in parallel, and only where they are not there yet."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from towers.data.log_mel import LogMel, UnusableSound, spectrogram_of
from towers.data.spectrograms import RECORDS, REJECTED, ROWS
from towers.errors import UserError
from towers.features.settings import SpectrogramSettings
from towers.manifest import FileDigests, atomic_directory, digest_of


def check_paths(root: Path, content_ids: Sequence[str], audio: Sequence[str]) -> list[Path]:
    """The audio files below `root`.

    Raises:
        UserError: a path that leaves the data set's folder, by `..`, by being absolute, or by a symbolic link, or
            that no file can have.
    """
    base = root.resolve()
    paths = []
    for content_id, name in zip(content_ids, audio, strict=True):
        path = root / name
        try:
            path.is_file()  # raises for a name that is too long
            is_inside = path.resolve().is_relative_to(base)
        except (OSError, ValueError, RuntimeError) as error:
            where = f"contents/: content_id {content_id!r}, column audio"
            raise UserError(f"{where}: {name[:80]!r} is no path ({type(error).__name__})") from error
        if not is_inside:
            raise UserError(
                f"contents/: content_id {content_id!r}, column audio: {name!r} leaves the data set's folder {root}; "
                "audio paths are relative to it and stay inside"
            )
        paths.append(path)
    return paths


class SpectrogramSet:
    """The spectrograms that a catalogue should have; `make` writes them where they are not there yet.

    Args:
        folder: where sets of spectrograms stand, each under its fingerprint.
        root: what `audio` is relative to.
        content_ids: whose sound it is.
        audio: path of the sound file.
        settings: of the spectrogram.

    Raises:
        UserError: a path leaves `root`.
    """

    def __init__(
        self, folder: Path, root: Path, content_ids: Sequence[str], audio: Sequence[str], settings: SpectrogramSettings
    ):
        self._paths = check_paths(root, content_ids, audio)
        self._content_ids = content_ids
        self._settings = settings
        folder.mkdir(parents=True, exist_ok=True)
        digests = FileDigests(folder / "digests.json")
        files = digests.of([path for path in self._paths if path.is_file()], root)
        digests.save()
        self.target = folder / digest_of([files, list(zip(content_ids, audio, strict=True)), repr(settings)])[:16]

    def make(self, num_workers: int, on_progress: Callable[[int, int], None]) -> None:
        """Decodes and writes.

        Args:
            num_workers: decoding threads; the decoder and torch let go of Python's lock.
            on_progress: called with (done, all) after each file.
        """
        if not self.target.exists():
            with atomic_directory(self.target) as temporary:
                _write(temporary, self._paths, self._content_ids, self._settings, num_workers, on_progress)


def _write(
    folder: Path,
    paths: list[Path],
    content_ids: Sequence[str],
    settings: SpectrogramSettings,
    num_workers: int,
    on_progress: Callable[[int, int], None],
) -> None:
    shape = (len(paths), settings.n_mels, settings.num_frames)
    log_mel = LogMel(settings)

    def one(path: Path) -> np.ndarray | str:
        try:
            return spectrogram_of(path, log_mel, settings)
        except UnusableSound as error:
            return str(error)

    # Records are written as they come and usable ones moved together, so that memory does not grow with the catalogue.
    records = _array(folder / "all.npy", shape)
    kept: list[int] = []
    rejected: list[tuple[str, str, str]] = []
    with _single_threaded_torch(), torch.inference_mode(), ThreadPoolExecutor(num_workers) as pool:
        for place, result in enumerate(_in_order(pool, one, paths, ahead=8 * num_workers)):
            if isinstance(result, str):
                rejected.append((content_ids[place], str(paths[place]), result))
            else:
                records[len(kept)] = result
                kept.append(place)
            on_progress(place + 1, len(paths))
    usable = _array(folder / RECORDS, (len(kept), *shape[1:]))
    usable[:] = records[: len(kept)]
    (folder / "all.npy").unlink()
    ids = pa.array([content_ids[place] for place in kept], pa.string())
    pq.write_table(pa.table({"content_id": ids}), folder / ROWS)
    columns = zip(*rejected, strict=True) if rejected else ((), (), ())
    names = ("content_id", "audio", "reason")
    bad = {name: pa.array(list(values), pa.string()) for name, values in zip(names, columns, strict=True)}
    pq.write_table(pa.table(bad), folder / REJECTED)


def _array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A float16 array in a file: memory-mapped, unless it is empty."""
    if shape[0] == 0:
        np.save(path, np.zeros(shape, np.float16))
        return np.zeros(shape, np.float16)
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)


def _in_order(pool: ThreadPoolExecutor, one: Callable, paths: list[Path], ahead: int) -> Iterator[np.ndarray | str]:
    """Results in the order of `paths`, with a bounded number of files under way."""
    pending = []
    for path in paths:
        pending.append(pool.submit(one, path))
        if len(pending) >= ahead:
            yield pending.pop(0).result()
    for future in pending:
        yield future.result()


@contextmanager
def _single_threaded_torch() -> Iterator[None]:
    """One thread a file: the files are the parallel part."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
