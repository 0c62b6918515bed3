"""Lookup of raw ids by row and of rows by raw id, in memory that all processes share."""

from collections.abc import Iterator, Sequence
from typing import Any, SupportsIndex, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Integer


class Ids(Sequence[str]):
    """The ids of an export's contents or listeners, by row.

    A dictionary of ten million texts takes a gigabyte in every process. Here the texts stay memory-mapped by Arrow, and
    a binary search over the sorted ids finds one in some 24 steps.

    >>> ids = Ids.of(["c", "a", "b"])
    >>> ids[0], ids.row("b"), ids.get("x", -1), "a" in ids
    ('c', 2, -1, True)

    Args:
        texts: ids by row.
        order: rows in ascending order of their ids, by code points.
    """

    def __init__(self, texts: pa.ChunkedArray, order: Integer[np.ndarray, " rows"]):
        self._texts = texts
        self._order = order

    @classmethod
    def of(cls, texts: pa.ChunkedArray | Sequence[str]) -> "Ids":
        """Builds the lookup of a column, which is sorted here."""
        column = texts if isinstance(texts, pa.ChunkedArray) else pa.chunked_array([pa.array(texts, pa.string())])
        return cls(column, order_of(column))

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, index: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._texts[row].as_py() for row in range(*index.indices(len(self)))]
        return self._texts[int(index)].as_py()

    def __iter__(self) -> Iterator[str]:
        for chunk in self._texts.chunks:
            yield from chunk.to_pylist()

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and self.get(value, -1) >= 0

    def get(self, value: str, default: int) -> int:
        """Returns the row of an id, or `default` if there is none."""
        low, high = 0, len(self._order)
        while low < high:
            middle = (low + high) // 2
            if self[int(self._order[middle])] < value:
                low = middle + 1
            else:
                high = middle
        if low < len(self._order) and self[int(self._order[low])] == value:
            return int(self._order[low])
        return default

    def row(self, value: str) -> int:
        """Returns the row of an id.

        Raises:
            KeyError: there is no such id.
        """
        found = self.get(value, -1)
        if found < 0:
            raise KeyError(value)
        return found

    def rows(self, values: Any) -> Integer[np.ndarray, " values"]:
        """Returns the rows of many ids (an Arrow array or a list of texts); -1 for an unknown id and for null."""
        wanted = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values, pa.string())
        value_set = pc.SetLookupOptions(value_set=self._texts.combine_chunks())
        found = pc.call_function("index_in", [wanted.cast(self._texts.type)], value_set)
        return np.asarray(found.fill_null(-1)).astype(np.int64)

    def problem(self) -> str | None:
        """Returns a message if ids cannot be looked up, for example because one occurs twice; else null."""
        order = np.asarray(self._order)
        if len(order) != len(self) or not np.array_equal(np.sort(order), np.arange(len(self))):
            return "the order of their ids does not contain every row exactly once"
        ordered = self._texts.take(pa.array(order)).combine_chunks()
        if ordered.null_count:
            return "an id is null"
        before, after = ordered.slice(0, max(len(ordered) - 1, 0)), ordered.slice(1)
        is_ascending = pc.call_function("less", [before, after]).to_numpy(zero_copy_only=False)
        if is_ascending.all():
            return None
        place = int(np.argmin(is_ascending))
        return f"id {after[place].as_py()!r} occurs twice or is out of order"


def order_of(texts: pa.ChunkedArray) -> Integer[np.ndarray, " rows"]:
    """Returns rows, int64, in ascending order of their texts; Arrow sorts by UTF-8 bytes, which is by code points."""
    return (
        pc.call_function("array_sort_indices", [texts.combine_chunks()]).to_numpy(zero_copy_only=False).astype(np.int64)
    )
