"""What every source hands on: the raw data contract's tables as lists of Parquet files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTables:
    """The raw contract on disk.

    Args:
        root: the folder that audio paths are relative to and must stay in.
        files: table name -> its Parquet part files; `events` is always there.
        has_clock: whether timestamps are times; false where only the order is known.
    """

    root: Path
    files: dict[str, list[Path]]
    has_clock: bool


@runtime_checkable  # for the tests, which check annotations at run time
class Source(Protocol):
    """Where raw data comes from.

    Args:
        root: the folder or file that it was asked to read, as it was given.
    """

    root: str

    def inputs(self) -> tuple[Path, list[Path]]:
        """The folder and the files below it that the tables depend on (audio aside), for the fingerprint."""
        ...

    def tables(self, staging: Path) -> RawTables:
        """The tables; what has to be converted is written below `staging`."""
        ...
