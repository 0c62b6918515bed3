"""Contents that a list for a listener may be chosen from, the same for every kind of list."""

import numpy as np
from jaxtyping import Int

from towers.policies.listener import Listener
from towers.retrieval.query import Query, allowed
from towers.retrieval.search import EXACT_BELOW

PER_TASTE = 300
"""Number of nearest contents that each taste contributes, in a large catalogue."""
LATELY = 50
"""Number of the listener's latest choices whose neighbours by co-listening are added."""
MOST_PLAYED = 200
"""Number of contents most played lately by all listeners that are added."""


def candidates(listener: Listener, query: Query) -> Int[np.ndarray, " candidates"]:
    """Returns the rows of allowed contents that are worth scoring, sorted.

    Where few contents are allowed, or the query names some, these are all of them. Otherwise several sources
    contribute: the contents nearest to the listener's vector and to each of their tastes, neighbours by co-listening of
    what they chose lately, what all listeners play most, and, where the query allows it, everything they have heard.
    """
    among = allowed(listener.export, query, listener.standing)
    if query.among is not None or np.count_nonzero(among) < EXACT_BELOW:
        return np.flatnonzero(among)
    export = listener.export
    # Unfiltered: contents that are not allowed are dropped below; a filter inside the index would cost more than it
    # saves.
    queries = np.vstack([listener.vector, listener.tastes.vectors])
    passing = export.catalogue.passing(query.kind, True, None)
    nearest, _ = export.index.search(queries, PER_TASTE, passing)
    parts = [nearest.ravel(), export.most_played[:MOST_PLAYED]]
    if export.co_listening is not None:
        parts.append(export.co_listening.rows[listener.chosen[-LATELY:]].ravel())
    if query.may_be_heard:
        parts.append(listener.standing.heard)
    rows = np.unique(np.concatenate(parts))
    rows = rows[rows >= 0]
    return rows[among[rows]]
