"""The part files of a table's folder: all that a writer meant to be read, and nothing that it keeps for itself."""

import os
from collections.abc import Iterator
from pathlib import Path

from towers.errors import UserError

SUFFIXES = (".parquet", ".parq", ".pq")
"""Names of Parquet files end in one of these, in capitals or not."""
MAGIC = b"PAR1"
"""With which Parquet files begin that are called otherwise: `000000_0` of Hive, `x.parquet.gzip` of pandas."""
LOGS = {"_delta_log": "a Delta table", ".hoodie": "a Hudi table", "_spark_metadata": "what a Spark stream writes"}
"""Folders in which a log says which files are alive, and whose they are."""
ICEBERG = "an Iceberg table"


def part_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Parquet files in a folder and its subfolders, in order; and other files there, which nobody reads.

    Names that begin with a dot or an underscore are left alone, as Spark and pyarrow do; whatever else is Parquet is
    read, whatever it is called. Links are followed; a file or
    folder that can be reached in several ways, a loop of links among them, is read once.

    Raises:
        UserError: a link that leads nowhere, a folder or file that cannot be opened, a name that is not UTF-8, or a
            folder in which a log says which files are alive (Delta, Iceberg, Hudi, a Spark stream).
    """
    if not folder.is_dir():
        return [], []
    found = sorted(_files(folder, {os.path.realpath(folder)}))
    parts = [path for path in found if is_parquet(path)]
    return parts, sorted({*found} - {*parts})


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet, or at least meant to be, by its name or its first bytes.

    Raises:
        UserError: it cannot be opened.
    """
    if path.name.lower().endswith(SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}); make it readable") from error


def refuse_log(folder: Path) -> None:
    """Refuses a folder whose files a log may have declared dead.

    Raises:
        UserError: names the folder, and says how to write the live rows out.
    """
    for name, kind in LOGS.items():
        if (folder / name).is_dir():
            raise _ruled_by_log(folder, kind)
    if any((folder / "metadata").glob("*.metadata.json")):
        raise _ruled_by_log(folder, ICEBERG)


def _files(folder: Path, seen: set[str]) -> Iterator[Path]:
    refuse_log(folder)
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
            yield from _files(path, seen)
        elif path.is_file():
            yield path


def _check_name(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{os.fsencode(path)!r}: a name that is not UTF-8; rename it") from error


def _ruled_by_log(folder: Path, kind: str) -> UserError:
    scan = {LOGS["_delta_log"]: "delta_scan", ICEBERG: "iceberg_scan"}.get(kind)
    example = (
        f"in DuckDB: COPY (FROM {scan}('{folder}')) TO 'NEW/part-0.parquet'"
        if scan
        else "in Spark: spark.read.format('hudi').load(...).write.parquet('NEW')"
        if kind == LOGS[".hoodie"]
        else "in Spark: spark.read.parquet(...).write.parquet('NEW')"
    )
    return UserError(
        f"{folder}: {kind}, in which a log says which files are alive; read as plain Parquet, deleted rows would come "
        f"back: write the live rows into a folder of their own and give that one, such as {example}"
    )
