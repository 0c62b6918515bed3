"""A view of a store without holes, for code that knows nothing of rows that last, such as serving."""

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from towers.data.histories import PLACES, Histories, Until
from towers.data.store import Store
from towers.features.ragged import Ragged
from towers.features.vocabulary import Vocabulary


def compacted(store: Store) -> Store:
    """Returns the store without rows whose content or listener is gone; the store itself where there are none.

    Other rows keep their order. Content rows of events are computed anew, in 4 bytes an event; other columns of events
    stay memory-mapped.
    """
    return store if store.has_content.all() and store.has_user.all() else CompactStore(store)


class CompactStore(Store):
    """A store without the holes of another, its rows numbered anew.

    Args:
        whole: the store with holes; no event has a hole as its listener or content.
    """

    def __init__(self, whole: Store):
        self.folder, self.manifest, self.as_of_us = whole.folder, whole.manifest, whole.as_of_us
        self._whole = whole
        self._content_rows, self._user_rows = np.flatnonzero(whole.has_content), np.flatnonzero(whole.has_user)

    @cached_property
    def _new_row(self) -> Int[np.ndarray, " contents_plus_one"]:
        """New row of each row of the whole store; -1 for a hole, and a last entry of -1 for events without a
        content."""
        found = np.full(len(self._whole.has_content) + 1, -1, np.int32)
        found[self._content_rows] = np.arange(len(self._content_rows))
        return found

    @cached_property
    def contents(self) -> pa.Table:
        """See `Store.contents`."""
        return _taken(self._whole.contents, self._content_rows)

    @cached_property
    def users(self) -> pa.Table:
        """See `Store.users`."""
        return _taken(self._whole.users, self._user_rows)

    @cached_property
    def histories(self) -> Histories:
        """See `Store.histories`."""
        whole = self._whole.histories
        columns: dict[str, Any] = {
            name: np.asarray(getattr(whole, name))[self._user_rows] for name in PLACES if name != "offsets"
        }
        columns["offsets"] = np.asarray(whole.offsets)[np.append(self._user_rows, -1)]
        if not self._whole.has_content.all():
            columns["content_row"] = self._new_row[np.asarray(whole.content_row)]
        return replace(whole, **columns)

    @cached_property
    def content_codes(self) -> dict[str, Ragged]:
        """See `Store.content_codes`."""
        return {part: codes.take(self._content_rows) for part, codes in self._whole.content_codes.items()}

    @cached_property
    def user_codes(self) -> np.ndarray:
        """See `Store.user_codes`."""
        return self._whole.user_codes[self._user_rows]

    def vocabulary(self, name: str) -> Vocabulary:
        """See `Store.vocabulary`."""
        return self._whole.vocabulary(name)

    @cached_property
    def members(self) -> Ragged:
        """See `Store.members`."""
        members = self._whole.members.take(self._content_rows)
        return Ragged(members.offsets, self._new_row[members.values])

    @cached_property
    def playlists(self) -> pa.Table:
        """See `Store.playlists`."""
        table = self._whole.playlists
        lists = table["member_rows"].combine_chunks()
        offsets = np.append(0, np.cumsum(lists.value_lengths())).astype(np.int64)
        members = Ragged(offsets, self._new_row[lists.flatten().to_numpy()])
        members = members.where(members.values >= 0)
        made = {
            "content_row": pa.array(self._new_row[table["content_row"].to_numpy()]),
            "member_rows": pa.ListArray.from_arrays(pa.array(members.offsets, pa.int32()), pa.array(members.values)),
        }
        return pa.table([made.get(name, table[name]) for name in table.column_names], schema=table.schema)

    @cached_property
    def audio_rows(self) -> np.ndarray:
        """See `Store.audio_rows`."""
        return self._whole.audio_rows[self._content_rows]

    @cached_property
    def train_positives(self) -> np.ndarray:
        """See `Store.train_positives`."""
        return self._whole.train_positives[self._content_rows]

    @cached_property
    def trained_rows(self) -> np.ndarray:
        """See `Store.trained_rows`."""
        return self._whole.trained_rows[self._content_rows]

    def trained_until(self, until: Until) -> Store:
        """See `Store.trained_until`."""
        return compacted(self._whole.trained_until(until))

    def until(self, as_of_us: int) -> Store:
        """See `Store.until`."""
        return compacted(self._whole.until(as_of_us))

    def cut(self, as_of_us: int) -> Store:
        """See `Store.cut`."""
        return compacted(self._whole.cut(as_of_us))


def _taken(table: pa.Table, rows: Int[np.ndarray, " rows"]) -> pa.Table:
    return table if len(rows) == len(table) else table.take(pa.array(rows))
