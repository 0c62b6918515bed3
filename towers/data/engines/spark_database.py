"""Tables and views in a Spark session."""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt
from pyspark.sql import Column, DataFrame, SparkSession, functions, types

from towers.data.engines.dialect import parsed, statements, to_spark
from towers.data.engines.duckdb_engine import DuckDbDatabase
from towers.data.engines.engine import BATCH_ROWS
from towers.data.engines.spark_files import like, physical_groups, rewritten, spark_lacks, spark_type
from towers.data.engines.spark_session import reason_of, told
from towers.data.sources.remote import RawPath, opened
from towers.errors import UserError

_URI = "uri of the file"
LOCAL = ("^file:/+", "file:/")
"""Beginnings of a local file's URI: the two that Hadoop writes, and the one that is used here."""
HADOOP = {"s3": "s3a", "gcs": "gs"}
"""Hadoop's names of schemes that have another name there."""
PATTERN = re.compile(r"[\[\]{}*?\\]")
"""A character that Hadoop takes for part of a pattern."""
AZURE = ("abfs", "abfss")
ENDLESS = 2**63 - 1
"""Stands for an instant without end; negative for one without beginning."""


@contextmanager
def spark_database(spark: SparkSession, folder: Path) -> "Iterator[SparkDatabase]":
    """Yields a database without tables in a session, whose files are written to a folder."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield SparkDatabase(spark, folder, DuckDbDatabase(connection))


class SparkDatabase:
    """Tables and views in a Spark session; see `Database`.

    Args:
        spark: the session, with the settings of `spark_session.OURS`.
        folder: folder for tables and results.
        shapes: a database in which the same SQL runs on no rows: a result has the types that DuckDB gives it.
    """

    def __init__(self, spark: SparkSession, folder: Path, shapes: DuckDbDatabase):
        self._spark, self._folder, self._shapes = spark, folder, shapes
        self._written = 0
        self._asked: dict[RawPath, Sequence[str]] = {}
        self._copies: dict[tuple[RawPath, tuple[str, ...]], Path] = {}

    @told
    def scan(self, name: str, paths: Sequence[RawPath], columns: Sequence[str], *, with_places: bool = True) -> None:
        """See `Database`.

        Raises:
            UserError: files in a store that Spark does not read.
        """
        _located(paths[0])
        self._asked |= dict.fromkeys(paths, columns)
        self._shapes.scan(f"{name}_files", paths[:1], columns, with_places=with_places)
        self._shapes.view(name, f"SELECT * FROM {name}_files WHERE FALSE")
        first, *others = (self._read(group, columns, with_places) for group in physical_groups(paths, columns))
        for other in others:
            first = first.unionByName(other)
        first.createOrReplaceTempView(name)

    @told
    def put(self, name: str, rows: pa.Table) -> None:
        """See `Database`."""
        self._shapes.put(name, rows.schema.empty_table())
        self._given(rows).createOrReplaceTempView(name)

    @told
    def view(self, name: str, query: str) -> None:
        """See `Database`."""
        self._shapes.view(name, query)
        self._spark.sql(to_spark(parsed(query))).createOrReplaceTempView(name)

    @told
    def run(self, path: Path) -> None:
        """See `Database`."""
        self._shapes.run(path)
        for name, is_table, query in statements(path.read_text()):
            rows = self._spark.sql(to_spark(query))
            if is_table:  # written, so that nothing is computed twice, nor otherwise the second time
                rows = self._parquet([_located(self._write(rows))], rows.schema)
            rows.createOrReplaceTempView(name)

    def table(self, name: str, order: Sequence[str] = ()) -> pa.Table:
        """See `Database`."""
        return pa.Table.from_batches(list(self.batches(name, order)), self._shape(name))

    def batches(
        self,
        name: str,
        order: Sequence[str] = (),
        num_rows: int = BATCH_ROWS,
        *,
        where: Mapping[str, int] | None = None,
        is_sorted: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """See `Database`."""
        schema, written = self._shape(name), self._result(name, order, where or {})
        for path in parts_in_order(written):
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(num_rows):
                    yield like(batch, schema)
            path.unlink()
        shutil.rmtree(written)

    @told
    def count(self, name: str) -> int:
        """See `Database`."""
        return self._spark.table(name).count()

    def fault_of(self, path: RawPath) -> str | None:
        """See `Database`."""
        try:
            rows = self._read([path], self._asked.get(path, ()), with_places=False)
            rows.write.format("noop").mode("overwrite").save()
        except Exception as error:
            return reason_of(error)
        return None

    @told
    def _result(self, name: str, order: Sequence[str], where: Mapping[str, int]) -> Path:
        """Writes rows of a view in order; returns the folder."""
        rows = self._spark.table(name)
        for column, number in where.items():
            rows = rows.where(functions.col(_quoted(column)) == number)
        if order:
            rows = rows.orderBy(*(functions.col(_quoted(column)).asc_nulls_last() for column in order))
        return self._write(rows)

    def _parquet(self, places: Sequence[str], schema: types.StructType | None = None) -> DataFrame:
        """Returns rows of files or folders, each read once.

        Signs of patterns stand for themselves by a backslash: where patterns are switched off instead, Spark 4 reads
        all of several paths again for each that has such a sign.
        """
        reader = self._spark.read if schema is None else self._spark.read.schema(schema)
        return reader.parquet(*(PATTERN.sub(r"\\\g<0>", place) for place in places))

    def _shape(self, name: str) -> pa.Schema:
        return self._shapes.table(name).schema

    def _next(self) -> Path:
        """Returns a path below the folder that is not there yet."""
        self._written += 1
        return self._folder / f"rows-{self._written}"

    def _write(self, rows: DataFrame) -> Path:
        """Writes rows, and returns the folder; by the names of its files they are in the rows' order."""
        target = self._next()
        rows.write.parquet(_located(target))
        return target

    def _given(self, rows: pa.Table) -> DataFrame:
        """Returns rows of the driver's."""
        path = self._next()
        pq.write_table(rows, path)
        place = _located(path)
        return self._parquet([place], self._schema(rows.schema, rows.column_names, place))

    def _schema(self, schema: pa.Schema, columns: Sequence[str], place: str) -> types.StructType:
        """Returns the types of columns; where one is rare, as Spark finds them in a file."""
        found = {name: spark_type(schema.field(name).type) for name in columns}
        if any(kind is None for kind in found.values()):
            own = self._parquet([place]).schema
            found = {name: own[name].dataType for name in columns}
        return types.StructType([types.StructField(name, kind) for name, kind in found.items() if kind is not None])

    def _read(self, paths: Sequence[RawPath], columns: Sequence[str], with_places: bool) -> DataFrame:
        """Returns rows of files of one physical schema, with the places where they stand."""
        schema = pq.read_schema(opened(paths[0]))
        read = [self._named(path) for path in paths]
        if any(spark_lacks(schema.field(column).type) for column in columns):
            read = [self._rewritten(path, columns) for path in paths]
            schema = pq.read_schema(read[0])
        places = [_located(path) for path in read]
        wanted = self._schema(schema, columns, places[0])
        rows = self._parquet(places, wanted)
        shown = [_column(name, schema.field(name).type, wanted[name].dataType) for name in columns]
        if not with_places:
            return rows.select(*shown)
        names = {_URI: [*map(self._uri, places)], "filename": [*map(str, paths)]}
        uri = functions.regexp_replace("_metadata.file_path", *LOCAL)
        row = functions.col("_metadata.row_index")
        rows = rows.select(*shown, uri.alias(_URI), row.alias("file_row_number"))
        rows = rows.join(functions.broadcast(self._given(pa.table(names))), _URI, "left")
        unknown = functions.raise_error(functions.concat(functions.lit("not asked for: "), functions.col(_URI)))
        known = functions.coalesce("filename", unknown).alias("filename")
        return rows.select(*map(_quoted, columns), known, "file_row_number")

    def _uri(self, place: str) -> str:
        """Returns the URI by which Spark knows a file of a row."""
        context: Any = self._spark.sparkContext
        path = context._jvm.org.apache.hadoop.fs.Path(place)
        uri = path.getFileSystem(context._jsc.hadoopConfiguration()).makeQualified(path).toUri().toString()
        return re.sub(*LOCAL, uri)

    def _rewritten(self, path: RawPath, columns: Sequence[str]) -> Path:
        """Returns a copy of a file, made once, in types that Spark has."""
        key = path, tuple(columns)
        if key not in self._copies:
            self._copies[key] = self._next()
            rewritten(path, columns, self._copies[key])
        return self._copies[key]

    def _named(self, path: RawPath) -> RawPath:
        """Returns a link to a local file whose path has a colon, which Hadoop takes for a URI's; else the path."""
        if not isinstance(path, Path) or ":" not in str(path.absolute()):
            return path
        target = self._next()
        target.symlink_to(path.absolute())
        return target


