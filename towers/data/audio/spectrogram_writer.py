"""Makes the spectrograms of a catalogue: decodes only new sounds, in parts that outlive a kill."""

import shutil
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from towers.data.audio.sound_objects import SoundObjects
from towers.data.audio.spectrogram_parts import Decoding, Heard, Part, Shard, SoundFile, SoundProgress
from towers.data.audio.spectrograms import ALTERED, FRONT, FRONT_END, RECORDS, REJECTED, ROWS
from towers.data.sources.remote import RawPath, RemotePath, path_below
from towers.features.settings import SpectrogramSettings
from towers.features.sound import UnusableSound
from towers.features.sound_file import TAKES_FFMPEG, has_ffmpeg, takes_ffmpeg
from towers.features.sound_folder import SoundFolder
from towers.manifest import FileDigests, atomic_directory, digest_of, read_json, write_json

FILES_PER_PART = 512
"""Files in a part: a few seconds of work."""


class SpectrogramSet:
    """The set of spectrograms that a catalogue needs; `make` writes it if it is missing.

    Args:
        folder: folder of all sets, each under its fingerprint.
        root: folder that `audio` is relative to.
        content_ids: ids of the contents with a sound.
        audio: path of each content's sound file, relative or absolute.
        settings: settings of the spectrogram.
    """

    def __init__(
        self,
        folder: Path,
        root: RawPath,
        content_ids: Sequence[str],
        audio: Sequence[str],
        settings: SpectrogramSettings,
    ):
        sounds = SoundFolder(root) if isinstance(root, Path) else SoundObjects(root)
        found = [_found(sounds, name) for name in audio]
        self._paths = [root / name if isinstance(path, str) else path for path, name in zip(found, audio, strict=True)]
        self._refusals = [path if isinstance(path, str) else None for path in found]
        self._root = root
        self._content_ids = content_ids
        self._audio = audio
        self._settings = settings
        self._folder = folder
        self._front = {"format": FRONT_END, "settings": settings.to_dict()}
        self._parts_folder = folder / f"parts-{digest_of(self._front)[:16]}"

    @cached_property
    def target(self) -> Path:
        """Folder of this set; its name changes with every byte of a file."""
        files = {self._name(place): digest for place, digest in enumerate(self._digests) if digest is not None}
        named = list(zip(self._content_ids, self._audio, strict=True))
        # What was set aside for want of a decoder has another chance once there is one.
        decoders = ["ffmpeg"] if has_ffmpeg() and any(takes_ffmpeg(Path(path.name)) for path in self._paths) else []
        return self._folder / digest_of([files, named, self._front, *decoders])[:16]

    def make(self, num_workers: int, on_progress: SoundProgress) -> Decoding:
        """Decodes the sounds and writes the set; takes over records of an earlier set of the same settings, and parts.

        Args:
            num_workers: decoding threads.
            on_progress: called after each file.
        """
        decoding = Decoding()
        if not self.target.exists():
            parts = self._parts(range(0, len(self._paths), FILES_PER_PART), self._digests)
            decoding = self._decode(parts, self._known(), num_workers, on_progress)
            try:
                with atomic_directory(self.target) as temporary:
                    self._put_together(temporary, parts)
            except FileNotFoundError:
                if not self.target.exists():  # another process was quicker, and took the parts away
                    raise
        self._remove_parts()
        return decoding

    def make_shard(self, shard: Shard, num_workers: int, on_progress: SoundProgress) -> Decoding:
        """Decodes one shard of the parts for a later `make`; reads only the files of these parts."""
        starts = range(0, len(self._paths), FILES_PER_PART)[shard.number - 1 :: shard.count]
        memory = self._parts_folder / f"digests-{shard.number}-of-{shard.count}.json"
        digests: list[str | None] = [None] * len(self._paths)
        places = [place for start in starts for place in self._places(start)]
        for place, digest in zip(places, self._digested(memory, places), strict=True):
            digests[place] = digest
        known = self._known()
        parts = [part for part in self._parts(starts, digests) if any(is_new(file, known) for file in part.files)]
        return self._decode(parts, known, num_workers, on_progress)

    def _decode(
        self, parts: list[Part], known: Callable[[str], Heard | None], num_workers: int, on_progress: SoundProgress
    ) -> Decoding:
        # Here, so that data without sound, or without a new one, is prepared without torch, which takes seconds.
        from towers.data.audio.decoder import Decoder

        return Decoder(self._settings, known, num_workers).write(parts, on_progress)

    def _name(self, place: int) -> str:
        return str(path_below(self._paths[place], self._root))

    def _places(self, start: int) -> range:
        """Returns the places of the files of the part that begins at `start`."""
        return range(start, min(start + FILES_PER_PART, len(self._paths)))

    @cached_property
    def _digests(self) -> list[str | None]:
        """Digests of the sound files, by place; null where a file was refused or is not there."""
        return self._digested(self._folder / "digests.json", range(len(self._paths)))

    def _digested(self, memory: Path, places: Sequence[int]) -> list[str | None]:
        if not isinstance(self._root, Path):
            found = [self._paths[place] for place in places]
            return [path.version if isinstance(path, RemotePath) else None for path in found]
        known = [self._folder / "digests.json", *self._parts_folder.glob("digests-*.json")]
        memory.parent.mkdir(parents=True, exist_ok=True)
        digests = FileDigests(memory, *known)
        allowed = [self._paths[place] for place in places if self._refusals[place] is None]
        files = digests.of([path for path in allowed if isinstance(path, Path)], self._root)
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
        """Writes the set from its parts, one after the other, so that memory does not grow with the catalogue."""
        kept: list[SoundFile] = []
        rejected: list[tuple[SoundFile, str]] = []
        altered: list[tuple[SoundFile, str]] = []
        for part in parts:
            for file, (has_record, reason) in zip(part.files, part.judged(), strict=True):
                if has_record:
                    kept.append(file)
                if reason is not None:
                    (altered if has_record else rejected).append((file, reason))
        shape = (len(kept), self._settings.n_mels, self._settings.num_frames)
        described = {"descr": np.dtype(np.float16).str, "fortran_order": False, "shape": shape}
        with (folder / RECORDS).open("wb") as records:
            np.lib.format.write_array_header_1_0(records, described)
            for part in parts:
                part.copy_records(records)
        pq.write_table(_columns(kept), folder / ROWS)
        pq.write_table(_with_reasons(rejected), folder / REJECTED)
        pq.write_table(_with_reasons(altered), folder / ALTERED)
        write_json(folder / FRONT, self._front)

    def _remove_parts(self) -> None:
        """Removes all parts, including those that unfinished runs left for other catalogues."""
        if not self._parts_folder.exists():
            return
        for path in self._parts_folder.iterdir():
            if path.name.startswith("."):
                continue  # another process is writing it
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if not any(self._parts_folder.iterdir()):
            self._parts_folder.rmdir()

    def _known(self) -> Callable[[str], Heard | None]:
        """Returns a function from a file's digest to its earlier result; None for a file that is new.

        Results come from the newest set of the same front end and settings.
        """
        earlier = [path.parent for path in self._folder.glob(f"*/{FRONT}") if not path.parent.name.startswith(".")]
        for folder in sorted(earlier, key=lambda path: path.stat().st_mtime_ns, reverse=True):
            if read_json(folder / FRONT) == self._front:
                return _Earlier(folder).heard
        return lambda digest: None


