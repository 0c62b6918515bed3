"""Text to small integers and back; what the vocabulary does not hold is code 0."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from towers.errors import UserError

UNKNOWN = 0


class Vocabulary:
    """Sorted, so that the same values always get the same codes: value `i` has code `i + 1`.

    >>> Vocabulary(["jazz", "folk", "jazz"]).encode(["folk", "jazz", "polka", None])
    array([1, 2, 0, 0], dtype=int32)
    """

    def __init__(self, values: Iterable[str]):
        self._values = np.array(sorted(set(values)), dtype=np.str_)

    def __len__(self) -> int:
        """The number of codes, the unknown one included."""
        return len(self._values) + 1

    def encode(self, texts: Sequence[str | None] | np.ndarray) -> Int[np.ndarray, " texts"]:
        """Codes, int32; null and what is not in the vocabulary become 0."""
        if not len(self._values):
            return np.zeros(len(texts), dtype=np.int32)
        known = np.array(["" if text is None else text for text in texts], dtype=np.str_)
        is_null = np.fromiter((text is None for text in texts), dtype=bool, count=len(texts))
        places = np.searchsorted(self._values, known).clip(max=len(self._values) - 1)
        found = (self._values[places] == known) & ~is_null
        return np.where(found, places + 1, UNKNOWN).astype(np.int32)

    def write(self, path: Path) -> None:
        """Parquet with the columns `value` and `code`."""
        codes = np.arange(1, len(self), dtype=np.int32)
        pq.write_table(pa.table({"value": pa.array(self._values.tolist(), pa.string()), "code": codes}), path)

    @classmethod
    def read(cls, path: Path) -> "Vocabulary":
        """What `write` wrote.

        Raises:
            UserError: the file is missing or not Parquet.
        """
        try:
            return cls(pq.read_table(path)["value"].to_pylist())
        except (OSError, pa.ArrowInvalid) as error:
            raise UserError(f"{path}: not a readable vocabulary ({error})") from error
