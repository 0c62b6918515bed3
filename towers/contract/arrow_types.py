"""One rule for every table: which Arrow types can be an id, a list of ids or a number, and how an id is written."""

import pyarrow as pa
import pyarrow.types as pt

ID_WORDS = "a string or an integer"
MAX_DIGITS = 38
"""Digits of a decimal that SQL can hold; longer ones become floats, which no longer tell neighbouring ids apart."""


def is_id(kind: pa.DataType) -> bool:
    """Returns whether a column of this type holds ids: text, whole numbers (decimals of scale 0 among them) or UUIDs.

    A dictionary's values count. A column of the null type holds no id at all, and is no fault.
    """
    kind = _plain(kind)
    is_text = pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind)
    return is_text or is_whole(kind) or pt.is_null(kind) or isinstance(kind, pa.UuidType)


def is_whole(kind: pa.DataType) -> bool:
    """Returns whether the type holds whole numbers alone: any integer, or a decimal without digits behind the point."""
    return pt.is_integer(kind) or (pt.is_decimal(kind) and kind.scale == 0 and kind.precision <= MAX_DIGITS)


def is_number(kind: pa.DataType) -> bool:
    """Returns whether the type holds numbers, whole or not."""
    return pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind)


def is_list(kind: pa.DataType) -> bool:
    """Returns whether the type is any of Arrow's lists: of 32 or 64 bit offsets, of views, of a fixed size."""
    is_view = pt.is_list_view(kind) or pt.is_large_list_view(kind)
    return pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind) or is_view


def is_id_list(kind: pa.DataType) -> bool:
    """Returns whether the type is a list of ids; lists that are all empty have values of the null type."""
    return is_list(kind) and is_id(kind.value_type)


def is_temporal(kind: pa.DataType) -> bool:
    """Returns whether the type holds days or instants."""
    return pt.is_date(kind) or pt.is_timestamp(kind)


def id_texts(column: pa.ChunkedArray | pa.Array) -> list[str | None]:
    """Ids as text, as every table of the store has them; null stays null."""
    return [None if value is None else str(value) for value in column.to_pylist()]


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values: a dictionary's, and an extension's of which nothing special is known."""
    if pt.is_dictionary(kind):
        return _plain(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType) and not isinstance(kind, pa.UuidType):
        return _plain(kind.storage_type)
    return kind
