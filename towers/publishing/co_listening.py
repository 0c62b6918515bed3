"""Neighbours by co-listening: contents, and artists, that the listeners of an export choose together."""

from math import ceil

import numpy as np
from scipy import sparse

from towers.contract import schema
from towers.evaluation.baselines.heard import cosine_neighbours, heard_matrix
from towers.features.ragged import Ragged
from towers.retrieval.co_listening import Neighbours
from towers.retrieval.export import Export

NEIGHBOURS = 50
DAMPING, ARTIST_DAMPING = 2.0, 10.0
"""Number of common listeners at which half of a pair's cosine counts: with few, the best pairs are due to chance. The
values are the best in `benchmarks/export/derived.py` over catalogues with many and with few listeners."""
LATEST = 1_000
"""Number of a listener's latest positive events that are counted; the cost of a listener grows with its square."""
MOST_PAIRS = 1e10
"""Largest number of pairs of events of a listener, over all listeners, some 20 minutes on a core. Where there are more,
only every second listener counts, or every third, and so on."""


def co_listening(
    export: Export,
    chosen: Ragged,
    *,
    neighbours: int = NEIGHBOURS,
    damping: float = DAMPING,
    artist_damping: float = ARTIST_DAMPING,
) -> Neighbours:
    """Returns the neighbours of all contents by who chose them.

    Playable contents are compared by the cosine of who chose them at all, artists by the cosine of how often each
    listener chose something of theirs (log of 1 + n). Both are damped (`cosine_neighbours`).

    Args:
        export: export of the contents.
        chosen: rows of the contents that each listener chose, repeats included (`chosen_lists`).
        neighbours: largest number of neighbours of a content.
        damping: number of common listeners at which half of a cosine counts.
        artist_damping: the same number for artists.
    """
    size = len(export.contents)
    step = max(1, ceil(float((chosen.lengths.astype(np.float64) ** 2).sum()) / MOST_PAIRS))
    chosen = chosen.take(np.arange(0, len(chosen), step))
    found = Neighbours(rows=np.full((size, neighbours), -1, np.int32), weights=np.zeros((size, neighbours), np.float32))
    playable = chosen.where(export.catalogue.of_kinds(schema.PLAYABLE_KINDS)[chosen.values])
    _add(found, cosine_neighbours(heard_matrix(playable, size), size, neighbours, damping))
    _add(found, cosine_neighbours(plays_by_artist(export, chosen), size, neighbours, artist_damping))
    return found


def _add(found: Neighbours, near: sparse.csr_array) -> None:
    lists = Ragged(near.indptr.astype(np.int64), near.indices)
    place = np.arange(len(lists.values)) - np.repeat(lists.offsets[:-1], lists.lengths)
    found.rows[lists.list_of_value, place] = near.indices
    found.weights[lists.list_of_value, place] = near.data


def chosen_lists(export: Export) -> Ragged:
    """Returns the rows of the contents that each listener chose, the `LATEST` of each, in time order with repeats."""
    chosen = export.all_chosen
    from_end = np.repeat(chosen.offsets[1:], chosen.lengths) - np.arange(len(chosen.values))
    return chosen.where(from_end <= LATEST)


def plays_by_artist(export: Export, chosen: Ragged) -> sparse.csr_array:
    """Returns `[listeners, contents]`: in an artist's column the log of 1 + how often each listener chose the artist or
    something of theirs."""
    artists = export.artist_rows
    theirs = artists.take(chosen.values)
    listeners = np.repeat(chosen.list_of_value, theirs.lengths)
    shape = (len(chosen), len(export.contents))
    plays = sparse.coo_array((np.ones(len(listeners), np.float32), (listeners, theirs.values)), shape).tocsr()
    plays.sum_duplicates()
    plays.data = np.log1p(plays.data)
    return sparse.csr_array(plays)
