"""The contents that a list for somebody may be chosen from: the same for every kind of list."""

import numpy as np
from jaxtyping import Int

from towers.policies.listener import Listener
from towers.retrieval.query import Query, allowed
from towers.retrieval.search import EXACT_BELOW

PER_TASTE = 300
"""Nearest contents that each taste brings, of a large catalogue."""
LATELY = 50
"""Contents that the listener chose last, whose neighbours by co-listening come too."""
MOST_PLAYED = 200
"""Contents that everybody plays of late, which come too."""


def candidates(listener: Listener, query: Query) -> Int[np.ndarray, " candidates"]:
    """Rows of contents that may come and are worth a look, sorted.

    Where few contents may come, or the query names some, these are all of them. Of more, several questions each bring
    their own: the listener's vector and each of their tastes bring the nearest contents, what they chose lately brings
    its neighbours by co-listening, and everybody what is played most; with all that they have heard, where it may come.
    """
    among = allowed(listener.export, query, listener.standing)
    if query.among is not None or np.count_nonzero(among) < EXACT_BELOW:
        return np.flatnonzero(among)
    export = listener.export
    # Unfiltered: what may not come is left out below, and a filter inside the index would cost more than it saves.
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
