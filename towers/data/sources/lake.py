"""Delta and Iceberg tables: which of a folder's Parquet files are alive, as the table's own log says."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from towers.answering import does_not_answer
from towers.data.sources.remote import RawPath, RemotePath, UnreachableStore
from towers.errors import UserError
from towers.extras import how_to_install

DELTA, ICEBERG = "a Delta table", "an Iceberg table"
HUDI = ".format('hudi')"
SCANS = {DELTA: "delta_scan", ICEBERG: "iceberg_scan"}
"""DuckDB's functions that read them."""
READ_PLAINLY = frozenset(
    ("timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "variantType", "variantType-preview", "deletionVectors")
)
"""Reader features with which a Delta table is still a list of plain files; deletion vectors are looked for apart."""
THROUGH_FSSPEC = {"py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO"}
"""Lets Iceberg's log be read as all else in a store is."""
_VERSION = re.compile(r"(?:v(\d+)|(\d+)-[^/]+?)(?:\.gz)?\.metadata\.json")
"""Names of Iceberg's metadata, with their numbers: of a Hadoop catalog, and of all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """A file that is a part of a table now.

    Args:
        name: path below the table's folder.
        values: columns that the log knows the value of, as text, and the file may lack; null is null.
        dropped: columns that the file may have and the table has no more.
    """

    name: str
    values: Mapping[str, str | None]
    dropped: frozenset[str] = frozenset()


def live_files(folder: RawPath, kind: str, metadata: Iterable[str] = ()) -> list[Alive]:
    """Returns the files of a table that are alive, by name.

    Args:
        folder: folder of the table.
        kind: `DELTA` or `ICEBERG`.
        metadata: names of the metadata files of an Iceberg table, below its folder.

    Raises:
        UserError: the library is missing, the log cannot be read, or it says what a list of files cannot: rows that
            are deleted in a file, columns under other names than in the files, files elsewhere.
        UnreachableStore: the store of the log does not answer.
    """
    library, read = ("deltalake", _of_delta) if kind == DELTA else ("pyiceberg", _of_iceberg)
    if find_spec(library) is None:
        raise refusal(folder, kind, f"that is read with {library}: {how_to_install('lake')}")
    try:
        found = read(folder, [*metadata])
    except UserError:
        raise
    except Exception as error:  # each library, and the store's below it, has classes of its own
        told = " ".join(str(error).split())
        if isinstance(folder, RemotePath) and does_not_answer(error):
            raise UnreachableStore(f"{folder}: {kind}, whose store does not answer ({told})") from error
        raise refusal(folder, kind, f"its log cannot be read ({told})") from error
    return sorted(found, key=lambda each: each.name)


def refusal(folder: RawPath, kind: str, why: str) -> UserError:
    """Returns what to say of a table that is not read, with how to write its live rows out."""
    example = (
        f"in DuckDB: COPY (FROM {SCANS[kind]}('{folder}')) TO 'NEW/part-0.parquet'"
        if kind in SCANS
        else f"in Spark: spark.read{'' if 'stream' in kind else HUDI}.load(...).write.parquet('NEW')"
    )
    return UserError(f"{folder}: {kind}, {why}, or write the live rows into a folder of their own, such as {example}")


def _of_delta(folder: RawPath, _: list[str]) -> list[Alive]:
    from deltalake import DeltaTable

    table = DeltaTable(str(folder), storage_options={} if isinstance(folder, Path) else {"allow_http": "true"})
    features = {*(table.protocol().reader_features or ())}
    mapping = table.metadata().configuration.get("delta.columnMapping.mode", "none")
    if mapping != "none" or "columnMapping" in features:
        raise refusal(folder, DELTA, "its columns have other names in the log than in the files (column mapping)")
    if unknown := sorted(features - READ_PLAINLY):
        raise refusal(folder, DELTA, f"it asks of readers what a list of files cannot tell ({', '.join(unknown)})")
    if "deletionVectors" in features and pa.table(table.deletion_vectors()).num_rows:
        raise refusal(folder, DELTA, "it has deletion vectors, rows that are dead in a file: purge it (REORG)")
    found = []
    for row in pa.table(table.get_add_actions(flatten=False)).to_pylist():
        if "://" in row["path"]:
            raise refusal(folder, DELTA, f"its log names a file elsewhere ({row['path']})")
        values = {name: None if value is None else str(value) for name, value in (row.get("partition") or {}).items()}
        found.append(Alive(name=unquote(row["path"]), values=values))
    return found


def _of_iceberg(folder: RawPath, metadata: list[str]) -> list[Alive]:
    from pyiceberg.table import StaticTable

    location = os.path.realpath(folder) if isinstance(folder, Path) else str(folder)
    table = StaticTable.from_metadata(
        f"{location}/{_newest(folder, metadata)}", {} if isinstance(folder, Path) else THROUGH_FSSPEC
    )
    schemas = table.metadata.schemas
    _check_names(folder, schemas)
    dropped = frozenset(name for schema in schemas for name in _names(schema)) - {*_names(table.schema())}
    # A folder may be reached by a link; its log calls it by the one name or the other.
    roots = [os.path.normpath(folder.absolute()), location] if isinstance(folder, Path) else [location]
    found = []
    for task in table.scan().plan_files():
        path = _bare(task.file.file_path)
        if task.delete_files:
            raise refusal(folder, ICEBERG, "it has delete files, rows that are dead in a file: rewrite its data files")
        if str(task.file.file_format.value).upper() != "PARQUET":
            raise refusal(folder, ICEBERG, f"it has files that are no Parquet ({path})")
        name = _below(path, roots)
        if name is None and isinstance(folder, Path):
            name = _below(os.path.realpath(path), roots)
        if name is None:
            raise refusal(folder, ICEBERG, f"its log names a file elsewhere ({path})")
        found.append(Alive(name=name, values={}, dropped=dropped))
    return found


def _names(schema: Any) -> list[str]:
    """Returns the columns of a schema of Iceberg's."""
    return [field.name for field in schema.fields]


def _below(path: str, roots: Sequence[str]) -> str | None:
    """Returns a path from the first of some folders that it is in; null where it is in none."""
    starts = (f"{_bare(root)}/" for root in roots)
    return next((path.removeprefix(start) for start in starts if path.startswith(start)), None)


def _bare(uri: str) -> str:
    """Returns a place without what writers spell differently: the scheme, and an account behind a container.

    >>> _bare("s3a://bucket/plays/a.parquet"), _bare("file:/data/a.parquet"), _bare("abfs://box@me.dfs.net/a")
    ('bucket/plays/a.parquet', '/data/a.parquet', 'box/a')
    """
    return re.sub(r"^([^@/]+)@[^/]*", r"\1", re.sub(r"^(?:file:(?://)?|[A-Za-z0-9+.-]+://)", "", uri))


def _newest(folder: RawPath, metadata: list[str]) -> str:
    """Returns the metadata file of the highest number."""
    numbers = {}
    for name in metadata:
        if match := _VERSION.fullmatch(name.rpartition("/")[2]):
            numbers.setdefault(int(match[1] or match[2]), []).append(name)
    newest = numbers[max(numbers)] if numbers else []
    if len(newest) != 1:
        told = f"{' and '.join(newest)} have the same number" if newest else "none of its metadata files has a number"
        raise refusal(folder, ICEBERG, f"{told}, so that only its catalog knows which counts")
    return newest[0]


def _check_names(folder: RawPath, schemas: Iterable[Any]) -> None:
    """Checks that every column has always had the same name, and every name has meant the same column.

    Raises:
        UserError: a column was renamed or replaced.
    """
    by_id: dict[int, str] = {}
    by_name: dict[str, int] = {}
    for schema in schemas:
        for number in schema.field_ids:
            name = schema.find_column_name(number)
            if by_id.setdefault(number, name) != name or by_name.setdefault(name, number) != number:
                raise refusal(
                    folder, ICEBERG, f"column {name!r} was renamed or replaced, so that older files call it otherwise"
                )