class _Earlier:
    """Records of an earlier set by digest of their files, without files whose decoder was installed since."""

    def __init__(self, folder: Path):
        digests = pq.read_table(folder / ROWS)["digest"].to_pylist()
        self._records = np.load(folder / RECORDS, mmap_mode="r" if digests else None)
        self._row_of = {digest: row for row, digest in enumerate(digests)}
        self._reasons: dict[str, str] = {}
        for name in (REJECTED, ALTERED):
            table = pq.read_table(folder / name)
            self._reasons |= dict(zip(table["digest"].to_pylist(), table["reason"].to_pylist(), strict=True))

    def heard(self, digest: str) -> Heard | None:
        row, reason = self._row_of.get(digest), self._reasons.get(digest)
        if row is None and (reason is None or (TAKES_FFMPEG in reason and has_ffmpeg())):
            return None
        return Heard(record=None if row is None else self._records[row], reason=reason)


def is_new(file: SoundFile, known: Callable[[str], Heard | None]) -> bool:
    """Returns whether a file has to be read."""
    return file.digest is not None and known(file.digest) is None


def _columns(files: Sequence[SoundFile]) -> pa.Table:
    """A table of the contents that the sounds belong to, and of the files' digests (null where a file has none)."""
    ids = pa.array([file.content_id for file in files], pa.string())
    return pa.table({"content_id": ids, "digest": pa.array([file.digest for file in files], pa.string())})


def _with_reasons(files: Sequence[tuple[SoundFile, str]]) -> pa.Table:
    table = _columns([file for file, _ in files])
    table = table.add_column(1, "audio", pa.array([str(file.path) for file, _ in files], pa.string()))
    return table.add_column(2, "reason", pa.array([reason for _, reason in files], pa.string()))


def _found(sounds: SoundFolder | SoundObjects, audio: str) -> RawPath | str:
    """Returns the path of a sound, or the reason why it must not or cannot be read."""
    try:
        return sounds.find(audio)
    except UnusableSound as refusal:
        return str(refusal)
