"""Playlists of an export with their curators, creation times and members."""

from functools import cached_property

import numpy as np
import pyarrow as pa
from jaxtyping import Int, Shaped

from towers.features.ragged import Ragged


class Playlists:
    """All playlists, in the order of their content rows.

    Args:
        table: table with the columns of `PLAYLIST_COLUMNS`; may be memory-mapped.
    """

    def __init__(self, table: pa.Table):
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    @cached_property
    def content_row(self) -> Int[np.ndarray, " playlists"]:
        """Content row of each playlist, ascending."""
        return self._table["content_row"].to_numpy()

    @cached_property
    def curator(self) -> Shaped[np.ndarray, " playlists"]:
        """Type of each playlist's curator in the raw data, such as `editor` or `listener`; null where unknown."""
        return self._texts("curator")

    @cached_property
    def owner_id(self) -> Shaped[np.ndarray, " playlists"]:
        """Raw id of the listener who made each playlist; null where unknown."""
        return self._texts("owner_id")

    @cached_property
    def created(self) -> Shaped[np.ndarray, " playlists"]:
        """Creation time of each playlist, `datetime64[us]` in UTC; NaT where unknown."""
        return self._table["created"].cast(pa.timestamp("us")).to_numpy()

    @cached_property
    def members(self) -> Ragged:
        """Content rows of each playlist's members, in the playlist's order, repeats included."""
        lists = self._table["member_rows"].combine_chunks()
        lengths = lists.value_lengths().to_numpy()
        return Ragged(np.append(0, np.cumsum(lengths)).astype(np.int64), lists.flatten().to_numpy())

    def place(self, content_row: int) -> int:
        """Returns the index of the playlist with this content row; -1 if there is none."""
        place = int(np.searchsorted(self.content_row, content_row))
        return place if place < len(self) and self.content_row[place] == content_row else -1

    def _texts(self, name: str) -> Shaped[np.ndarray, " playlists"]:
        return self._table[name].to_numpy()
