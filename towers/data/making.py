"""Makes one version of a store: reads the lists, grows the event log, derives the arrays, writes the manifest."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from towers.contract import schema
from towers.data import impressions
from towers.data.audio import spectrograms
from towers.data.audio.sound_losses import SoundLosses
from towers.data.audio.spectrogram_writer import SpectrogramSet
from towers.data.bad_lines import LINES
from towers.data.engines.engine import Engine
from towers.data.event_log.growing import Grower, Growth, linked
from towers.data.event_log.log import LOG, EventLog
from towers.data.event_log.rows import Rows
from towers.data.filters.filter import Filter
from towers.data.impressions import Impressions
from towers.data.parts import settings_of
from towers.data.periods import periods_of, to_json
from towers.data.rejecting import DUPLICATE, LISTS, Limits, Losses, Rejecting, TooManyRejected
from towers.data.remarks import remarks_on_files, remarks_on_plays, remarks_on_rows
from towers.data.sources.remote import RawPath, RemotePath, path_below
from towers.data.sources.remote_listing import refuse_changes
from towers.data.sources.tables import RawTables, Source
from towers.data.splits.split import Split
from towers.data.store import FORMAT
from towers.data.store_writer import StoreWriter, Written
from towers.data.tables import OF_EVENTS, Tables, sql_digests
from towers.errors import UserError
from towers.features.settings import FeatureSettings
from towers.manifest import atomic_directory, code_versions, digest_of, scratch_directory, write_json

SOUNDS, ALTERED_SOUNDS = "sounds.parquet", "altered_sounds.parquet"
"""Files of rejected and of altered sounds, beside the rejected rows of the tables."""


def fingerprint_of(request: str, rows: Rows) -> str:
    """Returns the fingerprint of a version, which is its name.

    Args:
        request: digest of all that decides the store except the rows of ids.
        rows: rows of ids.
    """
    return digest_of([request, rows.digest, rows.forgotten.arrivals])[:16]


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Makes one version of a store.

    Args:
        root: folder of the store's versions.
        work: a folder for temporary files.
        tables: the raw files.
        inputs: digests of the source's files.
        source: source of the raw data.
        split: rule that divides events into periods.
        filters: rules that leave events out after the split, by name.
        features: settings of how raw columns become codes.
        limits: limits on the rows and sounds that may be left out.
        forget: ids of listeners to be forgotten, beside those whom users/ calls deleted.
        engine: engine that runs the SQL files.
        spill: folder for data of the engine that does not fit into memory; null: beside the store.
        current: the newest event log; null where there is none.
        on_progress: called with (stage, done, all).
    """

    root: Path
    work: Path
    tables: RawTables
    inputs: Mapping[str, str]
    source: Source
    split: Split
    filters: Mapping[str, Filter]
    features: FeatureSettings
    limits: Limits
    forget: Sequence[str]
    engine: Engine
    spill: Path | None
    current: EventLog | None
    on_progress: Callable[[str, int, int], None]

    def make(self, request: str, sound: SpectrogramSet | None, decode: Callable[[], None]) -> Path:
        """Makes the version and returns its folder.

        Args:
            request: digest of all that decides the store except the rows; the manifest has it.
            sound: the set of spectrograms; null where there is no sound.
            decode: function that decodes the sounds.

        Raises:
            UserError: the raw data is not as the contract says, or too much of it is bad.
        """
        with self.engine.open(self.work, self.spill) as database:
            clean = Tables(database, self._unread_tables, self.features)
            log, lost = self._grow(clean)
            clean.put("heard", _counted("content_row", log.heard))
            clean.put("active_users", _counted("user_row", log.columns.lengths))
            clean.run("contents")
            clean.run("remarks")
            remarks = [
                *remarks_on_files(self.tables, self.features),
                *remarks_on_rows(clean.row, self.limits.max_unlisted_fraction),
            ]
            decode()
            sounds = None if sound is None else sound.target
            self._check_sounds(sounds)
            fingerprint = fingerprint_of(request, log.rows)
            with atomic_directory(self.root / fingerprint) as folder:
                writer = StoreWriter(
                    clean=clean, log=log, features=self.features, folder=folder, on_progress=self.on_progress
                )
                written = writer.write(self.split, self.filters, self.tables.has_clock)
                remarks += remarks_on_plays(written.seen, log.rows.contents.ids, self.features)
                remarks += [f"{name} left out {n:,} events" for name, n in written.left_out.items() if n]
                (self.work / "rejected").rename(folder / "rejected")
                if (log.folder / impressions.FOLDER).exists():
                    linked(log.folder / impressions.FOLDER, folder / impressions.FOLDER)
                manifest = {
                    "format": FORMAT,
                    "fingerprint": fingerprint,
                    "request": request,
                    "has_clock": self.tables.has_clock,
                    "validation_start_us": written.cuts.validation_start_us,
                    "test_start_us": written.cuts.test_start_us,
                    "gap_us": written.cuts.gap_us,
                    "periods": to_json(periods_of(written.counts.periods, written.cuts, *written.seen.bounds)),
                    "root": self.source.root,
                    "split": settings_of(self.split),
                    "filters": {name: settings_of(rule) for name, rule in self.filters.items()},
                    "source": settings_of(self.source),
                    "features": self.features.to_dict(),
                    "spectrograms": None if sounds is None else sounds.name,
                    "counts": counts(clean, written, lost, sounds) | self._lines,
                    "remarks": remarks,
                    "libraries": code_versions(),
                }
                write_json(folder / "manifest.json", manifest)
        return self.root / fingerprint

    def _grow(self, clean: Tables) -> tuple[EventLog, dict[str, Losses]]:
        """Grows the event log and keeps it; returns it, and how many rows of each table were left out."""
        growth, tables = self._growth, self.tables
        self.on_progress("tables", 0, 0)
        numbers = dict(zip(growth.rows.files.ids.to_pylist(), range(len(growth.rows.files)), strict=True))
        clean.open({tables.known_as(path): numbers[name] for name, path in self._unread.items()})
        clean.read_lists([*self.forget, *growth.still_forgotten(clean)])
        rejecting = Rejecting(clean=clean, limits=self.limits, origin=tables.origin)
        rejected = self.work / "rejected"
        lost = rejecting.write(rejected)
        self.on_progress("events", 0, 0)
        clean.read_events(growth.returned(clean))
        with scratch_directory(self.root / LOG / "next") as folder:
            log = Grower(growth, clean, self.on_progress).write(folder)
            lost[schema.EVENTS] = log.losses
            of_files = {path: numbers[name] for name, path in self._files.items()}
            before = None if growth.previous is None else growth.previous.folder
            if tables.lines is not None and tables.lines.bad:
                shutil.copyfile(tables.lines.path, rejected / LINES)
            if schema.IMPRESSIONS in tables.files:
                self.on_progress("impressions", 0, 0)
            shown = Impressions(clean, tables, of_files, growth.rows.forgotten, before)
            lost[schema.IMPRESSIONS] = shown.write(folder)
            for table, path in ((schema.EVENTS, log.rejected), (schema.IMPRESSIONS, folder / impressions.REJECTED)):
                if path.exists():
                    shutil.copyfile(path, rejected / f"{table}.parquet")
            try:
                rejecting.check(lost, rejected)
            except TooManyRejected as error:
                kept = self._keep_rejected()
                raise UserError(f"{error}; all are in {kept}; mend the data or raise the limit") from error
            self._refuse_changes()
            return log.kept(self.root / LOG), lost

    def _refuse_changes(self) -> None:
        """Refuses objects that have changed since they were read; local files are identified by their bytes instead."""
        root = self.tables.root
        for table, paths in self.tables.files.items():
            if isinstance(root, RemotePath):
                refuse_changes(root / table, [path for path in paths if isinstance(path, RemotePath)])

    @cached_property
    def _files(self) -> dict[str, RawPath]:
        """The raw files of events and impressions, by path below the data set's folder; a file that the source wrote
        itself is known by its name alone."""
        root = self.tables.root
        paths = [*self.tables.files[schema.EVENTS], *self.tables.files.get(schema.IMPRESSIONS, [])]
        is_own = self.tables.origin is None
        return {str((path_below(path, root) if is_own else None) or path.name): path for path in paths}

    @cached_property
    def _growth(self) -> Growth:
        converted = digest_of(self.inputs)  # stands in for the digest of a file that the source wrote itself
        files = {name: self.inputs.get(name, converted) for name in self._files}
        settings = {
            "source": settings_of(self.source),
            "sql": sql_digests(OF_EVENTS),
            "has_clock": self.tables.has_clock,
        }
        return Growth.of(self.current, files, settings)

    @cached_property
    def _unread(self) -> dict[str, RawPath]:
        """The raw files of events that the log has still to read."""
        events = {*self.tables.files[schema.EVENTS]}
        return {name: path for name, path in self._files.items() if path in events and self._growth.is_new(name)}

    @property
    def _unread_tables(self) -> RawTables:
        return replace(self.tables, files={**self.tables.files, schema.EVENTS: list(self._unread.values())})

    @property
    def _lines(self) -> dict[str, int]:
        """Returns how many lines of text files were left out; nothing where there is no such file."""
        return {} if self.tables.lines is None else {"rejected_lines": self.tables.lines.bad}

    def _check_sounds(self, sound: Path | None) -> None:
        if sound is None:
            return
        keep_losses(sound, self.work / "rejected")
        losses = SoundLosses.of(sound)
        try:
            losses.check(self.limits.max_rejected_sounds_fraction, self.root / "rejected" / SOUNDS)
        except UserError:
            self._keep_rejected()
            raise

    def _keep_rejected(self) -> Path:
        """Moves rejected rows to a folder that stays when the run fails."""
        kept = self.root / "rejected"
        if kept.exists():
            kept.rename(self.work / "rejected_before")
        (self.work / "rejected").rename(kept)
        return kept


