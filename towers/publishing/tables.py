"""Vectors and tables of an export, written block by block: memory does not grow with their rows."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from jaxtyping import Float, Shaped

from towers.retrieval.files import mapped_array
from towers.retrieval.ids import order_of

BLOCK = 65_536
"""Number of rows that are held at once."""


class VectorFile:
    """A NumPy file of vectors, written from its first row to its last.

    Args:
        file: empty file, open for writing.
        rows: number of rows that will be written.
        dim: dimension of the vectors.
        dtype: float32 or float16.
    """

    def __init__(self, file: BinaryIO, rows: int, dim: int, dtype: Any = np.float32):
        self._dtype = np.dtype(dtype)
        self._rows, self._left = rows, rows
        self._file = file
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (rows, dim)}
        np.lib.format.write_array_header_1_0(file, header)

    def append(self, vectors: Float[np.ndarray, "block dim"]) -> None:
        """Writes the next rows."""
        self._left -= len(vectors)
        np.ascontiguousarray(vectors, self._dtype).tofile(self._file)

    def check(self) -> None:
        """Raises `RuntimeError` where rows are missing or too many."""
        if self._left:
            raise RuntimeError(f"{self._file.name}: {self._rows - self._left} vectors of {self._rows} were written")


@contextmanager
def vector_file(path: Path, rows: int, dim: int, dtype: Any = np.float32) -> Iterator[VectorFile]:
    """Opens a `VectorFile`, whose rows are counted when the block ends; it is closed in any case."""
    with path.open("wb") as opened:
        file = VectorFile(opened, rows, dim, dtype)
        yield file
        file.check()


def blocks_of(array: Shaped[np.ndarray, "rows ..."], rows: int = BLOCK) -> Iterator[np.ndarray]:
    """Returns an array in blocks of rows, in order."""
    return (array[first : first + rows] for first in range(0, len(array), rows))


def write_vectors(path: Path, blocks: Iterable[np.ndarray], rows: int, dim: int, dtype: Any = np.float32) -> None:
    """Writes a NumPy file of vectors that come in blocks."""
    with vector_file(path, rows, dim, dtype) as file:
        for block in blocks:
            file.append(block)


def write_mapped(path: Path, table: pa.Table, metadata: dict[str, str]) -> None:
    """Writes Arrow's file format, uncompressed, to be memory-mapped; `metadata` is kept in the schema."""
    table = table.replace_schema_metadata(metadata)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1 << 20)


def write_order(path: Path, ids: pa.ChunkedArray) -> None:
    """Writes the rows in the order of their ids."""
    np.save(path, order_of(ids))


def write_embeddings(
    folder: Path,
    table: pa.Table,
    vectors: Path,
    metadata: dict[str, str],
    rows_per_part: int,
    threads: Executor,
) -> list[Future[None]]:
    """Writes vectors as Parquet for other tools: `part-00000.parquet` and so on, independently and in parallel.

    Args:
        folder: folder of the parts.
        table: columns beside the vectors, by row.
        vectors: NumPy file with as many vectors, already written.
        metadata: metadata of every part's schema.
        rows_per_part: number of rows of each part, except the last.
        threads: executor of the writing threads.

    Returns:
        One future a part.
    """
    folder.mkdir()
    firsts = range(0, max(len(table), 1), rows_per_part)
    return [
        threads.submit(
            _write_part,
            folder / f"part-{number:05d}.parquet", table.slice(first, rows_per_part), vectors, first, metadata,
        )
        for number, first in enumerate(firsts)
    ]  # fmt: skip


def _write_part(path: Path, table: pa.Table, vectors: Path, first: int, metadata: dict[str, str]) -> None:
    matrix = mapped_array(vectors)[first : first + len(table)]
    field = pa.field("embedding", pa.list_(pa.float32(), matrix.shape[1]))
    schema = pa.schema([*table.schema, field], metadata)
    # Vectors do not compress; the other columns do, by dictionaries.
    columns = table.schema.names
    with pq.ParquetWriter(path, schema, use_dictionary=columns, compression="zstd") as writer:
        for start in range(0, len(table), BLOCK):
            part = table.slice(start, BLOCK)
            flat = pa.array(np.asarray(matrix[start : start + BLOCK]).reshape(-1), pa.float32())
            embedding = pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])
            writer.write_table(part.append_column(field, embedding).replace_schema_metadata(metadata))
