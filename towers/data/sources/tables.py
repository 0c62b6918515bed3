"""What every source hands on: the raw data contract's tables as lists of Parquet files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from towers.data.bad_lines import BadLines


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The caller's one file, where the tables were converted from it row by row: what messages name.

    Args:
        path: of the caller's file.
        columns: the contract's name of a column -> the file's own.
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
        lines: lines of the caller's text files that are no rows; null where there is no such file.
    """

    root: Path
    files: dict[str, list[Path]]
    has_clock: bool
    origin: Origin | None = None
    left_alone: list[Path] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    lines: BadLines | None = None

    def known_as(self, path: Path) -> str:
        """What the database calls a part file: the caller's own file where the parts were converted from it."""
        return str(path if self.origin is None else self.origin.path)

    def folders(self, table: str, path: Path) -> tuple[str, ...]:
        """Names of the folders between a table's own and one of its part files."""
        own = self.root / table
        return path.relative_to(own).parts[:-1] if path.is_relative_to(own) else ()


def literal(path: str) -> Path:
    """A path as it stands: pyarrow and DuckDB would take a folder called `~` for the caller's home."""
    return Path(path).absolute() if path.startswith("~") else Path(path)


@runtime_checkable  # for the tests, which check annotations at run time
class Source(Protocol):
    """Where raw data comes from.

    Args:
        root: the folder or file that it was asked to read, as it was given.
    """

    root: str

    def settings(self) -> dict[str, Any]:
        """Returns the settings that decide a store, by the names of their keys, as JSON values; paths are left out."""
        ...

    def inputs(self) -> tuple[Path, list[Path]]:
        """The folder and the files below it that the tables depend on (audio aside), for the fingerprint."""
        ...

    def tables(self, staging: Path) -> RawTables:
        """The tables; what has to be converted is written below `staging`."""
        ...
