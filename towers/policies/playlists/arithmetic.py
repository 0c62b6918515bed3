"""Add and subtract: what is near to some contents and far from others."""

from dataclasses import replace

import numpy as np
from jaxtyping import Int

from towers.errors import UserError
from towers.policies.playlist import Playlist, Reason
from towers.retrieval.export import Export
from towers.retrieval.query import Query
from towers.retrieval.search import recommend

NOTHING_LEFT = 1e-6
"""A sum of unit vectors that is shorter has no direction."""


def add_and_subtract(
    export: Export,
    plus: Int[np.ndarray, " plus"],
    minus: Int[np.ndarray, " minus"],
    *,
    query: Query | None = None,
) -> Playlist:
    """The contents nearest to the sum of some vectors less the sum of others; none of these is among them.

    Args:
        export: whose contents they are.
        plus: rows that are added, of pieces, artists or playlists; one that is given twice counts twice.
        minus: rows that are subtracted.
        query: what may come, and how much; null: 20 pieces.

    Raises:
        UserError: nothing to add or to subtract, or the sum is nothing.
    """
    query = query or Query()
    inputs = np.concatenate([plus, minus])
    if not len(inputs):
        raise UserError("plus, minus: give at least one content to add or to subtract")
    total = export.vectors[plus].sum(axis=0) - export.vectors[minus].sum(axis=0)
    length = float(np.linalg.norm(total))
    if length < NOTHING_LEFT:
        raise UserError("plus, minus: what is added and what is subtracted cancel each other out; give other contents")
    vector = (total / length).astype(np.float32)
    found = recommend(export, vector, replace(query, deny=np.concatenate([query.deny, inputs])), None)
    remark = "" if len(found.rows) == query.k else f"no more than {len(found.rows)} contents may come"
    return Playlist(rows=found.rows, scores=found.scores, reasons=_reasons(export, found.rows, plus), remark=remark)


def _reasons(export: Export, rows: np.ndarray, plus: np.ndarray) -> tuple[Reason, ...]:
    """The nearest of what was added; none where all was subtracted."""
    if not len(plus):
        return ()
    nearest = (export.vectors[rows] @ export.vectors[plus].T).argmax(axis=1)
    return tuple(Reason(kind="near", because=row) for row in plus[nearest].tolist())