def parts_in_order(folder: Path) -> list[Path]:
    """Returns the part files that Spark wrote, by number: `part-100000-...` is behind `part-99999-...`."""
    return sorted(folder.glob("part-*.parquet"), key=lambda path: int(path.name.split("-")[1]))


def _located(path: RawPath) -> str:
    """Returns the path as Hadoop takes it: whole, with its scheme, since a cluster may take a bare one for another file
    system's, and with its own name for S3. Every sign stands for itself: Hadoop encodes them.

    Raises:
        UserError: a store of Azure's.
    """
    if isinstance(path, Path):
        return f"file://{path.absolute()}"
    scheme, _, place = path.url.partition("://")
    if scheme in AZURE:
        raise UserError(
            f"{path.url}: Spark needs the storage account in such a URL, and cannot be handed this one; read it with "
            "data/engine=duckdb"
        )
    return f"{HADOOP.get(scheme, scheme)}://{place}"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _column(name: str, kind: pa.DataType, read_as: types.DataType) -> Column:
    """Returns a column as it is read.

    Nanoseconds since 1970, which Spark has no instants of, are rounded as DuckDB does: half away from 0.
    """
    if not (pt.is_timestamp(kind) and isinstance(read_as, types.LongType)):
        return functions.col(_quoted(name))
    value, rest = _quoted(name), f"{_quoted(name)} % 1000"
    rounded = f"{value} DIV 1000 + CASE WHEN {rest} >= 500 THEN 1 WHEN {rest} <= -500 THEN -1 ELSE 0 END"
    finite = f"CASE WHEN {value} IN ({ENDLESS}, -{ENDLESS}) THEN {value} ELSE {rounded} END"
    return functions.expr(f"TIMESTAMP_MICROS({finite})").alias(name)
