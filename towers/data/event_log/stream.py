"""Reads new events from the database, sorted, in the same blocks of listeners as the log is written in."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from towers.data.event_log.block import LOG_COLUMNS, Arrivals

ORDER = ("user_row", "timestamp_us", "file", "file_row_number")
_NAMES = {"action": "action_code"}


class ArrivalStream:
    """Reads the table `arrivals` once, in order of listeners.

    Args:
        batches: the rows of the table, in the order of `ORDER`.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch]):
        self._batches = batches
        self._waiting: pa.RecordBatch | None = None

    def take(self, begin: int, end: int) -> Arrivals:
        """Returns the events of listeners `[begin, end)`; each call begins where the last one ended."""
        pieces = []
        while (batch := self._next()) is not None:
            place = int(np.searchsorted(_numpy(batch, "user_row"), end))
            pieces.append(batch.slice(0, place))
            if place < len(batch):
                self._waiting = batch.slice(place)
                break
        return _arrivals([piece for piece in pieces if len(piece)], begin)

    def _next(self) -> pa.RecordBatch | None:
        waiting, self._waiting = self._waiting, None
        return waiting if waiting is not None else next(self._batches, None)


def _arrivals(pieces: list[pa.RecordBatch], begin: int) -> Arrivals:
    def column(name: str, dtype: type[np.generic]) -> np.ndarray:
        found = [_numpy(piece, name) for piece in pieces]
        return np.concatenate([np.zeros(0, dtype), *found]).astype(dtype, copy=False)

    return Arrivals(
        user=column("user_row", np.int32) - np.int32(begin),
        columns={
            name: column(_NAMES.get(name, name), dtype) for name, dtype in LOG_COLUMNS.items() if name != "session"
        },
        session_key=column("session_key", np.uint64),
        file=column("file", np.int32),
        file_row=column("file_row_number", np.int64),
    )


def _numpy(batch: pa.RecordBatch, name: str) -> np.ndarray:
    return batch.column(name).to_numpy(zero_copy_only=False)
