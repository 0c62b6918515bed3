"""Raw data into a prepared store: the recipe behind `towers prepare`."""

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import pyarrow.parquet as pq

from towers.contract import schema
from towers.data import raw
from towers.data.audio import spectrograms
from towers.data.audio.sound_losses import SoundLosses
from towers.data.audio.spectrogram_parts import Decoding, Shard
from towers.data.audio.spectrogram_writer import SpectrogramSet
from towers.data.parts import settings_of
from towers.data.periods import to_json
from towers.data.rejecting import DUPLICATE, IS_BAD, JUDGED, Limits, TooManyRejected
from towers.data.sources.tables import RawTables, Source
from towers.data.splits.split import Split
from towers.data.store import CURRENT, FORMAT, Store
from towers.data.store_writer import StoreWriter
from towers.data.tables import SQL, Tables, database
from towers.errors import UserError
from towers.features.settings import FeatureSettings
from towers.manifest import (
    FileDigests,
    atomic_directory,
    digest_of,
    digest_of_file,
    library_versions,
    point_to,
    read_json,
    scratch_directory,
    write_json,
)

SOUNDS, ALTERED_SOUNDS = "sounds.parquet", "altered_sounds.parquet"
"""Beside the tables' rejected rows."""


@runtime_checkable  # for the tests, which check annotations at run time
class Progress(Protocol):
    """Who is told how far a build is."""

    def __call__(self, stage: str, done: int, total: int, remark: str = "", /) -> None:
        """A stage's name, how much is done, how much there is (0 where that is not known), and a remark."""
        ...


class StoreBuilder:
    """Makes a version of a store, or finds that it is there.

    Args:
        root: where the store's versions stand; `current` points to the newest.
        source: the raw data.
        split: the cuts in time.
        features: how raw becomes codes.
        limits: how many rows and sounds may be left out.
        num_workers: decoding threads.
        on_progress: told about every stage.
    """

    def __init__(
        self,
        *,
        root: Path,
        source: Source,
        split: Split,
        features: FeatureSettings,
        limits: Limits,
        num_workers: int,
        on_progress: Progress,
    ):
        self._root = root
        self._source = source
        self._split = split
        self._features = features
        self._limits = limits
        self._num_workers = num_workers
        self._on_progress = on_progress
        self.decoding = Decoding()
        """What was decoded, and how fast."""
        self.left_alone: list[Path] = []
        """Files among the tables' that are no Parquet, and were not read."""
        self.remarks: list[str] = []
        """Lines about what is read otherwise than it may be meant."""
        self.losses = SoundLosses(named=0)
        """Sounds of the store that are set aside or altered."""

    def build(self) -> tuple[Store, bool]:
        """The store, and whether it had to be made.

        Raises:
            UserError: the raw data is not as the contract says, or too much of it is bad.
        """
        inputs = self._digests()
        with scratch_directory(self._root / "work") as work:
            tables, sound = self._read(work)
            target = self._root / self._fingerprint(inputs, tables, sound)
            is_new = not target.exists()
            if is_new:
                self._make(target, work, tables, sound)
            if sound is not None and sound.target.exists():
                self.losses = SoundLosses.of(sound.target)
        self._remember_root(target)
        point_to(self._root / CURRENT, target)
        store = Store(target)
        self.remarks += store.remarks
        return store, is_new

    def decode_shard(self, shard: Shard) -> Decoding:
        """Decodes one share of the sounds, for a `build` to come.

        Raises:
            UserError: as `build`, or the data names no sound.
        """
        # Not in the store's folder: there other machines may be at work, whose processes cannot be told from dead ones.
        with tempfile.TemporaryDirectory(prefix="towers-") as work:
            sound = self._read(Path(work))[1]
            if sound is None:
                raise UserError(f"data.shard={shard}: no content of {self._source.root} names a sound; leave it out")
            return sound.make_shard(shard, self._num_workers, partial(self._on_progress, "spectrograms"))

    def _read(self, work: Path) -> tuple[RawTables, SpectrogramSet | None]:
        tables = self._source.tables(work)
        self.left_alone, self.remarks = tables.left_alone, tables.remarks
        for table in schema.TABLES:
            raw.columns_of(tables, table)
        content_ids, audio = raw.audio_paths(tables)
        folder, settings = self._root / "spectrograms", self._features.spectrogram
        return tables, SpectrogramSet(folder, tables.root, content_ids, audio, settings) if audio else None

    def _remember_root(self, target: Path) -> None:
        """Writes down where the data lies now, which may be elsewhere than when the store was made."""
        manifest = read_json(target / "manifest.json")
        if manifest.get("root") != self._source.root:
            write_json(target / "manifest.json", {**manifest, "root": self._source.root})

    def _digests(self) -> dict[str, str]:
        folder, files = self._source.inputs()
        digests = FileDigests(self._root / "digests.json")
        inputs = digests.of(files, folder)
        digests.save()
        return inputs

    def _fingerprint(self, inputs: dict[str, str], tables: RawTables, sound: SpectrogramSet | None) -> str:
        settings = [FORMAT, self._features.to_dict(), settings_of(self._split), settings_of(self._source)]
        code = [digest_of_file(path) for path in sorted(SQL.glob("*.sql"))]
        return digest_of([inputs, settings, code, tables.has_clock, sound and sound.target.name])[:16]

    def _make(self, target: Path, work: Path, tables: RawTables, sound: SpectrogramSet | None) -> None:
        with database(work) as connection:
            clean = Tables(connection, tables, self._features, self._limits)
            self._on_progress("tables", 0, 0)
            try:
                cuts = clean.build(self._split, work / "rejected")
            except TooManyRejected as error:
                kept = self._keep_rejected(work)
                raise UserError(f"{error}; all are in {kept}; mend the data or raise the limit") from error
            if sound is not None:
                self.decoding = sound.make(self._num_workers, partial(self._on_progress, "spectrograms"))
                keep_losses(sound.target, work / "rejected")
                losses = SoundLosses.of(sound.target)
                try:
                    losses.check(self._limits.max_rejected_sounds_fraction, self._root / "rejected" / SOUNDS)
                except UserError:
                    self._keep_rejected(work)
                    raise
            with atomic_directory(target) as folder:
                StoreWriter(clean, self._features, folder, self._on_progress).write()
                (work / "rejected").rename(folder / "rejected")
                manifest = {
                    "format": FORMAT,
                    "fingerprint": target.name,
                    "has_clock": tables.has_clock,
                    "validation_start_us": cuts.validation_start_us,
                    "test_start_us": cuts.test_start_us,
                    "periods": to_json(clean.periods(cuts)),
                    "root": self._source.root,
                    "split": settings_of(self._split),
                    "source": settings_of(self._source),
                    "features": self._features.to_dict(),
                    "spectrograms": None if sound is None else sound.target.name,
                    "counts": counts(clean, None if sound is None else sound.target),
                    "remarks": clean.remarks,
                    "libraries": library_versions(),
                }
                write_json(folder / "manifest.json", manifest)

    def _keep_rejected(self, work: Path) -> Path:
        """Puts what was rejected where it outlives a run that fails."""
        kept = self._root / "rejected"
        if kept.exists():
            kept.rename(work / "rejected_before")
        (work / "rejected").rename(kept)
        return kept


