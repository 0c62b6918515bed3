"""The ledger of a data set's nights and versions: a file for each night, complete at any moment.

The link `exports/current` alone decides which version serves; remarks follow it (`Ledger.settle`), so that a kill
between the two leaves nothing false.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from towers.data.store import CURRENT
from towers.errors import UserError
from towers.lifecycle.record import Bar, Event, Record, Remark
from towers.lifecycle.replaced import REPLACES, original_name, readable_manifest
from towers.lifecycle.who import who
from towers.manifest import alone, digest_of, read_json, write_json
from towers.retrieval.files import MANIFEST
from towers.secrets import masked

State = Literal["candidate", "champion", "retired", "rejected"]
"""State of a version: not published so far, serving, served before, or refused or marked bad."""
_LOCK = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A record, and the state of its version.

    Args:
        record: record of the night.
        state: state of its version.
        export: folder of its version, or of the version that replaced it without some listeners; null where there is
            none (any more).
    """

    record: Record
    state: State
    export: Path | None


def night_name(data_end: str | None, *facts: Any) -> str:
    """Returns a night's name, which follows from its data, so that the same command after a kill continues its record.

    Args:
        data_end: time of the last event of the data, ISO 8601; null where events have no times.
        facts: everything else that decides the night, such as the store's fingerprint and the run's signature.
    """
    day = "undated" if data_end is None else data_end[:10].replace("-", "")
    return f"{day}-{digest_of([data_end, *facts])[:10]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The nights of one data set.

    Methods that write must be called while `alone` is held, except `write` by the night that owns the record.

    Args:
        folder: folder of the data set's records (`paths.nights/NAME`).
        exports: folder of all versions.
        runs: folder of all runs.
    """

    folder: Path
    exports: Path
    runs: Path

    def alone(self, waiting: Callable[[], None] = lambda: None) -> AbstractContextManager[None]:
        """Holds a lock for moving `current`, and marking and removing versions, each for moments: a rollback does not
        wait for the running night, which has a lock of its own (`lock.held`).

        Args:
            waiting: called once if another process holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        return alone(self.folder / _LOCK, waiting)

    # Reading

    def records(self) -> list[Record]:
        """Returns the records of all nights, the newest first: by the end of their data, then by their start.

        Raises:
            UserError: a file cannot be read.
        """
        found = [_read(path) for path in self.folder.glob("[!.]*.json")]
        return sorted(found, key=lambda of: (of.data_end or "", of.started or "", of.night), reverse=True)

    def of_night(self, night: str) -> Record | None:
        """Returns the record of a night; null where there is none."""
        path = self._path(night)
        return _read(path) if path.exists() else None

    def of_version(self, version: str) -> Record | None:
        """Returns the record of a version, by its name or that of the version that it replaced; null where there is
        none."""
        names = {version, original_name(self.exports / version)}
        return next((record for record in self.records() if record.version in names), None)

    def served(self) -> Path | None:
        """Returns the folder that `current` points to, even if it is missing; null where there is no such link."""
        current = self.exports / CURRENT
        return current.resolve() if current.is_symlink() else None

    def champion(self) -> Record | None:
        """Returns the record of the served version; null where none serves or it has no record."""
        return next((entry.record for entry in self.entries() if entry.state == "champion"), None)

    def entries(self) -> list[Entry]:
        """Returns all nights with the states of their versions, as found on disk; the newest first.

        Raises:
            UserError: a record cannot be read.
        """
        served, folders = self.served(), self._versions()
        serving = set() if served is None or not served.exists() else {served.name, original_name(served)}
        return [
            Entry(
                record=record,
                state=_state(record, record.version is not None and record.version in serving),
                export=served if record.version in serving else folders.get(record.version or ""),
            )
            for record in self.records()
        ]

    def retired(self) -> list[Entry]:
        """Returns versions that have served, exist, and may serve again, the one that served last first."""
        found = [entry for entry in self.entries() if entry.state == "retired" and entry.export is not None]
        return sorted(found, key=lambda entry: entry.record.serving_s, reverse=True)

    def _versions(self) -> dict[str, Path]:
        """Returns folders of versions by name; one that replaced a version without some listeners has that name,
        too."""
        found: dict[str, Path] = {}
        for path in sorted(manifest.parent for manifest in self.exports.glob(f"[!.]*/{MANIFEST}")):
            if not path.is_symlink():
                found[path.name] = path
                found.setdefault(original_name(path) or path.name, path)
        return found

    def why_barred(self, manifest: Mapping[str, Any]) -> str | None:
        """Returns why a version must never be published again, in words; null where it may be.

        Args:
            manifest: manifest of the version; barred are the same version, the same source and the same weights.
        """
        return _why_barred(self.records(), manifest)

    # Writing

    def write(self, record: Record) -> None:
        """Writes a record, whole or not at all."""
        write_json(self._path(record.night), record.to_json())

    def remark(self, record: Record, event: Event, why: str | None = None, by: str | None = None) -> Record:
        """Adds a remark with the present time and writes the record.

        Args:
            record: record to which it is added.
            event: what happened.
            why: reason in words.
            by: who did it; null: the user of this process.

        Returns:
            The record with the remark.
        """
        added = Remark(when=self._now(), who=by or who(), event=event, why=None if why is None else masked(why))
        record = replace(record, remarks=(*record.remarks, added))
        self.write(record)
        return record

    def mark_bad(self, record: Record, why: str, by: str, spared: Mapping[str, Any]) -> Record:
        """Bars a version for ever, and versions with the same source or weights; a barred record stays as it is.

        Args:
            record: record of the version.
            why: reason in words.
            by: who decided it.
            spared: manifest of a good version, whose source and weights are not barred; empty where there is none.
        """
        if record.bar is not None:
            return record
        export = next((entry.export for entry in self.entries() if entry.record.night == record.night), None)
        manifest = {} if export is None else readable_manifest(export)
        source, weights = (
            None if manifest.get(key) == spared.get(key) else manifest.get(key) for key in ("source", "weights")
        )
        bar = Bar(when=self._now(), who=by, why=why, source=source, weights=weights)
        return self.remark(replace(record, bar=bar), "marked bad", why, by)

    def settle(self, event: Event = "found serving", why: str | None = None, by: str | None = None) -> Record | None:
        """Adds the remarks that follow from what `current` points to: after each move of it, and at the start of every
        night.

        A served version without a record gets one; a version that stopped serving without a remark gets that remark.

        Args:
            event: how the version came to serve, where its remarks do not say so.
            why: reason in words.
            by: who did it; null: the user of this process.

        Returns:
            The record of the served version; null where none serves.
        """
        served, champion = self.served(), self.champion()
        if served is not None and champion is None and (served / MANIFEST).exists():
            champion = self._adopted(served)
        if champion is not None and not champion.is_said_to_serve:
            champion = self.remark(champion, event, why, by)
        for record in self.records():
            if record.is_said_to_serve and (champion is None or record.night != champion.night):
                self.remark(record, "retired" if record.bar is None else "rolled back", by=by)
        return champion

    def _adopted(self, version: Path) -> Record:
        manifest = read_json(version / MANIFEST)
        return Record(
            night=version.name,
            version=version.name,
            data_end=manifest.get("window", {}).get("end"),
            store=manifest.get("data_fingerprint"),
            space_id=manifest["space_id"],
        )

    def _now(self) -> str:
        """Returns the present time, or a time just after the last remark if that is later: a clock that was set back
        does not change the order in which versions served."""
        last = max((remark.when for record in self.records() for remark in record.remarks), default="")
        now = datetime.now(UTC)
        if last:
            now = max(now, datetime.fromisoformat(last) + timedelta(microseconds=1))
        return now.isoformat(timespec="microseconds")

    def _path(self, night: str) -> Path:
        return self.folder / f"{night}.json"


