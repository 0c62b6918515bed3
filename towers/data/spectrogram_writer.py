"""The spectrograms of a catalogue, made: decoded in parallel, and only sounds that are new."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from towers.data.log_mel import FRONT_END, LogMel, UnusableSound, spectrogram_of
from towers.data.spectrograms import FRONT, RECORDS, REJECTED, ROWS
from towers.errors import UserError
from towers.features.settings import SpectrogramSettings
from towers.manifest import FileDigests, atomic_directory, digest_of, read_json, write_json


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
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        memory = FileDigests(folder / "digests.json")
        files = memory.of([path for path in self._paths if path.is_file()], root)
        memory.save()
        self._digests = [files.get(str(path.relative_to(root))) for path in self._paths]
        self._front = {"format": FRONT_END, "settings": asdict(settings)}
        named = list(zip(content_ids, audio, strict=True))
        self.target = folder / digest_of([files, named, self._front])[:16]

    def make(self, num_workers: int, on_progress: Callable[[int, int], None]) -> None:
        """Decodes and writes; files that an earlier set of the same settings knows are copied from there.

        Args:
            num_workers: decoding threads; the decoder and torch let go of Python's lock.
            on_progress: called with (done, all) after each file.
        """
        if not self.target.exists():
            with atomic_directory(self.target) as temporary:
                self._write(temporary, num_workers, on_progress)

    def _write(self, folder: Path, num_workers: int, on_progress: Callable[[int, int], None]) -> None:
        shape = (len(self._paths), self._settings.n_mels, self._settings.num_frames)
        log_mel = LogMel(self._settings)
        known, earlier = self._known()

        def one(place: int) -> np.ndarray | str:
            digest = self._digests[place]
            if digest is not None and digest in known:
                found = known[digest]
                return found if isinstance(found, str) else earlier[found]
            try:
                return spectrogram_of(self._paths[place], log_mel, self._settings)
            except UnusableSound as error:
                return str(error)

        # Records are written as they come and usable ones moved together: memory does not grow with the catalogue.
        records = _array(folder / "all.npy", shape)
        kept: list[int] = []
        rejected: list[int] = []
        reasons: list[str] = []
        with _single_threaded_torch(), torch.inference_mode(), ThreadPoolExecutor(num_workers) as pool:
            for place, result in enumerate(_in_order(pool, one, shape[0], ahead=8 * num_workers)):
                if isinstance(result, str):
                    rejected.append(place)
                    reasons.append(result)
                else:
                    records[len(kept)] = result
                    kept.append(place)
                on_progress(place + 1, shape[0])
        usable = _array(folder / RECORDS, (len(kept), *shape[1:]))
        usable[:] = records[: len(kept)]
        (folder / "all.npy").unlink()
        pq.write_table(self._columns(kept), folder / ROWS)
        bad = self._columns(rejected)
        bad = bad.add_column(1, "audio", pa.array([str(self._paths[place]) for place in rejected], pa.string()))
        pq.write_table(bad.add_column(2, "reason", pa.array(reasons, pa.string())), folder / REJECTED)
        write_json(folder / FRONT, self._front)

    def _columns(self, places: Sequence[int]) -> pa.Table:
        """Whose sounds these are, and the digests of their files (null where there is none)."""
        ids = pa.array([self._content_ids[place] for place in places], pa.string())
        return pa.table({"content_id": ids, "digest": pa.array([self._digests[p] for p in places], pa.string())})

    def _known(self) -> tuple[dict[str, int | str], np.ndarray]:
        """Digest of a file -> row of its record, or why it has none, and the records.

        Those of the newest set of the same front end and settings.
        """
        earlier = [path.parent for path in self._folder.glob(f"*/{FRONT}") if not path.parent.name.startswith(".")]
        for folder in sorted(earlier, key=lambda path: path.stat().st_mtime_ns, reverse=True):
            if read_json(folder / FRONT) == self._front:
                digests = pq.read_table(folder / ROWS)["digest"].to_pylist()
                bad = pq.read_table(folder / REJECTED)
                known: dict[str, int | str] = dict(
                    zip(bad["digest"].to_pylist(), bad["reason"].to_pylist(), strict=True)
                )
                known |= {digest: row for row, digest in enumerate(digests)}
                return known, np.load(folder / RECORDS, mmap_mode="r" if digests else None)
        return {}, np.zeros(0)


def _array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A float16 array in a file: memory-mapped, unless it is empty."""
    if shape[0] == 0:
        np.save(path, np.zeros(shape, np.float16))
        return np.zeros(shape, np.float16)
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)


def _in_order(
    pool: ThreadPoolExecutor, one: Callable[[int], np.ndarray | str], num_files: int, ahead: int
) -> Iterator[np.ndarray | str]:
    """`one` of every file's place, in order, with a bounded number of files under way."""
    pending = []
    for place in range(num_files):
        pending.append(pool.submit(one, place))
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