def keep_losses(sound: Path, rejected: Path) -> None:
    """Copies which sounds were unusable or altered, and why, beside the other tables' rejected rows."""
    for name, kept in ((spectrograms.REJECTED, SOUNDS), (spectrograms.ALTERED, ALTERED_SOUNDS)):
        if pq.read_metadata(sound / name).num_rows:
            shutil.copyfile(sound / name, rejected / kept)


def counts(clean: Tables, sound: Path | None) -> dict[str, int]:
    """What was kept and what was not."""
    queries = {
        "events": "SELECT COUNT(*) FROM histories",
        "positives": "SELECT SUM(CASE WHEN is_positive THEN 1 ELSE 0 END) FROM histories",
        "users": "SELECT COUNT(*) FROM users",
        "contents": "SELECT COUNT(*) FROM contents",
        "forgotten_users": "SELECT COUNT(*) FROM forgotten",
    }
    for table, judged in JUDGED.items():
        queries[f"rejected_{table}"] = f"SELECT COUNT(*) FROM {judged} WHERE {IS_BAD}"
        queries[f"{DUPLICATE}_{table}"] = f"SELECT COUNT(*) FROM {judged} WHERE NOT {IS_BAD}"
    for table in (schema.CONTENTS, schema.USERS, schema.PLAYLISTS):
        queries[f"dates_lost_{table}"] = f"SELECT SUM(dates_lost) FROM {JUDGED[table]} WHERE reason IS NULL"
    found = {name: clean.count(query) for name, query in queries.items()}
    found["sounds"] = 0 if sound is None else pq.read_metadata(sound / spectrograms.ROWS).num_rows
    found["rejected_sounds"] = 0 if sound is None else pq.read_metadata(sound / spectrograms.REJECTED).num_rows
    found["altered_sounds"] = 0 if sound is None else pq.read_metadata(sound / spectrograms.ALTERED).num_rows
    return found
