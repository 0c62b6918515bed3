"""The part files of a table's folder: all that a writer meant to be read, and nothing that it keeps for itself."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from towers.data.sources.footers import MAGIC, Footers
from towers.data.sources.lake import DELTA, ICEBERG, Alive, live_files, refusal
from towers.data.sources.remote import RawPath, RemotePath
from towers.data.sources.remote_listing import objects_below
from towers.errors import UserError

SUFFIXES = (".parquet", ".parq", ".pq")
"""Names of Parquet files end in one of these, in capitals or not."""
DELTA_LOG, METADATA = "_delta_log", "metadata"
LOGS = {DELTA_LOG: DELTA, ".hoodie": "a Hudi table", "_spark_metadata": "what a Spark stream writes"}
"""Folders in which a log says which files are alive, with the kind of their table."""
READ_BY_LOG = (DELTA, ICEBERG)
DEAD_ROWS = "in which a log says which files are alive; read as plain Parquet, deleted rows would come back"


@dataclass(kw_only=True)
class TableFiles:
    """Files in a table's folder.

    Args:
        parts: Parquet files, in order.
        others: other files, which are not read.
        values: by part, values as text of columns that the log of its table knows.
        dropped: by part, columns that its table no longer has.
    """

    parts: list[RawPath] = field(default_factory=list)
    others: list[RawPath] = field(default_factory=list)
    values: dict[RawPath, Mapping[str, str | None]] = field(default_factory=dict)
    dropped: dict[RawPath, frozenset[str]] = field(default_factory=dict)

    def add(self, path: RawPath, is_part: bool) -> None:
        """Adds a file."""
        (self.parts if is_part else self.others).append(path)

    def in_order(self) -> "TableFiles":
        """Returns the same files, sorted by path."""
        return replace(self, parts=sorted(self.parts), others=sorted(self.others))


def part_files(folder: RawPath) -> tuple[list[RawPath], list[RawPath]]:
    """Returns the Parquet files in a folder and its subfolders, in order, and the other files there, which are not
    read.

    See `table_files`.
    """
    found = table_files(folder)
    return found.parts, found.others


def table_files(folder: RawPath, footers: Footers | None = None) -> TableFiles:
    """Returns what is in a table's folder and its subfolders; nothing where there is no folder.

    Names that begin with a dot or an underscore are left alone, as by Spark and pyarrow; all other Parquet files are
    read, regardless of their names. Of a Delta or Iceberg table only the files that its log calls alive are read. Links
    are followed; a file or folder that can be reached in several ways, also by a loop of links, is read once.

    Args:
        folder: folder of the table.
        footers: footers of earlier nights, which may tell that an object without a Parquet name is Parquet.

    Raises:
        UserError: a link that leads nowhere, a folder or file that cannot be opened, a name that is not UTF-8, a store
            that does not answer, or a folder whose log cannot be followed (Hudi, a Spark stream, deleted rows).
    """
    found = TableFiles()
    if isinstance(folder, RemotePath):
        _add_remote(folder, objects_below(folder), Footers() if footers is None else footers, found)
    elif folder.is_dir():
        _add_local(folder, {os.path.realpath(folder)}, found)
    return found.in_order()


def is_parquet(path: Path) -> bool:
    """Returns whether a file is Parquet, or at least meant to be, by its name or its first bytes.

    Files are called otherwise by Hive (`000000_0`) and by pandas (`x.parquet.gzip`).

    Raises:
        UserError: it cannot be opened.
    """
    if is_called_parquet(path):
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}); make it readable") from error


def is_called_parquet(path: RawPath) -> bool:
    """Returns whether a file is Parquet by its name."""
    return path.name.lower().endswith(SUFFIXES)


def refuse_log(folder: RawPath, names: Iterable[str]) -> None:
    """Refuses a data set's folder that is itself a table with a log.

    Args:
        folder: folder of the data set.
        names: names of the files and folders in it.

    Raises:
        UserError: names the folder, and says how to write the live rows out.
    """
    kind = _kind_of(folder) if isinstance(folder, Path) else next((LOGS[name] for name in names if name in LOGS), None)
    if kind is not None:
        raise refusal(folder, kind, f"{DEAD_ROWS}: call it {folder}/events/")


def _kind_of(folder: Path) -> str | None:
    """Returns the kind of log in a folder; null if there is none."""
    kind = next((kind for name, kind in LOGS.items() if (folder / name).is_dir()), None)
    return ICEBERG if kind is None and any(_metadata_of(folder)) else kind


def _metadata_of(folder: Path) -> Iterator[str]:
    return (f"{METADATA}/{path.name}" for path in (folder / METADATA).glob("*.metadata.json"))


def _add_local(folder: Path, seen: set[str], found: TableFiles) -> None:
    kind = _kind_of(folder)
    if kind is not None:
        return _add_alive(folder, kind, [*_metadata_of(folder)], None, found)
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror}); make it readable") from error
    for path in paths:
        if path.name[0] in "._":
            continue
        _check_name(path)
        if not path.exists():
            raise UserError(f"{path}: a link that leads nowhere ({path.readlink()}); mend it or take it away")
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        if path.is_dir():
            _add_local(path, seen, found)
        elif path.is_file():
            found.add(path, is_parquet(path))
    return None


def _add_remote(folder: RemotePath, objects: Mapping[str, RemotePath], footers: Footers, found: TableFiles) -> None:
    """Adds the objects below a folder, by their paths in it."""
    tables = _tables_in(objects)
    for inner, kind in tables.items():
        own = {name.removeprefix(inner): path for name, path in objects.items() if name.startswith(inner)}
        metadata = [name for name in own if name.startswith(f"{METADATA}/") and name.endswith(".metadata.json")]
        table = folder / inner.rstrip("/") if inner else folder
        _add_alive(table, kind, metadata, own, found)
    plain = [
        path
        for name, path in objects.items()
        if not any(part[0] in "._" for part in name.split("/")) and not any(map(name.startswith, tables))
    ]
    parquet = footers.parquet_among([path for path in plain if not is_called_parquet(path)])
    for path in plain:
        found.add(path, is_called_parquet(path) or path in parquet)


def _tables_in(objects: Mapping[str, RemotePath]) -> dict[str, str]:
    """Returns the outermost folders in which a log says what is alive, each with `/` at its end, and whose they are."""
    kinds: dict[str, str] = {}
    for name in objects:
        parts = name.split("/")
        for place, part in enumerate(parts[:-1]):
            is_iceberg = part == METADATA and place == len(parts) - 2 and name.endswith(".metadata.json")
            kind = ICEBERG if is_iceberg else LOGS.get(part)
            if kind is not None:
                kinds.setdefault("".join(f"{each}/" for each in parts[:place]), kind)
    return {
        inner: kind
        for inner, kind in kinds.items()
        if not any(inner != outer and inner.startswith(outer) for outer in kinds)
    }


def _add_alive(
    folder: RawPath, kind: str, metadata: list[str], objects: Mapping[str, RemotePath] | None, found: TableFiles
) -> None:
    """Adds the files that a table's log calls alive.

    Args:
        folder: folder of the table.
        kind: kind of the log, such as `DELTA`.
        metadata: names of the metadata files of an Iceberg table.
        objects: all objects in the folder, by name; null for a local folder.
        found: files to add to.
    """
    if kind not in READ_BY_LOG:
        raise refusal(folder, kind, DEAD_ROWS)
    for alive in live_files(folder, kind, metadata):
        path = _there(folder, alive, objects)
        if path is None:
            raise refusal(folder, kind, f"its log names a file that is not there ({alive.name}): put it back")
        found.parts.append(path)
        if alive.values:
            found.values[path] = alive.values
        if alive.dropped:
            found.dropped[path] = alive.dropped


def _there(folder: RawPath, alive: Alive, objects: Mapping[str, RemotePath] | None) -> RawPath | None:
    if objects is not None:
        return objects.get(alive.name)
    path = folder / alive.name
    return path if isinstance(path, Path) and path.is_file() else None


def _check_name(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{os.fsencode(path)!r}: a name that is not UTF-8; rename it") from error
