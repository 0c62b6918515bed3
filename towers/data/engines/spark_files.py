"""Parquet files as Spark reads them: groups of one physical schema, and types that Spark lacks written anew."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt
from pyspark.sql import types

from towers.contract.arrow_types import MAX_DIGITS, is_list
from towers.data.engines.engine import Unreadable
from towers.data.sources.remote import RawPath, opened

_TYPES = {
    pa.string(): types.StringType, pa.large_string(): types.StringType, pa.string_view(): types.StringType,
    pa.int8(): types.ByteType, pa.int16(): types.ShortType, pa.int32(): types.IntegerType, pa.int64(): types.LongType,
    pa.uint8(): types.ShortType, pa.uint16(): types.IntegerType, pa.uint32(): types.LongType,
    pa.uint64(): lambda: types.DecimalType(20, 0), pa.float32(): types.FloatType, pa.float64(): types.DoubleType,
    pa.bool_(): types.BooleanType, pa.date32(): types.DateType,
}  # fmt: skip
ROWS_AT_ONCE = 100_000
UUID_SIGNS = 36
"""Length of a UUID as text."""


def physical_groups(paths: Sequence[RawPath], columns: Sequence[str]) -> list[list[RawPath]]:
    """Divides files of equal types by how the columns are stored, where that tells: nanoseconds are, by older writers,
    in 96 bits, and one read of Spark's has one schema.

    Args:
        paths: paths of the files.
        columns: columns to read.
    """
    first = pq.read_schema(opened(paths[0]))
    fine = {name for name in columns if pt.is_timestamp(kind := first.field(name).type) and kind.unit == "ns"}
    if not fine:
        return [list(paths)]
    groups: dict[tuple[str, ...], list[RawPath]] = defaultdict(list)
    for path in paths:
        schema = pq.read_metadata(opened(path)).schema
        leaves = [schema.column(place) for place in range(len(schema))]
        groups[tuple(f"{leaf.path} {leaf.physical_type}" for leaf in leaves if leaf.path in fine)].append(path)
    return list(groups.values())


def spark_type(kind: pa.DataType) -> types.DataType | None:
    """Returns the type that Spark reads a column in; null for a rare one, which Spark itself is asked for.

    Spark would look into a file for it, by a job of its own.
    """
    if pt.is_dictionary(kind):
        return spark_type(kind.value_type)
    if is_list(kind):
        entries = spark_type(kind.value_type)
        return None if entries is None else types.ArrayType(entries)
    if pt.is_decimal(kind):
        return types.DecimalType(kind.precision, kind.scale)
    if pt.is_timestamp(kind):
        if kind.unit == "ns":
            return None
        return types.TimestampNTZType() if kind.tz is None else types.TimestampType()
    return next((spark() for arrow, spark in _TYPES.items() if arrow == kind), None)


def spark_lacks(kind: pa.DataType) -> bool:
    """Says whether Spark cannot read a column of this type: UUIDs, floats of 16 bit, times of day, long decimals."""
    if pt.is_dictionary(kind) or pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
        return spark_lacks(kind.value_type)
    is_long = pt.is_decimal(kind) and kind.precision > MAX_DIGITS
    return isinstance(kind, pa.UuidType) or pt.is_float16(kind) or pt.is_time(kind) or is_long


def rewritten(path: RawPath, columns: Sequence[str], target: Path) -> None:
    """Writes columns of a file anew, in types that Spark has, row by row in the same order.

    Args:
        path: path of the file.
        columns: columns to write; the file may lack some.
        target: path of the new file.
    """
    file = pq.ParquetFile(opened(path))
    names = [name for name in file.schema_arrow.names if name in columns]
    schema = pa.schema([(name, _plain(file.schema_arrow.field(name).type)) for name in names])
    with pq.ParquetWriter(target, schema) as writer:
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=names):
            arrays = [_as(array, field.type) for array, field in zip(batch.columns, schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def like(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Returns rows in the columns and types of a schema; each value stays what it is.

    Raises:
        Unreadable: text that is not UTF-8, which Spark hands on as it is.
    """
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        raise Unreadable(str(error)) from error
    return pa.record_batch([_as(batch[field.name], field.type) for field in schema], schema=schema)


def _as(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if pt.is_time(kind):
        return array.cast(kind)
    if pt.is_time(array.type):  # microseconds of the day; nanoseconds, which DuckDB keeps, where they are
        return array.cast(pa.time64("ns" if array.type == pa.time64("ns") else "us")).cast(kind)
    if isinstance(array.type, pa.UuidType):
        return uuid_texts(array.storage)
    if _has_uuid(array.type):
        return pa.array(_texts(array.to_pylist()), kind)
    if pt.is_uint64(kind) and pt.is_int64(array.type):  # a hash, whose bits count
        return array.view(kind)
    return array.cast(kind)


def _plain(kind: pa.DataType) -> pa.DataType:
    """Returns the nearest type that Spark has."""
    if pt.is_dictionary(kind):
        return _plain(kind.value_type)
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
        return pa.list_(_plain(kind.value_type))
    if isinstance(kind, pa.UuidType):
        return pa.string()
    if pt.is_float16(kind):
        return pa.float32()
    if pt.is_time(kind):
        return pa.int64()
    return pa.float64() if pt.is_decimal(kind) and kind.precision > MAX_DIGITS else kind


def uuid_texts(values: pa.FixedSizeBinaryArray) -> pa.StringArray:
    """Returns UUIDs as text, such as `00000000-0000-0000-0000-000000000007`.

    Args:
        values: 16 bytes each; nulls stay null.
    """
    num_rows, data = len(values), values.buffers()[1]
    if not num_rows or data is None:
        return pa.nulls(num_rows, pa.string())
    octets = np.frombuffer(data, np.uint8)[16 * values.offset : 16 * (values.offset + num_rows)].reshape(num_rows, 16)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    signs = digits[np.stack([octets >> 4, octets & 15], axis=2).reshape(num_rows, 32)]
    signs = np.insert(signs, [8, 12, 16, 20], ord("-"), axis=1)
    offsets = np.arange(num_rows + 1, dtype=np.int32) * UUID_SIGNS
    is_valid = np.packbits(values.is_valid().to_numpy(zero_copy_only=False), bitorder="little")
    buffers = [pa.py_buffer(each) for each in (offsets, np.ascontiguousarray(signs), is_valid)]
    return pa.StringArray.from_buffers(num_rows, *buffers)


def _has_uuid(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.UuidType) or isinstance(getattr(kind, "value_type", None), pa.UuidType)


def _texts(values: Sequence[object]) -> list[object]:
    return [_texts(value) if isinstance(value, list) else None if value is None else str(value) for value in values]
