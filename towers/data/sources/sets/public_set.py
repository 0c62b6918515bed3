"""A public set as it was published, turned into the raw data contract by one SQL file."""

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from towers.contract import schema
from towers.data.bad_lines import LINES, SCHEMA, BadLines, LineWriter
from towers.data.engines.duckdb_engine import DuckDbEngine, path_in_sql
from towers.data.sources.sets.published import Published, Reading, found
from towers.data.sources.tables import RawTables, literal
from towers.disk import is_full
from towers.errors import UserError
from towers.manifest import (
    atomic_directory,
    digest_of,
    digest_of_file,
    library_versions,
    read_json,
    scratch_directory,
    write_json,
)

FORMAT = 2
"""The format of converted tables; those of another one are made anew."""
SQL = Path(__file__).parent / "sql"
DONE = "converted.json"
"""Written last into a conversion: what it was made from."""
VECTORS = "vectors"
"""View of audio vectors in a set's SQL, and the file that it becomes, beside the conversion, as trainings read it."""
Told = Callable[[str, int, int, str], None]


class PublicSet:
    """Reads a public set from its own files.

    The SQL file finds each of `files` as a table by its name, and each of `options` as a variable. It makes views or
    tables with the columns of the raw data contract under the contract's names (`events`, `contents`, `users`,
    `playlists`, `impressions`), and may make three more: `faults` (file, line, reason), lines that are no rows of
    the set; `remarks` (line), for the caller; `vectors` (content_id, vector), for `audio_encoder=frozen`.

    Args:
        root: folder with the set's files, unpacked from its archive.
        title: title of the set.
        home: address at which the set is published.
        sql: name of an SQL file beside this module, or the path of one of your own that ends in .sql.
        has_clock: whether timestamps are times; false where only the order is known.
        files: the published tables, by the names that the SQL gives them.
        options: settings that the SQL reads by GETVARIABLE.
        memory_gb: memory of DuckDB, which converts regardless of the engine; see `DuckDbEngine`.
    """

    def __init__(
        self,
        root: str,
        title: str,
        home: str,
        sql: str,
        has_clock: bool,
        files: dict[str, Published],
        options: dict[str, Any],
        memory_gb: float | None = None,
    ):
        self.root = root
        self._root = literal(root)
        self._title, self._home, self._has_clock, self._files, self._options = title, home, has_clock, files, options
        self._engine = DuckDbEngine(memory_gb)
        self._sql = literal(sql) if sql.endswith(".sql") else SQL / f"{sql}.sql"
        if not self._sql.is_file():
            known = ", ".join(sorted(path.stem for path in SQL.glob("*.sql")))
            raise UserError(f"data.source.sql={sql}: no such file; give a path that ends in .sql, or one of {known}")

    def settings(self) -> dict[str, Any]:
        """See `Part`; the SQL decides a store as they do."""
        return {
            "sql": digest_of_file(self._sql),
            "has_clock": self._has_clock,
            "files": {name: {"class": type(each).__name__, **each.settings()} for name, each in self._files.items()},
            "options": self._options,
        }

    def inputs(self) -> tuple[Path, list[Path]]:
        """Returns all of the set's files that are read."""
        return self._root, sorted({path for paths in self._found().values() for path in paths})

    def tables(self, staging: Path) -> RawTables:
        """Converts into a folder, with the default of memory.

        Raises:
            UserError: a file that is missing, damaged or of another form.
        """
        folder = staging / "converted"
        folder.mkdir(parents=True)
        self._convert(folder, None, lambda stage, done, total, remark: None, "")
        _put_vectors(folder, folder.parent)
        return self._converted(folder)

    def kept_tables(self, folder: Path, inputs: Mapping[str, str], spill: Path | None, on_progress: Told) -> RawTables:
        """Returns the earlier conversion if nothing has changed; else converts and keeps the result.

        Args:
            folder: folder to keep the conversion in; audio vectors are kept beside it.
            inputs: digests of the set's files.
            spill: folder for data of DuckDB that does not fit into memory; null: beside the converted tables.
            on_progress: called with (stage, done, all, remark).

        Raises:
            UserError: as `tables`.
        """
        made_of = digest_of([FORMAT, dict(inputs), self.settings(), library_versions().get("duckdb")])
        before = read_json(folder / DONE) if (folder / DONE).exists() else {}
        is_whole = before.get("made_of") == made_of and (not before[VECTORS] or _vectors_beside(folder).exists())
        if not is_whole:
            with atomic_directory(folder) as fresh:
                self._convert(fresh, spill, on_progress, made_of)
                _put_vectors(fresh, folder.parent)
                shutil.rmtree(folder, ignore_errors=True)
        return self._converted(folder)

    def _found(self) -> dict[str, list[Path]]:
        paths = {name: found(self._root, each.names) for name, each in self._files.items()}
        missing = [each.names[0] for name, each in self._files.items() if each.is_required and not paths[name]]
        if missing:
            what = f"no {missing[0]} in it" if self._root.is_dir() else "no such folder"
            needed = ", ".join(each.names[0] for each in self._files.values() if each.is_required)
            raise UserError(
                f"data.root={self._root}: {what}; {self._title} needs {needed}: get it from {self._home}, unpack it, "
                "and give its folder"
            )
        return paths

    def _convert(self, folder: Path, spill: Path | None, on_progress: Told, made_of: str) -> None:
        with scratch_directory(folder / "work") as work, self._engine.connected(work, spill) as connection:
            connection.execute("SET preserve_insertion_order = true")  # of events at the same time, the first is first
            try:
                read = self._read(connection, work, on_progress)
                on_progress("converting", 0, 0, self._title)
                connection.execute(self._sql.read_text())
                write = partial(self._write, connection, folder)
                written = [table for table in schema.RAW_TABLES if write(table, folder / table / "part-0.parquet")]
                has_vectors = write(VECTORS, folder / f"{VECTORS}.parquet")
                bad = self._write_lines(connection, work / LINES, folder / LINES)
                remarks = [line for (line,) in self._rows(connection, "remarks")]
            except duckdb.Error as error:
                if is_full(error):
                    raise
                reason = " ".join(str(error).partition("\nLINE ")[0].split())
                raise UserError(f"{self._root}: not as {self._title} is published ({reason})") from error
        facts = {
            "tables": written, "lines": {"read": read, "bad": bad}, "remarks": remarks, VECTORS: has_vectors,
            "made_of": made_of,
        }  # fmt: skip
        write_json(folder / DONE, facts)

    def _read(self, connection: duckdb.DuckDBPyConnection, work: Path, on_progress: Told) -> int:
        """Makes the published tables and the options known to the database; returns the number of lines of text."""
        paths = self._found()
        with LineWriter(work / LINES) as faults:
            reading = Reading(folder=work, faults=faults, on_progress=on_progress)
            for name, each in self._files.items():
                connection.execute(f'CREATE VIEW "{name}" AS {each.relation(name, paths[name], reading)}')
        for option, value in self._options.items():
            connection.execute(f'SET VARIABLE "{option}" = {_literal(value)}')
        return faults.read

    def _converted(self, folder: Path) -> RawTables:
        facts = read_json(folder / DONE)
        remarks = list(facts["remarks"])
        if facts[VECTORS]:
            remarks.append(f"audio vectors: audio_encoder=frozen audio_encoder.path={_vectors_beside(folder)}")
        lines = BadLines(path=folder / LINES, **facts["lines"])
        if schema.EVENTS not in facts["tables"]:
            why = lines.told() if lines.bad else "there is nothing to learn from"
            raise UserError(f"data.root={self._root}: no event in it; {why}")
        return RawTables(
            root=folder,
            files={table: [folder / table / "part-0.parquet"] for table in facts["tables"]},
            has_clock=self._has_clock,
            remarks=remarks,
            lines=lines,
        )

    @staticmethod
    def _write(connection: duckdb.DuckDBPyConnection, folder: Path, view: str, path: Path) -> bool:
        """Writes a view to a file; returns whether there is one with a row."""
        if not _is_there(connection, view):
            return False
        path.parent.mkdir(exist_ok=True)
        connection.execute(f"COPY (FROM {view}) TO {_literal(str(path))} (FORMAT parquet)")
        if pq.read_metadata(path).num_rows:
            return True
        path.unlink()
        return False

    @classmethod
    def _write_lines(cls, connection: duckdb.DuckDBPyConnection, unread: Path, path: Path) -> int:
        """Writes the lines that could not be read and those that are faulty; returns their number."""
        names = ", ".join(SCHEMA.names)
        query = f"SELECT {names} FROM read_parquet({path_in_sql(unread)})"
        if _is_there(connection, "faults"):
            query += " UNION ALL SELECT file, line, reason FROM faults"
        connection.execute(f"COPY ({query}) TO {_literal(str(path))} (FORMAT parquet)")
        return pq.read_metadata(path).num_rows

    @staticmethod
    def _rows(connection: duckdb.DuckDBPyConnection, view: str) -> list[Any]:
        if not _is_there(connection, view):
            return []
        return connection.execute(f"SELECT line FROM {view} WHERE line IS NOT NULL ORDER BY line").fetchall()


def _vectors_beside(folder: Path) -> Path:
    return folder.parent / f"{VECTORS}.parquet"


def _put_vectors(fresh: Path, folder: Path) -> None:
    """Moves the audio vectors out of a conversion; if it has none, removes the earlier ones."""
    kept = folder / f"{VECTORS}.parquet"
    try:
        (fresh / kept.name).replace(kept)
    except FileNotFoundError:
        kept.unlink(missing_ok=True)


def _is_there(connection: duckdb.DuckDBPyConnection, view: str) -> bool:
    query = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = $1"
    return bool(connection.execute(query, [view]).fetchall()[0][0])


def _literal(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float):
        return "NULL" if value is None else str(value)
    return "'" + str(value).replace("'", "''") + "'"
