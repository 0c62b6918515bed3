"""What a public set consists of: files of a known form, found in its folder by their published names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from towers.data.bad_lines import LineWriter

PACKED = (".bz2", ".gz")
"""Suffixes of files that are unpacked while they are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Where files are read to, and who is told.

    Args:
        folder: for what is written on the way; it is removed after the conversion.
        faults: takes lines that cannot be read.
        on_progress: called with (stage, bytes read, bytes in all, file name).
    """

    folder: Path
    faults: LineWriter
    on_progress: Callable[[str, int, int, str], None]


@runtime_checkable  # for the tests, which check annotations at run time
class Published(Protocol):
    """A table of a public set as it was published: one file or several of one form.

    Args:
        names: patterns of file names below the set's folder; the first one with a file counts.
        is_required: whether the set is not there without it.
    """

    names: tuple[str, ...]
    is_required: bool

    def settings(self) -> dict[str, Any]:
        """Returns what decides how the files are read, as JSON values."""
        ...

    def relation(self, name: str, paths: Sequence[Path], reading: Reading) -> str:
        """Returns SQL that reads the table with all of its columns; without files it has no rows.

        Args:
            name: what the set calls the table.
            paths: its files.
            reading: where to.

        Raises:
            UserError: a file that is damaged or lacks a column.
        """
        ...


def found(root: Path, names: Sequence[str]) -> list[Path]:
    """Returns the files of the first of some patterns that has any, packed or not."""
    for name in names:
        plain = next((name.removesuffix(suffix) for suffix in PACKED if name.endswith(suffix)), name)
        for each in dict.fromkeys((name, plain, *(plain + suffix for suffix in PACKED))):
            if paths := sorted(path for path in root.glob(each) if path.is_file()):
                return paths
    return []
