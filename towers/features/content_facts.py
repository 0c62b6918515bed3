"""Facts about contents that do not depend on the listener: their artists and their recent popularity."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int, Integer

from towers.features.ragged import Ragged

RECENT_DAYS = 14
"""Length in days of the period over which recent popularity is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentFacts:
    """Artists and recent popularity of each content, by content row.

    Args:
        artists: codes of each content's artists (`artist_codes`); an empty list where they are unknown.
        recent_positives: `[contents]`, number of positive events of all listeners in the last `RECENT_DAYS`, or in
            their whole histories if events have no timestamps.
    """

    artists: Ragged
    recent_positives: Int[np.ndarray, " contents"]

    def artist_plays(
        self, chosen: Integer[np.ndarray, " chosen"], rows: Integer[np.ndarray, " rows"]
    ) -> Float[np.ndarray, " rows"]:
        """Counts how often a listener chose contents of the artists of each of `rows`.

        Args:
            chosen: content rows that the listener chose, repeats included.
            rows: content rows to count for.
        """
        theirs = self.artists.take(rows)
        plays = np.bincount(self.artists.take(chosen).values, minlength=int(theirs.values.max(initial=-1)) + 1)
        return np.bincount(theirs.list_of_value, plays[theirs.values], minlength=len(rows)).astype(np.float64)


def artist_codes(artist_ids: pa.ChunkedArray) -> Ragged:
    """Returns the codes of each content's artists, numbered from 0; an empty list where they are unknown.

    Args:
        artist_ids: lists of artist ids, as text; a list or an id may be null.
    """
    lists = artist_ids.combine_chunks()
    assert isinstance(lists, pa.Array)
    parents = pc.call_function("list_parent_indices", [lists]).to_numpy()
    named = pc.call_function("list_flatten", [lists]).dictionary_encode()
    codes = named.indices.fill_null(-1).to_numpy()
    is_named = codes >= 0
    counts = np.bincount(parents[is_named], minlength=len(lists))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Ragged(offsets, codes[is_named].astype(np.int64))
