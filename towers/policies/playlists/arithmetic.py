"""Adding and subtracting contents: what is near to some and far from others."""

from dataclasses import replace

import numpy as np
from jaxtyping import Int

from towers.errors import UserError
from towers.policies.playlist import Playlist, Reason
from towers.retrieval.export import Export
from towers.retrieval.query import Query
from towers.retrieval.search import recommend

NOTHING_LEFT = 1e-6
"""Length below which a sum of unit vectors has no direction."""


def add_and_subtract(
    export: Export,
    plus: Int[np.ndarray, " plus"],
    minus: Int[np.ndarray, " minus"],
    *,
    query: Query | None = None,
) -> Playlist:
    """Returns the contents nearest to the sum of some vectors less the sum of others, without these contents.

    Args:
        export: export of the contents.
        plus: rows to add, of pieces, artists or playlists; a row that is given twice counts twice.
        minus: rows to subtract.
        query: which contents are allowed, and how many; null: 20 pieces.

    Raises:
        UserError: there is nothing to add or to subtract, or the sum is zero.
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
    remark = "" if len(found.rows) == query.k else f"no more than {len(found.rows)} contents are allowed"
    return Playlist(rows=found.rows, scores=found.scores, reasons=_reasons(export, found.rows, plus), remark=remark)


def _reasons(export: Export, rows: np.ndarray, plus: np.ndarray) -> tuple[Reason, ...]:
    """Returns the nearest of the added contents as reasons; none where all are subtracted."""
    if not len(plus):
        return ()
    nearest = (export.vectors[rows] @ export.vectors[plus].T).argmax(axis=1)
    return tuple(Reason(kind="near", because=row) for row in plus[nearest].tolist())
