"""Turns raw data into a prepared store, behind `towers prepare`."""

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from towers.contract import schema
from towers.data import raw
from towers.data.audio.sound_losses import SoundLosses
from towers.data.audio.spectrogram_parts import Decoding, Shard
from towers.data.audio.spectrogram_writer import SpectrogramSet
from towers.data.engines.duckdb_engine import DuckDbEngine
from towers.data.engines.engine import Engine
from towers.data.event_log.log import LOG, EventLog
from towers.data.filters.filter import Filter
from towers.data.making import Maker, fingerprint_of
from towers.data.parts import settings_of
from towers.data.rejecting import Limits
from towers.data.sources.footers import Footers
from towers.data.sources.remote import RawPath, RemotePath, path_below
from towers.data.sources.tables import RawTables, Source
from towers.data.splits.split import Split
from towers.data.store import CURRENT, FORMAT, Store
from towers.data.tables import sql_digests
from towers.errors import UserError
from towers.features.settings import FeatureSettings
from towers.manifest import FileDigests, alone, digest_of, point_to, read_json, scratch_directory, write_json

FOOTERS = "footers.json"
"""File in a store's folder that keeps the footers of the objects that it was made from."""
CONVERTED = "converted"
"""Folder in a store's folder where a source keeps the tables that it has converted."""
LOCK = ".lock"
"""Lock file in a store's folder: one prepare at a time writes below it."""


@runtime_checkable  # for the tests, which check annotations at run time
class Progress(Protocol):
    """Receives the progress of a build."""

    def __call__(self, stage: str, done: int, total: int, remark: str = "", /) -> None:
        """Takes the stage's name, the amount done, the total (0 if not known) and a remark."""
        ...


@runtime_checkable
class KeepsTables(Source, Protocol):
    """A source whose conversion is so expensive that it keeps the result and converts again only after a change."""

    def kept_tables(
        self, folder: Path, inputs: Mapping[str, str], spill: Path | None, on_progress: Progress, /
    ) -> RawTables:
        """Returns what `tables` returns; converts only if the source has changed since the last time.

        Args:
            folder: folder for the converted tables.
            inputs: digests of the source's files; with the settings they decide whether it has changed.
            spill: folder for data that does not fit into memory; null: below `folder`.
            on_progress: called at every stage.
        """
        ...


@runtime_checkable
class KeepsFooters(Source, Protocol):
    """A source that reads less from an object store if it knows the footers of earlier nights."""

    footers: Footers


