"""Stretches of histories out of the memory-mapped store, padded into a batch, without a loop over events."""

import numpy as np
import torch
from jaxtyping import Int, Integer

from towers.batch import HistoryBatch, Packing
from towers.contract.events import REFUSALS
from towers.data.store import Store
from towers.features.events import UNKNOWN_ELAPSED, encode_events


class HistoryReader:
    """Reads events `[start, end)` of the store's flat columns.

    Args:
        store: the prepared store.
    """

    def __init__(self, store: Store):
        self._histories = store.histories
        self._user_codes = store.user_codes
        self._has_clock = store.has_clock
        self._is_listed = None if store.is_listed.all() else store.is_listed

    def places(self, start: Integer[np.ndarray, " batch"], end: Integer[np.ndarray, " batch"]) -> np.ndarray:
        """Returns the places of events in the flat columns, `[batch, length]`, int64; -1 in the padding on the
        right."""
        length = int((end - start).max(initial=0))
        places = start[:, None].astype(np.int64) + np.arange(length)
        return np.where(places < end[:, None], places, -1)

    def batch(
        self,
        places: Int[np.ndarray, "batch length"],
        user_rows: Integer[np.ndarray, " batch"],
        content_index: Int[np.ndarray, "batch length"],
    ) -> HistoryBatch:
        """Returns the events at `places`.

        Args:
            places: places of events, from the method `places`.
            user_rows: row of the listener of each history.
            content_index: rows of the matrix of content vectors that the batch is used with; -1 in the padding.
        """
        histories, padding = self._histories, places < 0
        at = np.maximum(places, 0)
        codes = encode_events(
            action=np.where(padding, 0, _at(histories.action, at)),
            elapsed_us=np.where(padding, UNKNOWN_ELAPSED, self._elapsed(at, user_rows)),
            played_fraction=np.where(padding, -1.0, _at(histories.played_fraction, at)),
            context=np.where(padding, 0, _at(histories.context, at)),
        )
        padding_mask = torch.from_numpy(padding)
        return HistoryBatch(
            content_index=torch.from_numpy(content_index),
            action=torch.from_numpy(codes.action),
            elapsed=torch.from_numpy(codes.elapsed),
            played=torch.from_numpy(codes.played),
            context=torch.from_numpy(codes.context),
            padding_mask=padding_mask,
            packing=Packing.of(padding_mask),
            user_codes=torch.from_numpy(self._user_codes[user_rows].astype(np.int64)),
        )

    def content_rows(self, places: Int[np.ndarray, "batch length"]) -> np.ndarray:
        """Returns the rows of the events' contents, `[batch, length]`, int64; -1 without content and in the padding."""
        return np.where(places < 0, -1, _at(self._histories.content_row, np.maximum(places, 0)).astype(np.int64))

    def target_weights(self, places: Int[np.ndarray, "batch length"], repeat_weight: float) -> np.ndarray:
        """Returns the weight of each event as a target, `[batch, length]`, float32.

        It is 1 for a listener's first positive event with a content, `repeat_weight` for a later one, and 0 for all
        other events and for withdrawn contents.
        """
        at = np.maximum(places, 0)
        weights = np.where(_at(self._histories.is_discovery, at), 1.0, repeat_weight)
        is_target = _at(self._histories.is_positive, at) & (places >= 0) & self._names_listed(places)
        return (weights * is_target).astype(np.float32)

    def is_rejected(self, places: Int[np.ndarray, "batch length"]) -> np.ndarray:
        """Returns, `[batch, length]`, whether an event is a skip or a dislike of a content that is still listed."""
        is_refused = np.isin(_at(self._histories.action, np.maximum(places, 0)), REFUSALS) & (places >= 0)
        return is_refused & self._names_listed(places)

    def _names_listed(self, places: Int[np.ndarray, "batch length"]) -> np.ndarray | bool:
        """Returns whether the content of each event may still be recommended; without meaning for events without
        content."""
        return True if self._is_listed is None else self._is_listed[self.content_rows(places)]

    def timestamps_us(self, places: Int[np.ndarray, " events"]) -> np.ndarray:
        """Returns the times of events, `[events]`, int64, in microseconds since 1970, UTC."""
        return _at(self._histories.timestamp_us, places)

    def _elapsed(self, at: np.ndarray, user_rows: np.ndarray) -> np.ndarray:
        if not self._has_clock:
            return np.full(at.shape, UNKNOWN_ELAPSED)
        times = self._histories.timestamp_us
        is_first = at == self._histories.offsets[user_rows][:, None]
        return np.where(is_first, UNKNOWN_ELAPSED, _at(times, at) - _at(times, np.maximum(at - 1, 0)))


def _at(column: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns the values at places; zeros where the column is empty, as no listener has an event."""
    return np.take(column, places) if len(column) else np.zeros(places.shape, column.dtype)