def ledgers(nights: Path, exports: Path, runs: Path) -> Iterator[Ledger]:
    """Yields the ledgers of all data sets below a folder."""
    for folder in sorted(path for path in nights.glob("[!.]*") if path.is_dir()):
        yield Ledger(folder=folder, exports=exports, runs=runs)


def why_barred_anywhere(nights: Path, manifest: Mapping[str, Any]) -> str | None:
    """Returns why a version must never be published again, by the ledger of any data set; null where it may be."""
    records = [record for each in ledgers(nights, nights, nights) for record in each.records()]
    return _why_barred(records, manifest)


def _why_barred(records: Iterable[Record], manifest: Mapping[str, Any]) -> str | None:
    name = manifest.get("version")
    names = {name, name.rpartition("-")[0]} if name and REPLACES in manifest else {name}
    for record in records:
        bar = record.bar
        if bar is None:
            continue
        is_it = record.version is not None and record.version in names
        is_like = any(
            ours and ours == manifest.get(key) for key, ours in (("source", bar.source), ("weights", bar.weights))
        )
        if is_it or is_like:
            which = record.version if is_it else f"{record.version}, which has the same weights,"
            return f"{which} was marked bad by {bar.who} at {bar.when[:19]}Z ({bar.why})"
    return None


def _state(record: Record, serves: bool) -> State:
    if serves:
        return "champion"
    if record.bar is not None:
        return "rejected"
    if record.serving_s:
        return "retired"
    return "rejected" if record.is_refused else "candidate"


def _read(path: Path) -> Record:
    try:
        return Record.from_json(read_json(path))
    except TypeError as error:
        raise UserError(f"{path}: not a night's record ({error}); restore the file, or move it away") from None
