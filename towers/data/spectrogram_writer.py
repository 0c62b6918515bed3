"""The spectrograms of a catalogue, made: only of sounds that are new, and in parts that outlive a kill."""

import shutil
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from towers.data.log_mel import FRONT_END
from towers.data.spectrogram_parts import Decoder, Decoding, Part, Record, Shard, SoundFile, SoundProgress
from towers.data.spectrograms import FRONT, RECORDS, REJECTED, ROWS
from towers.features.settings import SpectrogramSettings
from towers.manifest import FileDigests, atomic_directory, digest_of, read_json, write_json

FILES_PER_PART = 512
"""A few seconds of work."""


def refusal_of(path: Path, base: Path) -> str | None:
    """Why a sound at `path` must not be read: it leaves `base` (a resolved folder) by `..`, by being absolute, or by a
    symbolic link, or it is no path at all. None where it may be."""
    try:
        path.is_file()  # raises for a name that is too long
        is_inside = path.resolve().is_relative_to(base)
    except (OSError, ValueError, RuntimeError) as error:
        return f"is no path ({type(error).__name__})"
    return None if is_inside else f"leaves the data set's folder {base}; audio paths are relative to it and stay inside"


class SpectrogramSet:
    """The spectrograms that a catalogue should have; `make` writes them where they are not there yet.

    Args:
        folder: where sets of spectrograms stand, each under its fingerprint.
        root: what `audio` is relative to.
        content_ids: whose sound it is.
        audio: path of the sound file.
        settings: of the spectrogram.
    """

    def __init__(
        self, folder: Path, root: Path, content_ids: Sequence[str], audio: Sequence[str], settings: SpectrogramSettings
    ):
        self._paths = [root / name for name in audio]
        base = root.resolve()
        self._refusals = [refusal_of(path, base) for path in self._paths]
        self._root = root
        self._content_ids = content_ids
        self._audio = audio
        self._settings = settings
        self._folder = folder
        self._front = {"format": FRONT_END, "settings": settings.to_dict()}
        self._parts_folder = folder / f"parts-{digest_of(self._front)[:16]}"

    @cached_property
    def target(self) -> Path:
        """The folder of this set; its name changes with every byte of a file."""
        files = {self._name(place): digest for place, digest in enumerate(self._digests) if digest is not None}
        named = list(zip(self._content_ids, self._audio, strict=True))
        return self._folder / digest_of([files, named, self._front])[:16]

    def make(self, num_workers: int, on_progress: SoundProgress) -> Decoding:
        """Decodes and writes; what an earlier set of the same settings knows, or a part that is there, is taken over.

        Args:
            num_workers: decoding threads.
            on_progress: told about each file.
        """
        decoding = Decoding()
        if not self.target.exists():
            parts = self._parts(range(0, len(self._paths), FILES_PER_PART), self._digests)
            known = self._known()
            decoding = Decoder(self._settings, known, num_workers).write(parts, on_progress)
            try:
                with atomic_directory(self.target) as temporary:
                    self._put_together(temporary, parts)
            except FileNotFoundError:
                if not self.target.exists():  # another process was quicker, and took the parts away
                    raise
        self._remove_parts()
        return decoding

    def make_shard(self, shard: Shard, num_workers: int, on_progress: SoundProgress) -> Decoding:
        """Decodes a share of the parts, which `make` then finds; reads no other files than theirs."""
        starts = range(0, len(self._paths), FILES_PER_PART)[shard.number - 1 :: shard.count]
        memory = self._parts_folder / f"digests-{shard.number}-of-{shard.count}.json"
        digests: list[str | None] = [None] * len(self._paths)
        places = [place for start in starts for place in self._places(start)]
        for place, digest in zip(places, self._digested(memory, places), strict=True):
            digests[place] = digest
        known = self._known()
        parts = [part for part in self._parts(starts, digests) if any(is_new(file, known) for file in part.files)]
        return Decoder(self._settings, known, num_workers).write(parts, on_progress)

    def _name(self, place: int) -> str:
        return str(self._paths[place].relative_to(self._root))

    def _places(self, start: int) -> range:
        """Those of one part."""
        return range(start, min(start + FILES_PER_PART, len(self._paths)))

    @cached_property
    def _digests(self) -> list[str | None]:
        """Of every file; None where there is none."""
        return self._digested(self._folder / "digests.json", range(len(self._paths)))

    def _digested(self, memory: Path, places: Sequence[int]) -> list[str | None]:
        known = [self._folder / "digests.json", *self._parts_folder.glob("digests-*.json")]
        memory.parent.mkdir(parents=True, exist_ok=True)
        digests = FileDigests(memory, *known)
        allowed = [self._paths[place] for place in places if self._refusals[place] is None]
        files = digests.of([path for path in allowed if path.is_file()], self._root)
        digests.save()
        return [None if self._refusals[place] else files.get(self._name(place)) for place in places]

    def _parts(self, starts: Sequence[int], digests: Sequence[str | None]) -> list[Part]:
        parts = []
        for start in starts:
            places = self._places(start)
            named = [(self._content_ids[place], self._audio[place], digests[place]) for place in places]
            files = [
                SoundFile(
                    content_id=self._content_ids[place],
                    path=self._paths[place],
                    digest=digests[place],
                    refusal=self._refusals[place],
                )
                for place in places
            ]
            parts.append(Part(folder=self._parts_folder / digest_of([named, self._front])[:16], files=files))
        return parts

    def _put_together(self, folder: Path, parts: Sequence[Part]) -> None:
        """One part after the other: memory does not grow with the catalogue."""
        kept: list[SoundFile] = []
        rejected: list[SoundFile] = []
        reasons: list[str] = []
        for part in parts:
            for file, reason in zip(part.files, part.reasons(), strict=True):
                if reason is None:
                    kept.append(file)
                else:
                    rejected.append(file)
                    reasons.append(reason)
        shape = (len(kept), self._settings.n_mels, self._settings.num_frames)
        described = {"descr": np.dtype(np.float16).str, "fortran_order": False, "shape": shape}
        with (folder / RECORDS).open("wb") as records:
            np.lib.format.write_array_header_1_0(records, described)
            for part in parts:
                part.copy_records(records)
        pq.write_table(_columns(kept), folder / ROWS)
        bad = _columns(rejected)
        bad = bad.add_column(1, "audio", pa.array([str(file.path) for file in rejected], pa.string()))
        pq.write_table(bad.add_column(2, "reason", pa.array(reasons, pa.string())), folder / REJECTED)
        write_json(folder / FRONT, self._front)

    def _remove_parts(self) -> None:
        """Those of other catalogues too: they are what was left of runs that never came to their end."""
        if not self._parts_folder.exists():
            return
        for path in self._parts_folder.iterdir():
            if path.name.startswith("."):
                continue  # somebody is writing it
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if not any(self._parts_folder.iterdir()):
            self._parts_folder.rmdir()

    def _known(self) -> Callable[[str], Record | str | None]:
        """Digest of a file -> its record, or why it has none; None where it is new.

        As in the newest set of the same front end and settings.
        """
        earlier = [path.parent for path in self._folder.glob(f"*/{FRONT}") if not path.parent.name.startswith(".")]
        for folder in sorted(earlier, key=lambda path: path.stat().st_mtime_ns, reverse=True):
            if read_json(folder / FRONT) == self._front:
                digests = pq.read_table(folder / ROWS)["digest"].to_pylist()
                bad = pq.read_table(folder / REJECTED)
                records = np.load(folder / RECORDS, mmap_mode="r" if digests else None)
                reasons = dict(zip(bad["digest"].to_pylist(), bad["reason"].to_pylist(), strict=True))
                row_of = {digest: row for row, digest in enumerate(digests)}
                return lambda digest: records[row_of[digest]] if digest in row_of else reasons.get(digest)
        return lambda digest: None


def is_new(file: SoundFile, known: Callable[[str], Record | str | None]) -> bool:
    """Whether a file has to be read."""
    return file.digest is not None and known(file.digest) is None


def _columns(files: Sequence[SoundFile]) -> pa.Table:
    """Whose sounds these are, and the digests of their files (null where there is none)."""
    ids = pa.array([file.content_id for file in files], pa.string())
    return pa.table({"content_id": ids, "digest": pa.array([file.digest for file in files], pa.string())})
