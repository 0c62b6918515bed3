"""Footers of Parquet part files; a file's is read once a process, and an object's once for all nights.

An engine reads the footers of the files whose rows it reads once more.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from towers.data.sources.remote import RawPath, RemotePath
from towers.errors import UserError
from towers.manifest import atomic_file, read_json

DAMAGE = (pa.ArrowException, OSError, ValueError)
"""Errors that pyarrow raises for a damaged file; text that is no UTF-8 is a ValueError."""
MAGIC = b"PAR1"
"""First bytes of a Parquet file."""
FORMAT = 2
"""The format of the file in which footers are remembered; a file of another one is ignored."""
TAIL_BYTES = 1 << 15
"""Bytes of an object's end that are fetched first; most footers are shorter."""
AT_ONCE = 10_000
"""Greatest number of objects that one call fetches something of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """Facts of a part file before its rows are read.

    Args:
        schema: columns and their types.
        num_rows: number of rows.
        empty: columns that hold only nulls, or only lists without an entry, according to the file's statistics.
        told: columns with rows, whether or not the statistics tell if they are empty.
    """

    schema: pa.Schema
    num_rows: int
    empty: frozenset[str]
    told: frozenset[str]

    @classmethod
    def of(cls, path: RawPath, metadata: pq.FileMetaData) -> "Footer":
        """Reads a file's metadata.

        Raises:
            UserError: a column of a type that Arrow lacks, or a name that is not UTF-8.
        """
        with _told(path):
            schema = metadata.schema.to_arrow_schema().remove_metadata()
            str(schema)  # names are decoded only when they are asked for
        groups = [group for group in map(metadata.row_group, range(metadata.num_row_groups)) if group.num_rows]
        chunks: dict[str, list[bool]] = {}
        for place in range(metadata.num_columns if groups else 0):
            name = _root(metadata.schema.column(place).path)
            chunks.setdefault(name, []).extend(_has_none(group.column(place)) for group in groups)
        return cls(
            schema=schema,
            num_rows=metadata.num_rows,
            empty=frozenset(name for name, are_empty in chunks.items() if all(are_empty)),
            told=frozenset(chunks),
        )


class Footers:
    """Reads footers, and remembers them: files' while the process runs, objects' in a file for the next nights."""

    def __init__(self) -> None:
        self._known: dict[RawPath, Footer] = {}
        self._others: dict[str, str | None] = {}  # objects that are no Parquet, with their versions
        self._schemas: dict[pa.Schema, pa.Schema] = {}  # most files have the same: one stands for all of them
        self._columns: dict[frozenset[str], frozenset[str]] = {}  # likewise
        self._kept: dict[str, list[Any]] = {}
        self._kept_others: dict[str, str | None] = {}
        self._kept_schemas: list[pa.Schema] = []
        self._kept_columns: list[tuple[frozenset[str], frozenset[str]]] = []
        self._is_changed = self._is_recalled = False

    def of(self, path: RawPath) -> Footer:
        """Returns a part file's footer.

        Raises:
            UserError: it is not Parquet or is cut short, has a column of a type that Arrow lacks, or cannot be had.
        """
        if path not in self._known:
            self.read([path])
        return self._known[path]

    def read(self, paths: Iterable[RawPath]) -> None:
        """Reads the footers that are not known yet; those of objects many at once.

        Raises:
            UserError: as `of`.
        """
        new = [path for path in paths if path not in self._known]
        remote = [path for path in new if isinstance(path, RemotePath) and not self._recalled(path)]
        for path in new:
            if isinstance(path, Path):
                self._know(path, Footer.of(path, _metadata(path, path)))
        for start in range(0, len(remote), AT_ONCE):
            some = remote[start : start + AT_ONCE]
            sizes = [path.size or 0 for path in some]
            tails = _ranges(some, [max(size - TAIL_BYTES, 0) for size in sizes], sizes)
            for path, tail in zip(some, tails, strict=True):
                self._know(path, Footer.of(path, _metadata_in(path, tail)))
                self._is_changed = True

    def parquet_among(self, paths: Sequence[RemotePath]) -> set[RemotePath]:
        """Returns the objects that begin as Parquet does, regardless of their names.

        What an earlier night found is believed; the others' first bytes are fetched, many at once.

        Raises:
            UserError: they cannot be had.
        """
        found, new = set(), []
        for path in paths:
            if (path.size or 0) <= len(MAGIC):
                continue
            if self._kept.get(path.url, [None])[0] == path.version:
                found.add(path)
            elif self._kept_others.get(path.url) == path.version:
                self._others[path.url] = path.version
            else:
                new.append(path)
        for start in range(0, len(new), AT_ONCE):
            some = new[start : start + AT_ONCE]
            for path, head in zip(some, _ranges(some, [0] * len(some), [len(MAGIC)] * len(some)), strict=True):
                if head == MAGIC:
                    found.add(path)
                else:
                    self._others[path.url] = path.version
                    self._is_changed = True
        return found

    def recall(self, memory: Path) -> None:
        """Takes over, once, what an earlier process kept in a file; nothing of another release's."""
        if self._is_recalled:
            return
        self._is_recalled = True
        try:
            found = read_json(memory) if memory.exists() else {}
            if found.get("format") == FORMAT:
                self._kept_schemas = [_from_text(each) for each in found["schemas"]]
                self._kept_columns = [(frozenset(empty), frozenset(told)) for empty, told in found["columns"]]
                self._kept, self._kept_others = found["objects"], found["others"]
        except (UserError, KeyError, TypeError, *DAMAGE):
            self._kept, self._kept_others = {}, {}

    def keep(self, memory: Path) -> None:
        """Writes what is known of objects for the next process; no file where there are none.

        Schemas, and the columns that are empty or told of, stand there once and are referred to by their numbers.
        """
        objects = {path: footer for path, footer in self._known.items() if isinstance(path, RemotePath)}
        sizes = len(self._kept), len(self._kept_others)
        if not objects or not (self._is_changed or (len(objects), len(self._others)) != sizes):
            return
        schemas: dict[pa.Schema, int] = {}
        columns: dict[tuple[frozenset[str], frozenset[str]], int] = {}
        kept = {
            path.url: [
                path.version,
                schemas.setdefault(footer.schema, len(schemas)),
                footer.num_rows,
                columns.setdefault((footer.empty, footer.told), len(columns)),
            ]
            for path, footer in objects.items()
        }
        told = {
            "format": FORMAT,
            "schemas": [_as_text(schema) for schema in schemas],
            "columns": [[sorted(each) for each in pair] for pair in columns],
            "objects": kept,
            "others": self._others,
        }
        with atomic_file(memory) as temporary:
            temporary.write_text(json.dumps(told, ensure_ascii=False, separators=(",", ":")) + "\n")

    def _recalled(self, path: RemotePath) -> bool:
        version, schema, num_rows, columns = self._kept.get(path.url, [None, 0, 0, 0])
        if version is None or version != path.version:
            return False
        empty, told = self._kept_columns[columns]
        self._know(path, Footer(schema=self._kept_schemas[schema], num_rows=num_rows, empty=empty, told=told))
        return True

    def _know(self, path: RawPath, found: Footer) -> None:
        self._known[path] = Footer(
            schema=self._schemas.setdefault(found.schema, found.schema),
            num_rows=found.num_rows,
            empty=self._columns.setdefault(found.empty, found.empty),
            told=self._columns.setdefault(found.told, found.told),
        )


