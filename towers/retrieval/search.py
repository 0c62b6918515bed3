"""Contents of an export near a vector: exactly, or through its index."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.retrieval.export import Export
from towers.retrieval.query import Query, Standing, allowed

EXACT_BELOW = 20_000
"""Where fewer contents are allowed, every inner product is computed: quicker than an index, and none is missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Contents and their affinity, best first.

    Args:
        rows: `[found]`, of the contents table.
        scores: `[found]`, inner products.
    """

    rows: Int[np.ndarray, " found"]
    scores: Float[np.ndarray, " found"]


def recommend(export: Export, vector: Float[np.ndarray, " dim"], query: Query, standing: Standing | None) -> Found:
    """The contents of the highest affinity that may come.

    Args:
        export: whose contents are asked for.
        vector: of who asks, in the export's space.
        query: what is asked for; where it names candidates, all of them are looked at.
        standing: of who asks, in rows of the export; null where nothing is known of them.
    """
    return _nearest(export, vector, query, allowed(export, query, standing))


def similar(export: Export, content_row: int, query: Query) -> Found:
    """The contents nearest to one of them, which is not among them; the query's kinds count, not its own."""
    others = allowed(export, query, None)
    others[content_row] = False
    return _nearest(export, export.vectors[content_row], query, others)


def _nearest(
    export: Export, vector: Float[np.ndarray, " dim"], query: Query, among: Bool[np.ndarray, " contents"]
) -> Found:
    """Exact where candidates are given or few may come: an inverted file would look for them in a few cells only."""
    num_allowed = int(np.count_nonzero(among))
    is_exact = query.among is not None or num_allowed < EXACT_BELOW
    index = export.exact_index if is_exact else export.index
    # An answer is as wide as `k`: more than there are would be padding alone, and memory by what was asked for.
    rows, scores = index.search(vector[None], max(min(query.k, num_allowed), 1), among)
    is_found = rows[0] >= 0
    return Found(rows=rows[0][is_found], scores=scores[0][is_found])
