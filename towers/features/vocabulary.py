"""Mapping of text to small integers and back; text outside the vocabulary has code 0."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from towers.errors import UserError

UNKNOWN = 0


class Vocabulary:
    """Codes of a set of texts; value `i` in sorted order has code `i + 1`, so equal sets get equal codes.

    Memory grows with the total length of the texts, so that one long value does not widen all others.

    >>> Vocabulary(["jazz", "folk", "jazz"]).encode(["folk", "jazz", "polka", None])
    array([1, 2, 0, 0], dtype=int32)
    """

    def __init__(self, values: Iterable[str]):
        self._code_of = {value: code for code, value in enumerate(sorted(set(values)), start=UNKNOWN + 1)}

    @property
    def values(self) -> list[str]:
        """Values in the order of their codes, from code 1 on."""
        return list(self._code_of)

    def __len__(self) -> int:
        """Returns the number of codes, including the one for unknown text."""
        return len(self._code_of) + 1

    def encode(self, texts: Sequence[str | None] | np.ndarray) -> Int[np.ndarray, " texts"]:
        """Returns codes, int32; null and text outside the vocabulary become 0."""
        codes = (UNKNOWN if text is None else self._code_of.get(text, UNKNOWN) for text in texts)
        return np.fromiter(codes, dtype=np.int32, count=len(texts))

    def write(self, path: Path) -> None:
        """Writes a Parquet file with the columns `value` and `code`."""
        codes = np.arange(1, len(self), dtype=np.int32)
        pq.write_table(pa.table({"value": pa.array(self.values, pa.string()), "code": codes}), path)

    @classmethod
    def read(cls, path: Path) -> "Vocabulary":
        """Reads a file of `write`.

        Raises:
            UserError: the file is missing or not Parquet.
        """
        try:
            return cls(pq.read_table(path)["value"].to_pylist())
        except (OSError, pa.ArrowInvalid) as error:
            raise UserError(f"{path}: not a readable vocabulary ({error})") from error
