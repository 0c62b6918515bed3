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
from towers.data.engines.spark_session import failures_told, reason_of
from towers.data.sources.remote import RawPath, opened

_URI = "uri of the file"
LOCAL = ("^file:/+", "file:/")
"""How a local file's URI begins, which Hadoop writes in two ways, and how it begins here."""
HADOOP = {"s3": "s3a", "gcs": "gs"}
"""What Hadoop calls a scheme, where it calls it otherwise."""
ENDLESS = 2**63 - 1
"""Stands for an instant without end; negative for one without beginning."""


@contextmanager
def spark_database(spark: SparkSession, folder: Path) -> "Iterator[SparkDatabase]":
    """A database without tables in a session, whose files are written to a folder."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield SparkDatabase(spark, folder, DuckDbDatabase(connection))


class SparkDatabase:
    """Tables and views in a Spark session; see `Database`.

    Args:
        spark: the session, with the settings of `spark_session.OURS`.
        folder: where tables and results are written.
        shapes: a database in which the same SQL runs on no rows: a result has the types that DuckDB gives it.
    """

    def __init__(self, spark: SparkSession, folder: Path, shapes: DuckDbDatabase):
        self._spark, self._folder, self._shapes = spark, folder, shapes
        self._written = 0

    def scan(self, name: str, paths: Sequence[RawPath], columns: Sequence[str], *, with_places: bool = True) -> None:
        """See `Database`."""
        with failures_told():
            self._shapes.scan(f"{name}_files", paths[:1], columns, with_places=with_places)
            self._shapes.view(name, f"SELECT * FROM {name}_files WHERE FALSE")
            first, *others = (self._read(group, columns, with_places) for group in physical_groups(paths, columns))
            for other in others:
                first = first.unionByName(other)
            first.createOrReplaceTempView(name)

    def put(self, name: str, rows: pa.Table) -> None:
        """See `Database`."""
        with failures_told():
            self._shapes.put(name, rows.schema.empty_table())
            self._given(rows).createOrReplaceTempView(name)

    def view(self, name: str, query: str) -> None:
        """See `Database`."""
        with failures_told():
            self._shapes.view(name, query)
            self._spark.sql(to_spark(parsed(query))).createOrReplaceTempView(name)

    def run(self, path: Path) -> None:
        """See `Database`."""
        with failures_told():
            self._shapes.run(path)
            for name, is_table, query in statements(path.read_text()):
                rows = self._spark.sql(to_spark(query))
                if is_table:  # written, so that nothing is computed twice, nor otherwise the second time
                    rows = self._spark.read.schema(rows.schema).parquet(str(self._write(rows)))
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
        with failures_told():
            rows, schema = self._spark.table(name), self._shape(name)
            for column, number in (where or {}).items():
                rows = rows.where(functions.col(_quoted(column)) == number)
            if order:
                rows = rows.orderBy(*(functions.col(_quoted(column)).asc_nulls_last() for column in order))
            written = self._write(rows)
        for path in sorted(written.glob("part-*.parquet")):
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(num_rows):
                    yield like(batch, schema)
            path.unlink()
        shutil.rmtree(written)

    def count(self, name: str) -> int:
        """See `Database`."""
        with failures_told():
            return self._spark.table(name).count()

    def fault_of(self, path: RawPath) -> str | None:
        """See `Database`."""
        try:
            self._reader.parquet(_located(path)).write.format("noop").mode("overwrite").save()
        except Exception as error:
            return reason_of(error)
        return None

    @property
    def _reader(self) -> Any:
        # A sign of a pattern in a name stands for itself.
        return self._spark.read.option("__globPaths__", "false")

    def _shape(self, name: str) -> pa.Schema:
        return self._shapes.table(name).schema

    def _next(self) -> Path:
        """A path below the folder that is not there yet."""
        self._written += 1
        return self._folder / f"rows-{self._written}"

    def _write(self, rows: DataFrame) -> Path:
        """Writes rows, and returns the folder; by the names of its files they are in the rows' order."""
        target = self._next()
        rows.write.parquet(str(target))
        return target

    def _given(self, rows: pa.Table) -> DataFrame:
        """Rows of the driver's."""
        path = self._next()
        pq.write_table(rows, path)
        return self._spark.read.schema(self._schema(rows.schema, rows.column_names, str(path))).parquet(str(path))

    def _schema(self, schema: pa.Schema, columns: Sequence[str], place: str) -> types.StructType:
        """The types of columns; where one is rare, as Spark finds them in a file."""
        found = {name: spark_type(schema.field(name).type) for name in columns}
        if any(kind is None for kind in found.values()):
            told = self._reader.parquet(place).schema
            found = {name: told[name].dataType for name in columns}
        return types.StructType([types.StructField(name, kind) for name, kind in found.items() if kind is not None])

    def _read(self, paths: Sequence[RawPath], columns: Sequence[str], with_places: bool) -> DataFrame:
        """Rows of files of one physical schema, with the places where they stand."""
        schema = pq.read_schema(opened(paths[0]))
        places = [_located(path) for path in paths]
        if any(spark_lacks(schema.field(column).type) for column in columns):
            places = [_located(self._rewritten(path, columns)) for path in paths]
            schema = pq.read_schema(places[0])
        wanted = self._schema(schema, columns, places[0])
        rows = self._reader.schema(wanted).parquet(*places)
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
        """The URI by which Spark knows a file of a row."""
        context: Any = self._spark.sparkContext
        path = context._jvm.org.apache.hadoop.fs.Path(place)
        uri = path.getFileSystem(context._jsc.hadoopConfiguration()).makeQualified(path).toUri().toString()
        return re.sub(*LOCAL, uri)

    def _rewritten(self, path: RawPath, columns: Sequence[str]) -> Path:
        target = self._next()
        rewritten(path, columns, target)
        return target


def _located(path: RawPath) -> str:
    """The path as Hadoop takes it: whole, and with its own name for S3."""
    if isinstance(path, Path):
        return str(path.absolute())
    scheme, _, place = path.url.partition("://")
    return f"{HADOOP.get(scheme, scheme)}://{place}"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _column(name: str, kind: pa.DataType, read_as: types.DataType) -> Column:
    """A column as it is read; nanoseconds since 1970, which Spark has no instants of, rounded as DuckDB does: half away
    from 0."""
    if not (pt.is_timestamp(kind) and isinstance(read_as, types.LongType)):
        return functions.col(_quoted(name))
    value, rest = _quoted(name), f"{_quoted(name)} % 1000"
    rounded = f"{value} DIV 1000 + CASE WHEN {rest} >= 500 THEN 1 WHEN {rest} <= -500 THEN -1 ELSE 0 END"
    finite = f"CASE WHEN {value} IN ({ENDLESS}, -{ENDLESS}) THEN {value} ELSE {rounded} END"
    return functions.expr(f"TIMESTAMP_MICROS({finite})").alias(name)