class StoreBuilder:
    """Makes a version of a store, unless the same version exists already.

    Args:
        root: folder of the store's versions; the link `current` in it points to the newest.
        source: the raw data.
        split: rule that divides events into periods.
        features: settings of how raw columns become codes.
        limits: limits on the rows and sounds that may be left out.
        num_workers: decoding threads.
        on_progress: called at every stage.
        filters: rules that leave events out after the split, by name.
        forget: ids of listeners to be forgotten, beside those whom users/ calls deleted.
        engine: engine that runs the SQL files; null: DuckDB.
        spill: folder for data of the engine that does not fit into memory; null: beside the store.
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
        filters: Mapping[str, Filter] | None = None,
        forget: Sequence[str] = (),
        engine: Engine | None = None,
        spill: Path | None = None,
    ):
        self._root = root
        self._source = source
        self._split = split
        self._features = features
        self._limits = limits
        self._num_workers = num_workers
        self._on_progress = on_progress
        self._filters = dict(filters or {})
        self._forget = sorted(set(forget))
        self._engine: Engine = DuckDbEngine() if engine is None else engine
        self._spill = spill
        self.decoding = Decoding()
        """Amount of decoded sound, and how fast it was decoded."""
        self.left_alone: list[RawPath] = []
        """Files in the tables' folders that are not Parquet and were not read."""
        self.remarks: list[str] = []
        """Lines about data that may be read otherwise than it was meant."""
        self.losses = SoundLosses(named=0)
        """Sounds of the store that are set aside or altered."""

    def build(self) -> tuple[Store, bool]:
        """Returns the store, and whether it had to be made.

        Raises:
            UserError: the raw data is not as the contract says, or too much of it is bad.
        """
        waiting = partial(self._on_progress, "waiting", 0, 0, "another prepare writes to this store")
        self._root.mkdir(parents=True, exist_ok=True)
        with alone(self._root / LOCK, waiting), scratch_directory(self._root / "work") as work:
            self._recall()
            inputs = self._digests()
            tables, sound = self._read(work, inputs)
            request = self._request(inputs, tables, sound)
            log = EventLog.current(self._root / LOG)
            target = None
            if log is not None and not log.rows.still_knows(self._forget):
                made = self._root / fingerprint_of(request, log.rows)
                target = made if (made / "manifest.json").exists() else None
            is_new = target is None
            if target is None:
                maker = Maker(
                    root=self._root,
                    work=work,
                    tables=tables,
                    inputs=inputs,
                    source=self._source,
                    split=self._split,
                    filters=self._filters,
                    features=self._features,
                    limits=self._limits,
                    forget=self._forget,
                    engine=self._engine,
                    spill=self._spill,
                    current=log,
                    on_progress=self._on_progress,
                )
                target = maker.make(request, sound, partial(self._decode, sound))
            if sound is not None and sound.target.exists():
                self.losses = SoundLosses.of(sound.target)
            self._remember_root(target)
            point_to(self._root / CURRENT, target)
        store = Store(target)
        self.remarks += store.remarks
        return store, is_new

    def decode_shard(self, shard: Shard) -> Decoding:
        """Decodes one shard of the sounds, for a later `build`.

        Raises:
            UserError: as `build`, or the data names no sound.
        """
        # Not in the store's folder: there other machines may be at work, whose processes cannot be told from dead ones.
        with tempfile.TemporaryDirectory(prefix="towers-") as work:
            self._recall()
            sound = self._read(Path(work), None)[1]
            if sound is None:
                raise UserError(f"data.shard={shard}: no content of {self._source.root} names a sound; leave it out")
            return sound.make_shard(shard, self._num_workers, partial(self._on_progress, "spectrograms"))

    def _decode(self, sound: SpectrogramSet | None) -> None:
        if sound is not None:
            self.decoding = sound.make(self._num_workers, partial(self._on_progress, "spectrograms"))

    def _read(self, work: Path, inputs: dict[str, str] | None) -> tuple[RawTables, SpectrogramSet | None]:
        if inputs is not None and isinstance(self._source, KeepsTables):
            kept = self._root / CONVERTED
            tables = self._source.kept_tables(kept, inputs, self._spill, self._on_progress)
        else:
            tables = self._source.tables(work)
        if tables.lines is not None:
            tables.lines.check(self._limits.max_rejected_fraction)
        self.left_alone, self.remarks = [*tables.left_alone], [*tables.remarks]
        tables.footers.recall(self._root / FOOTERS)
        for table in schema.RAW_TABLES:
            raw.columns_of(tables, table)
        if inputs is not None:  # machines that decode shares hold no lock
            tables.footers.keep(self._root / FOOTERS)
        raw.check_not_empty(tables)
        content_ids, audio = raw.audio_paths(tables)
        folder, settings = self._root / "spectrograms", self._features.spectrogram
        return tables, SpectrogramSet(folder, tables.root, content_ids, audio, settings) if audio else None

    def _recall(self) -> None:
        if isinstance(self._source, KeepsFooters):
            self._source.footers.recall(self._root / FOOTERS)

    def _remember_root(self, target: Path) -> None:
        """Writes down where the data lies now, which may be elsewhere than when the store was made."""
        manifest = read_json(target / "manifest.json")
        if manifest.get("root") != self._source.root:
            write_json(target / "manifest.json", {**manifest, "root": self._source.root})

    def _digests(self) -> dict[str, str]:
        """Returns digests of the source's files by their paths below its folder; of objects the store's version."""
        folder, files = self._source.inputs()
        if isinstance(folder, RemotePath):
            return {str(path_below(path, folder)): str(path.version) for path in files if isinstance(path, RemotePath)}
        digests = FileDigests(self._root / "digests.json")
        inputs = digests.of([path for path in files if isinstance(path, Path)], folder)
        digests.save()
        return inputs

    def _request(self, inputs: dict[str, str], tables: RawTables, sound: SpectrogramSet | None) -> str:
        """Returns a digest of all that decides a store except the rows of ids."""
        filters = [[name, settings_of(rule)] for name, rule in self._filters.items()]  # their order tells
        settings = [FORMAT, self._features.to_dict(), settings_of(self._split), filters, settings_of(self._source)]
        asked = [inputs, settings, sql_digests(), tables.has_clock, sound and sound.target.name]
        return digest_of(asked)[:16]
