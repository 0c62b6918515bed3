"""Raw ids by row, and rows by raw id, in memory that all processes share."""

from collections.abc import Iterator, Sequence
from typing import Any, SupportsIndex, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Integer


class Ids(Sequence[str]):
    """The ids of an export's contents or listeners, by row.

    A dictionary of ten million texts is a gigabyte in every process; here the texts stay where Arrow has mapped them,
    and an id is found among the rows in the order of their ids in some 24 steps.

    >>> ids = Ids.of(["c", "a", "b"])
    >>> ids[0], ids.row("b"), ids.get("x", -1), "a" in ids
    ('c', 2, -1, True)

    Args:
        texts: by row.
        order: rows, such that their ids ascend by code points.
    """

    def __init__(self, texts: pa.ChunkedArray, order: Integer[np.ndarray, " rows"]):
        self._texts = texts
        self._order = order

    @classmethod
    def of(cls, texts: pa.ChunkedArray | Sequence[str]) -> "Ids":
        """Those of a column, sorted here."""
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
        """The row of an id, `default` where there is none."""
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
        """The row of an id.

        Raises:
            KeyError: there is none.
        """
        found = self.get(value, -1)
        if found < 0:
            raise KeyError(value)
        return found

    def rows(self, values: Any) -> Integer[np.ndarray, " values"]:
        """The rows of many ids at once (an Arrow array or a list of texts); -1 where there is none, or null."""
        wanted = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values, pa.string())
        value_set = pc.SetLookupOptions(value_set=self._texts.combine_chunks())
        found = pc.call_function("index_in", [wanted.cast(self._texts.type)], value_set)
        return np.asarray(found.fill_null(-1)).astype(np.int64)

    def problem(self) -> str | None:
        """What keeps an id from being found, such as one that is there twice; null where all are well."""
        order = np.asarray(self._order)
        if len(order) != len(self) or not np.array_equal(np.sort(order), np.arange(len(self))):
            return "their order does not name every row once"
        ordered = self._texts.take(pa.array(order)).combine_chunks()
        if ordered.null_count:
            return "an id is null"
        before, after = ordered.slice(0, max(len(ordered) - 1, 0)), ordered.slice(1)
        is_ascending = pc.call_function("less", [before, after]).to_numpy(zero_copy_only=False)
        if is_ascending.all():
            return None
        place = int(np.argmin(is_ascending))
        return f"id {after[place].as_py()!r} is there twice, or out of order"


def order_of(texts: pa.ChunkedArray) -> Integer[np.ndarray, " rows"]:
    """Rows such that their texts ascend, as Arrow sorts them (by UTF-8's bytes, which is by code points); int64."""
    return (
        pc.call_function("array_sort_indices", [texts.combine_chunks()]).to_numpy(zero_copy_only=False).astype(np.int64)
    )
