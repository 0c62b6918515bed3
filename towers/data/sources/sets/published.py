"""Parts of a public set: files of a known form, found in its folder by their published names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from towers.data.bad_lines import LineWriter
from towers.errors import UserError

PACKED = (".bz2", ".gz")
"""Suffixes of files that are unpacked while they are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Surroundings of a conversion: a folder for temporary files, the log of bad lines, and the progress.

    Args:
        folder: folder for temporary files; it is removed after the conversion.
        faults: writer of lines that cannot be read.
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
            name: name of the table in the set.
            paths: files of the table.
            reading: surroundings of the conversion.

        Raises:
            UserError: a file that is damaged or lacks a column.
        """
        ...


def found(root: Path, names: Sequence[str]) -> list[Path]:
    """Returns the files of the first of some patterns that has any, packed or not.

    Args:
        root: the set's folder.
        names: patterns of file names below it; one that begins with `*/` means the folder of an archive.

    Raises:
        UserError: a file is there packed and unpacked, or a pattern that begins with `*/` has files in several folders.
    """
    for name in names:
        spellings = (name, _unpacked(name), *(_unpacked(name) + suffix for suffix in PACKED))
        paths = sorted({path for each in spellings for path in root.glob(each) if path.is_file()})
        by_name: dict[str, Path] = {}
        for path in paths:
            twin = by_name.setdefault(_unpacked(str(path)), path)
            if twin != path:
                raise UserError(f"{path}: {twin.name} is there as well; leave one of the two")
        if name.startswith("*/"):
            _check_one_folder(root, paths)
        if paths:
            return paths
    return []


def _check_one_folder(root: Path, paths: Sequence[Path]) -> None:
    for path in paths:
        if path.parent != paths[0].parent:
            first, other = (each.relative_to(root) for each in (paths[0], path))
            raise UserError(f"data.root={root}: {first} and {other} are of two archives; give the folder of one")


def _unpacked(name: str) -> str:
    """Returns the name of a file as it is once it is unpacked."""
    return next((name.removesuffix(suffix) for suffix in PACKED if name.endswith(suffix)), name)
