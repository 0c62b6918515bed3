"""The result of every source: the raw data contract's tables as lists of Parquet files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from towers.data.bad_lines import BadLines
from towers.data.sources.footers import Footers
from towers.data.sources.partitions import Part, part_of, values_in
from towers.data.sources.remote import RawPath, RemotePath, is_remote, path_below, remote_folder
from towers.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The caller's one file, where the tables were converted from it row by row: what messages name.

    Args:
        path: path of the caller's file.
        columns: the file's own names of columns, by the contract's names.
    """

    path: Path
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTables:
    """The raw contract on disk.

    Args:
        root: the folder that audio paths are relative to and must stay in.
        files: table name -> its Parquet part files; `events` is always there.
        has_clock: whether timestamps are times; false where only the order is known.
        origin: the file that `files` were converted from; null where they are the caller's own.
        left_alone: files in the tables' folders that are no Parquet.
        remarks: lines for the caller about what is read otherwise than it may be meant.
        values: by file of a table with a log (Delta), values as text of columns that the log knows.
        dropped: by file of a table with a log (Iceberg), columns that the table no longer has; they are not read.
        footers: footers of the files.
        lines: lines of the caller's text files that are no rows; null where there is no such file.
    """

    root: RawPath
    files: Mapping[str, Sequence[RawPath]]
    has_clock: bool
    origin: Origin | None = None
    left_alone: Sequence[RawPath] = field(default_factory=list)
    remarks: Sequence[str] = field(default_factory=list)
    values: Mapping[RawPath, Mapping[str, str | None]] = field(default_factory=dict)
    dropped: Mapping[RawPath, frozenset[str]] = field(default_factory=dict)
    footers: Footers = field(default_factory=Footers)
    lines: BadLines | None = None

    @property
    def objects(self) -> list[RemotePath]:
        """Returns the part files that are objects in a store; they all are, or none is."""
        return [path for paths in self.files.values() for path in paths if isinstance(path, RemotePath)]

    def part(self, table: str, path: RawPath, extra: Sequence[str] = ()) -> Part:
        """Returns a part file of a table as it is read: its own columns, and those that its folders' names have.

        Args:
            table: a name of `schema.RAW_TABLES`.
            path: one of its files.
            extra: columns beside the contract that are looked for in folders' names.

        Raises:
            UserError: the file is not Parquet, or a folder's name gives a column no value of its type.
        """
        own = self.footers.of(path).schema
        if path in self.dropped:
            own = pa.schema([column for column in own if column.name not in self.dropped[path]])
        return part_of(path, table, own, self.values_beside(table, path), extra)

    def values_beside(self, table: str, path: RawPath) -> dict[str, str | None]:
        """Returns columns with one value in all of a part file, as its folders' names and its table's log tell them.

        The log counts where both do. See `part`.
        """
        return {**values_in(self.folders(table, path)), **self.values.get(path, {})}

    def known_as(self, path: RawPath) -> str:
        """Returns the name of a part file in messages: the caller's own file where the parts were converted from it."""
        return str(path if self.origin is None else self.origin.path)

    def folders(self, table: str, path: RawPath) -> tuple[str, ...]:
        """Returns the names of the folders between a table's own folder and one of its part files."""
        below = path_below(path, self.root / table)
        return () if below is None else below.parts[:-1]


def literal(path: str) -> Path:
    """Returns a local path as it stands: pyarrow and DuckDB would take a folder called `~` for the caller's home.

    Raises:
        UserError: it is a URL.
    """
    if is_remote(path):
        raise UserError(f"data.root={path}: this is read from a disk alone; copy it there")
    return Path(path).absolute() if path.startswith("~") else Path(path)


def raw_folder(root: str) -> RawPath:
    """Returns a folder on a disk or, by its URL, in a store.

    Raises:
        UserError: a URL that cannot be read.
    """
    return remote_folder(root) if is_remote(root) else literal(root)


@runtime_checkable  # for the tests, which check annotations at run time
class Source(Protocol):
    """A source of raw data.

    Args:
        root: the folder or file that it was asked to read, as it was given.
    """

    root: str

    def settings(self) -> dict[str, Any]:
        """Returns the settings that decide a store, by the names of their keys, as JSON values; paths are left out."""
        ...

    def inputs(self) -> tuple[RawPath, list[RawPath]]:
        """Returns the folder, and the files below it that the tables depend on (except audio), for the fingerprint."""
        ...

    def tables(self, staging: Path) -> RawTables:
        """Returns the tables; tables that have to be converted are written below `staging`."""
        ...