def keep_losses(sound: Path, rejected: Path) -> None:
    """Copies the list of unusable or altered sounds, with reasons, beside the other tables' rejected rows."""
    for name, kept in ((spectrograms.REJECTED, SOUNDS), (spectrograms.ALTERED, ALTERED_SOUNDS)):
        if pq.read_metadata(sound / name).num_rows:
            shutil.copyfile(sound / name, rejected / kept)


def counts(clean: Tables, written: Written, lost: Mapping[str, Losses], sound: Path | None) -> dict[str, int]:
    """Returns counts for the manifest: what was kept and what was left out."""
    found = {
        "events": written.events,
        "positives": written.counts.total_positives,
        "users": clean.count("users"),
        "contents": clean.count("contents"),
        "withdrawn_contents": clean.count("withdrawn_contents"),
        "forgotten_users": clean.count("forgotten"),
    }
    shown = lost[schema.IMPRESSIONS]
    found["impressions"] = shown.rows - shown.bad - shown.repeated
    for table in schema.RAW_TABLES:
        found |= {f"rejected_{table}": lost[table].bad, f"{DUPLICATE}_{table}": lost[table].repeated}
    dates_lost = {row["table_name"]: row["dates_lost"] for row in clean.table("counted_lists").to_pylist()}
    found |= {f"dates_lost_{table}": dates_lost.get(table, 0) for table in LISTS}
    found["sounds"] = 0 if sound is None else pq.read_metadata(sound / spectrograms.ROWS).num_rows
    found["rejected_sounds"] = 0 if sound is None else pq.read_metadata(sound / spectrograms.REJECTED).num_rows
    found["altered_sounds"] = 0 if sound is None else pq.read_metadata(sound / spectrograms.ALTERED).num_rows
    return found


def _counted(name: str, numbers: Int[np.ndarray, " rows"]) -> dict[str, pa.Array]:
    """Returns the places where an array is above 0, and its values there, as columns of a table."""
    rows = numbers.nonzero()[0]
    return {name: pa.array(rows, pa.int32()), "num_events": pa.array(numbers[rows], pa.int64())}
