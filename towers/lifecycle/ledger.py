"""What is known of all nights and versions of a data set: a file a night, each whole at any moment.

Which version serves is what `exports/current` leads to, and nothing else; remarks follow it (`Ledger.settle`), so that
a kill between the two leaves no lie.
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
"""Of a version: not published so far, the one that serves, one that served, one that was refused or marked bad."""
_LOCK = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A record, and what became of it.

    Args:
        record: of the night.
        state: of its version.
        export: folder of its version, or of the one in its place without some listeners; null where there is none (any
            more).
    """

    record: Record
    state: State
    export: Path | None


def night_name(data_end: str | None, *facts: Any) -> str:
    """Names a night by its data, so that the same command after a kill goes on with the same record.

    Args:
        data_end: last event of the data, ISO 8601; null without a clock.
        facts: what else decides the night, such as the store's fingerprint and the run's signature.
    """
    day = "undated" if data_end is None else data_end[:10].replace("-", "")
    return f"{day}-{digest_of([data_end, *facts])[:10]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The nights of one data set.

    Methods that write are to be called while `alone` is held, except `write` by the night that owns the record.

    Args:
        folder: of the records, one a data set (`paths.nights/NAME`).
        exports: folder of all versions.
        runs: folder of all runs.
    """

    folder: Path
    exports: Path
    runs: Path

    def alone(self, waiting: Callable[[], None] = lambda: None) -> AbstractContextManager[None]:
        """Holds what moves `current`, marks versions and removes them, for moments: a roll back does not wait for the
        night that is running, whose own lock is another one (`lock.held`).

        Args:
            waiting: called once where another process holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        return alone(self.folder / _LOCK, waiting)

    # Reading

    def records(self) -> list[Record]:
        """All nights, the newest first: by the end of their data, then by their start.

        Raises:
            UserError: a file that cannot be read.
        """
        found = [_read(path) for path in self.folder.glob("[!.]*.json")]
        return sorted(found, key=lambda of: (of.data_end or "", of.started or "", of.night), reverse=True)

    def of_night(self, night: str) -> Record | None:
        """The record of a night; null where there is none."""
        path = self._path(night)
        return _read(path) if path.exists() else None

    def of_version(self, version: str) -> Record | None:
        """The record of a version, by its name or that of the version in whose place it was put; null where there is
        none."""
        names = {version, original_name(self.exports / version)}
        return next((record for record in self.records() if record.version in names), None)

    def served(self) -> Path | None:
        """The version's folder that `current` leads to, there or not; null where there is no such link."""
        current = self.exports / CURRENT
        return current.resolve() if current.is_symlink() else None

    def champion(self) -> Record | None:
        """The record of the version that serves; null where nothing serves or nothing is known of it."""
        return next((entry.record for entry in self.entries() if entry.state == "champion"), None)

    def entries(self) -> list[Entry]:
        """All nights with what became of them, by what is on disk; the newest first.

        Raises:
            UserError: a record that cannot be read.
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
        """Versions that served, are there, and may serve again: the one that served last first."""
        found = [entry for entry in self.entries() if entry.state == "retired" and entry.export is not None]
        return sorted(found, key=lambda entry: entry.record.serving_s, reverse=True)

    def _versions(self) -> dict[str, Path]:
        """Folders of versions by name; those in whose place a version was put without some listeners have its."""
        found: dict[str, Path] = {}
        for path in sorted(manifest.parent for manifest in self.exports.glob(f"[!.]*/{MANIFEST}")):
            if not path.is_symlink():
                found[path.name] = path
                found.setdefault(original_name(path) or path.name, path)
        return found

    def why_barred(self, manifest: Mapping[str, Any]) -> str | None:
        """Why a version is never to be published again, in words; null where it may be.

        Args:
            manifest: of the version: the same version, what followed from the same, and the same weights are barred.
        """
        return _why_barred(self.records(), manifest)

    # Writing

    def write(self, record: Record) -> None:
        """Writes a record, whole or not at all."""
        write_json(self._path(record.night), record.to_json())

    def remark(self, record: Record, event: Event, why: str | None = None, by: str | None = None) -> Record:
        """Adds a remark of now and writes the record.

        Args:
            record: to which it is added.
            event: what happened.
            why: in words.
            by: who did it; null: whoever runs this.

        Returns:
            The record with it.
        """
        added = Remark(when=self._now(), who=by or who(), event=event, why=None if why is None else masked(why))
        record = replace(record, remarks=(*record.remarks, added))
        self.write(record)
        return record

    def mark_bad(self, record: Record, why: str, by: str, spared: Mapping[str, Any]) -> Record:
        """Bars a version for ever, and what is like it; one that is barred stays as it is.

        Args:
            record: of it.
            why: in words.
            by: who says so.
            spared: manifest of a good version, whose weights stay good; empty where there is none.
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
        """Brings remarks up to what `current` leads to: after each move of it, and first of all in every night.

        A version that serves and has no record gets one; one that has ceased to serve without a remark gets that.

        Args:
            event: how the version came to serve, where its remarks do not say so.
            why: in words.
            by: who did it; null: whoever runs this.

        Returns:
            The record of what serves; null where nothing does.
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
        """Gives the present time, or one after the last remark if that is later: a clock that was put back does not
        change the order in which versions served."""
        last = max((remark.when for record in self.records() for remark in record.remarks), default="")
        now = datetime.now(UTC)
        if last:
            now = max(now, datetime.fromisoformat(last) + timedelta(microseconds=1))
        return now.isoformat(timespec="microseconds")

    def _path(self, night: str) -> Path:
        return self.folder / f"{night}.json"


def ledgers(nights: Path, exports: Path, runs: Path) -> Iterator[Ledger]:
    """The ledgers of all data sets below a folder."""
    for folder in sorted(path for path in nights.glob("[!.]*") if path.is_dir()):
        yield Ledger(folder=folder, exports=exports, runs=runs)


def why_barred_anywhere(nights: Path, manifest: Mapping[str, Any]) -> str | None:
    """Why a version is never to be published again, by the ledger of any data set; null where it may be."""
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
