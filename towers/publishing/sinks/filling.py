"""The order of steps by which any engine is filled: rows, check; later the switch, and only then old tables are
removed."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from towers.errors import UserError
from towers.publishing.leading import share_of_export
from towers.publishing.sinks.rows import TABLES, Rows, content_rows, user_rows
from towers.publishing.sinks.sink import NotFilled, Progress
from towers.retrieval.export import Export

LEGAL_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
SAME = 1e-6
"""Tolerance of vectors that are read back: the last digit of float32."""
IDS_AT_ONCE = 1_000
"""Number of ids in one request to an engine."""
NEAR_ENOUGH = 0.01
"""Tolerance between the engine's best score for a canary and its exact score: an engine may compress vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Metadata that a table carries.

    Args:
        version: version of the export.
        space_id: space of its vectors.
        dim: number of leading dimensions of its vectors, normalised; null: all of the export's.
        kept: share of listeners' nearest 20 that these dimensions keep; 1 where they are all.
        written: time at which writing began, ISO 8601 in UTC.
        is_complete: whether all rows are in and the index is built.
    """

    version: str
    space_id: str
    written: str
    dim: int | None = None
    kept: float = 1.0
    is_complete: bool = False

    def facts(self) -> dict[str, str]:
        """Returns the metadata as texts that an engine keeps with the table."""
        facts = {"version": self.version, "space_id": self.space_id, "written": self.written}
        return facts if self.dim is None else facts | {"dim": str(self.dim), "kept@20": f"{self.kept:.4f}"}

    def fit(self, other: "Labels") -> bool:
        """Returns whether both are of vectors of one space with the same dimensions."""
        return (self.space_id, self.dim) == (other.space_id, other.dim)

    @classmethod
    def read(cls, facts: Mapping[str, str], is_complete: bool) -> "Labels":
        """Reads what `facts` returned; older tables do not state their dimensions and have all of them."""
        return cls(
            version=facts["version"],
            space_id=facts["space_id"],
            written=facts["written"],
            dim=int(facts["dim"]) if "dim" in facts else None,
            kept=float(facts.get("kept@20", 1)),
            is_complete=is_complete,
        )


@runtime_checkable  # for the tests, which check annotations at run time
class Engine(Protocol):
    """Operations of an engine that filling needs; tables are given by name."""

    def tables(self) -> dict[str, Labels]:
        """Returns the tables that a sink made, complete or not."""
        ...

    def in_use(self) -> set[str]:
        """Returns the tables that serving reads."""
        ...

    def serving(self) -> str | None:
        """Returns the table of contents that serving reads; null where there is none."""
        ...

    def create(self, name: str, rows: Rows, labels: Labels, on_rows: Callable[[int], None]) -> None:
        """Writes all rows, calling `on_rows` with the number written so far."""
        ...

    def finish(self, name: str, rows: Rows) -> None:
        """Builds the index, and then marks the table complete."""
        ...

    def count(self, name: str) -> int:
        """Returns the number of rows."""
        ...

    def vectors(self, name: str, id_column: str, ids: Sequence[str]) -> dict[str, Float[np.ndarray, " dim"]]:
        """Returns the vectors of those `ids` that the table has."""
        ...

    def best_score(self, name: str, vector: Float[np.ndarray, " dim"]) -> float:
        """Returns the highest inner product that a search finds."""
        ...

    def switch(self, contents: str, users: str, labels: Labels) -> None:
        """Makes serving read these two tables."""
        ...

    def drop(self, name: str) -> None:
        """Removes a table, complete or not."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """Fills an engine, step by step.

    Args:
        prefix: start of all names: `<prefix>_contents_<version>`, `<prefix>_users_<version>`.
        keep: number of versions that are kept, including the one that is served and the one before it.
        dim: number of leading dimensions of the vectors that are written, normalised; null: all.

    Raises:
        UserError: the prefix is not a name, or there are fewer than two versions or one dimension.
    """

    prefix: str
    keep: int
    dim: int | None

    def __post_init__(self):
        if not LEGAL_PREFIX.fullmatch(self.prefix):
            raise UserError(f"sink.prefix={self.prefix!r}: must be letters, digits and _, a letter first")
        if self.keep < 2:
            raise UserError(
                f"sink.keep={self.keep}: must be at least 2: the version that is served and the one before it"
            )
        if self.dim is not None and self.dim < 1:
            raise UserError(f"sink.dim={self.dim}: must be at least 1, or null for all")

    def check(self, dim: int) -> None:
        """See `Sink.check`."""
        if self.dim is not None and self.dim > dim:
            raise UserError(f"sink.dim={self.dim}: the export's vectors have {dim}; give 1 to {dim}, or null for all")

    def write(self, engine: Engine, export: Export, on_progress: Progress) -> str:
        """Fills `engine` and makes it serve this version; raises as `Sink.write`, returns as `serve`."""
        self.fill(engine, export, on_progress)
        return self.serve(engine, export)

    def fill(self, engine: Engine, export: Export, on_progress: Progress) -> str:
        """Fills `engine` with this version without changing what serving reads; raises as `Sink.fill`.

        Versions that were filled later than the served one, and are not served, are removed: they were refused or
        rolled back.

        Returns:
            The version and its numbers of rows, in words.
        """
        self.check(export.dim)
        self._drop_passed_over(engine, export.version)
        labels = self._labels(export, datetime.now(UTC).isoformat())
        told = []
        for rows in self._rows(export):
            self._fill_table(engine, self._name(rows.name, labels.version), rows, labels, on_progress)
            told.append(f"{rows.count:,} {rows.name}")
        return f"{labels.version}: {' and '.join(told)}"

    def serve(self, engine: Engine, export: Export) -> str:
        """Makes serving read this version, which `engine` has to contain; raises as `Sink.serve`.

        Returns:
            The version, and how much its vectors keep where they are truncated.
        """
        self.check(export.dim)
        tables, found = engine.tables(), []
        for rows in self._rows(export):
            name = self._name(rows.name, export.version)
            labels, own = tables.get(name), self._labels(export, "")
            if labels is None:
                raise NotFilled(f"{name}: not there; serving stays where it was")
            lack = "not complete" if not labels.is_complete else "of another space or dim"
            if fault := _fault(engine, name, rows) if labels.is_complete and labels.fit(own) else lack:
                raise NotFilled(f"{name}: {fault}; serving stays where it was")
            found.append((name, labels))
        (contents, labels), (users, _) = found
        before = {tables[name].version for name in engine.in_use() if name in tables}
        engine.switch(contents, users, labels)
        self._drop_old(engine, before)
        if labels.dim is None:
            return labels.version
        told = f"in {labels.dim} of {export.dim} dimensions, which keep {labels.kept:.1%} of listeners' nearest 20"
        return f"{labels.version} {told}"

    def served(self, engine: Engine) -> str | None:
        """See `Sink.served`."""
        name = engine.serving()
        labels = None if name is None else engine.tables().get(name)
        return None if labels is None else labels.version

    def _dim_of(self, export: Export) -> int:
        return export.dim if self.dim is None else self.dim

    def _rows(self, export: Export) -> tuple[Rows, Rows]:
        dim = self._dim_of(export)
        return content_rows(export, dim), user_rows(export, dim)

    def _labels(self, export: Export, written: str) -> Labels:
        """Returns the metadata of an export's tables; the share kept by truncated vectors is measured only when
        writing."""
        dim = self._dim_of(export)
        is_cut = dim < export.dim
        return Labels(
            version=export.version,
            space_id=export.space_id,
            written=written,
            dim=dim if is_cut else None,
            kept=share_of_export(export, dim) if is_cut and written else 1.0,
        )

    def holding(self, engine: Engine, ids: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """See `Sink.holding`."""
        found = {}
        for name, labels in engine.tables().items():
            if not labels.is_complete:
                found[name] = 0
            elif count := self._count(engine, name, ids):
                found[name] = count
        return found

    def _count(self, engine: Engine, name: str, ids: Mapping[str, Sequence[str]]) -> int:
        table = next(table for table in TABLES if name.startswith(f"{self.prefix}_{table}_"))
        wanted = ids.get(table, ())
        if not wanted or not engine.count(name):  # which also makes an engine ready to be asked
            return 0
        some = (wanted[first : first + IDS_AT_ONCE] for first in range(0, len(wanted), IDS_AT_ONCE))
        return sum(len(engine.vectors(name, f"{table[:-1]}_id", part)) for part in some)

    def forget(
        self, engine: Engine, ids: Mapping[str, Sequence[str]], export: Export | None, on_progress: Progress
    ) -> None:
        """See `Sink.forget`; raises as `Sink.forget`."""
        served = engine.in_use() & self.holding(engine, ids).keys()
        if served and export is None:
            raise UserError(f"{min(served)}: serving is led to it, and there is no export without these listeners")
        if served and export is not None:
            self.write(engine, export, on_progress)
        found, served = self.holding(engine, ids), engine.in_use()
        for name in found:
            if name in served:
                raise UserError(
                    f"{name}: serving is led to it, and {export and export.folder} has these listeners, too"
                )
            engine.drop(name)

    def _name(self, table: str, version: str) -> str:
        return f"{self.prefix}_{table}_{re.sub('[^A-Za-z0-9_]', '_', version)}"

    def _fill_table(self, engine: Engine, name: str, rows: Rows, labels: Labels, on_progress: Progress) -> None:
        found = engine.tables().get(name)
        is_whole = found is not None and found.is_complete and found.fit(labels)
        fault = _fault(engine, name, rows) if is_whole else None
        if fault == "":
            return
        if name in engine.in_use():
            what = f"space {labels.space_id} in {labels.dim or 'all'} dimensions"
            led = f"serving is led to it, but it is not of {what}; remove it first, or give another sink.prefix"
            raise UserError(f"{name}: {fault or led}; serving stays where it was")
        engine.drop(name)
        engine.create(name, rows, labels, lambda done: on_progress(f"sink {rows.name}", done, rows.count))
        on_progress(f"index {rows.name}", 0, 0)
        engine.finish(name, rows)
        on_progress(f"index {rows.name}", rows.count, rows.count)
        if fault := _fault(engine, name, rows):
            engine.drop(name)  # so that the same command starts it anew
            raise UserError(f"{name}: {fault}; serving stays where it was")

    def _drop_passed_over(self, engine: Engine, filled: str) -> None:
        """Removes tables that were filled after the served ones: they were never served, or have been rolled back."""
        tables, in_use = engine.tables(), engine.in_use()
        served = [labels.written for name, labels in tables.items() if name in in_use]
        for name, labels in tables.items():
            is_later = bool(served) and labels.written > max(served)
            if name not in in_use and labels.version != filled and (is_later or not labels.is_complete):
                engine.drop(name)

    def _drop_old(self, engine: Engine, before: set[str]) -> None:
        """Keeps the newest complete versions, the served one and the one before; removes others, and what killed runs
        left."""
        tables, in_use = engine.tables(), engine.in_use()
        complete = Counter(labels.version for labels in tables.values() if labels.is_complete)
        written = {
            labels.version: labels.written for labels in tables.values() if complete[labels.version] == len(TABLES)
        }
        first = before | {tables[name].version for name in in_use if name in tables}
        newest = sorted(written, key=lambda version: (version in first, written[version]), reverse=True)[: self.keep]
        for name, labels in tables.items():
            if name not in in_use and labels.version not in newest:
                engine.drop(name)


def _fault(engine: Engine, name: str, rows: Rows) -> str:
    """Returns what is wrong with a table; empty where nothing is."""
    count = engine.count(name)
    if count != rows.count:
        return f"{count:,} rows arrived of {rows.count:,} (is every {rows.id_column} unique?)"
    stored = engine.vectors(name, rows.id_column, list(rows.canaries))
    for canary, vector in rows.canaries.items():
        if canary not in stored or not np.allclose(stored[canary], vector, rtol=0, atol=SAME):
            return f"the vector of {rows.id_column} {canary} is not the export's"
        if not engine.best_score(name, vector) >= float(vector @ vector) - NEAR_ENOUGH:
            return f"a search for the vector of {rows.id_column} {canary} does not find it"
    return ""
