"""What is known of contents whoever asks: by whom they are, and how much they were played lately."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int, Integer

from towers.features.ragged import Ragged

RECENT_DAYS = 14
"""Days that count as lately."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentFacts:
    """Facts by content row.

    Args:
        artists: codes of each content's artists (`artist_codes`); empty where they are not known.
        recent_positives: `[contents]`, positive events of all listeners in the last `RECENT_DAYS`, or in all of their
            histories where there is no clock.
    """

    artists: Ragged
    recent_positives: Int[np.ndarray, " contents"]

    def artist_plays(
        self, chosen: Integer[np.ndarray, " chosen"], rows: Integer[np.ndarray, " rows"]
    ) -> Float[np.ndarray, " rows"]:
        """How often a listener chose contents of the artists of each of `rows`.

        Args:
            chosen: rows of what they chose, repeats included.
            rows: of the contents that are asked for.
        """
        theirs = self.artists.take(rows)
        plays = np.bincount(self.artists.take(chosen).values, minlength=int(theirs.values.max(initial=-1)) + 1)
        return np.bincount(theirs.list_of_value, plays[theirs.values], minlength=len(rows)).astype(np.float64)


def artist_codes(artist_ids: pa.ChunkedArray) -> Ragged:
    """Per content the codes of its artists, numbered from 0; empty where they are not known.

    Args:
        artist_ids: lists of text; a list or an id may be null.
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