def _metadata(path: RawPath, source: Any) -> pq.FileMetaData:
    with _told(path):
        return pq.read_metadata(source)


@contextmanager
def _told(path: RawPath) -> Iterator[None]:
    """Turns pyarrow's errors about a footer into one that names the file."""
    try:
        yield
    except pa.ArrowNotImplementedError as error:  # whole, but of a type that pyarrow lacks
        raise UserError(f"{path}: a column of a type that cannot be read ({error}); write it as another") from error
    except DAMAGE as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: not a readable Parquet file, perhaps cut short ({reason}); write it again, or move it out of the "
            "folder"
        ) from error


def _ranges(paths: Sequence[RemotePath], begins: Sequence[int], ends: Sequence[int]) -> list[bytes]:
    """Returns bytes `[begin, end)` of objects, of which the store's library asks for many side by side."""
    filesystem = paths[0].filesystem
    with paths[0].parent.reaching():
        found = filesystem.cat_ranges([path.own for path in paths], [*begins], [*ends], on_error="return")
    for path, part in zip(paths, found, strict=True):
        if isinstance(part, Exception):
            with path.reaching():
                raise part
    return found


def _metadata_in(path: RemotePath, tail: bytes) -> pq.FileMetaData:
    """Returns the metadata that the last bytes of an object hold; fetches what of them is missing."""
    length = int.from_bytes(tail[-8:-4], "little") + 8
    size = path.size or 0
    if len(tail) < length <= size:
        tail = path.read(size - length, size)
    return _metadata(path, pa.BufferReader(tail))


def _root(path: str) -> str:
    """Returns the column that a path of Parquet's schema belongs to.

    >>> _root("genres.list.element"), _root("a.column")
    ('genres', 'a.column')
    """
    return path.removesuffix(".list.element").removesuffix(".list.item").removesuffix(".bag.array_element")


def _has_none(column: pq.ColumnChunkMetaData) -> bool:
    statistics = column.statistics
    return statistics is not None and statistics.has_null_count and statistics.null_count == column.num_values


def _as_text(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def _from_text(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.BufferReader(base64.b64decode(text)))
