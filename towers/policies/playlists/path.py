"""A path between two pieces: other pieces in between, in steps of about equal length."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from towers.errors import UserError
from towers.policies.playlist import Playlist, Reason
from towers.retrieval.export import Export
from towers.retrieval.query import Query, allowed
from towers.retrieval.search import EXACT_BELOW

MAX_STEPS = 200
OPPOSITE = -1 + 1e-6
"""Cosine below which two vectors have no unique shortest arc between them."""


def path(export: Export, start: int, end: int, *, steps: int = 10, query: Query | None = None) -> Playlist:
    """Returns the path from one content to another: both of them, and `steps - 1` pieces in between.

    Points are spread evenly over the great circle between the two vectors. Each is assigned its own piece, such that
    the sum of squared distances between points and pieces is least (an exact assignment). Scores are the cosines of the
    pieces with their points.

    Args:
        export: export of the contents.
        start: row of the first piece.
        end: row of the last piece, a different one.
        steps: number of moves, 1 to 200.
        query: which contents are allowed in between (its `k` is ignored); null: all that can be played.

    Raises:
        UserError: `steps` is out of range, or both ends are one content or opposite to each other.
    """
    if not 1 <= steps <= MAX_STEPS:
        raise UserError(f"steps={steps}: must be 1 to {MAX_STEPS}")
    if start == end:
        raise UserError(f"a path from {export.content_ids[start]} to itself has no steps; give another end")
    ends = np.array([start, end])
    query = query or Query()
    among = allowed(export, replace(query, deny=np.concatenate([query.deny, ends])), None)
    points = arc(export.vectors[start], export.vectors[end], np.arange(1, steps) / steps)
    if not len(points):
        between, cosines = np.zeros(0, np.int64), np.zeros(0)
    else:
        between, cosines = _nearest_each(export, points, among)
    rows = np.concatenate([[start], between, [end]]).astype(np.int64)
    missing = steps - 1 - len(between)
    remark = f"only {len(between)} pieces are allowed in between, {missing} fewer than asked for" if missing else ""
    on_the_way = [Reason(kind="after", because=int(row)) for row in rows[:-1]]
    reasons = (Reason(kind="begins"), *on_the_way)
    return Playlist(rows=rows, scores=np.array([1.0, *cosines, 1.0]), reasons=reasons, remark=remark)


def arc(
    start: Float[np.ndarray, " dim"], end: Float[np.ndarray, " dim"], shares: Float[np.ndarray, " points"]
) -> Float[np.ndarray, "points dim"]:
    """Returns points on the great circle between two unit vectors (spherical linear interpolation, Shoemake 1985).

    Args:
        start: vector at share 0.
        end: vector at share 1.
        shares: shares of the way.

    Raises:
        UserError: the two are opposite, so that the shortest arc is not unique.
    """
    start, end = start.astype(np.float64), end.astype(np.float64)
    cosine = float(start @ end)
    if cosine < OPPOSITE:
        raise UserError("the two ends are opposite to each other, so no way between them is the shortest")
    angle = np.arccos(min(cosine, 1.0))
    if angle < 1e-6:  # so close that the arc is straight, and its sines have no digits left
        return start + shares[:, None] * (end - start)
    weights = np.sin(np.stack([1 - shares, shares], axis=1) * angle) / np.sin(angle)
    return weights @ np.stack([start, end])


def _nearest_each(
    export: Export, points: Float[np.ndarray, "points dim"], among: np.ndarray
) -> tuple[Int[np.ndarray, " found"], Float[np.ndarray, " found"]]:
    """Returns a content for each point, all different, and their cosines, in the order of the points."""
    # With as many candidates a point as there are points, none that the best assignment needs is missing.
    index = export.exact_index if np.count_nonzero(among) < EXACT_BELOW else export.index
    found, _ = index.search(points.astype(np.float32), len(points), among)
    rows = np.unique(found[found >= 0])
    cosines = points @ export.vectors[rows].T.astype(np.float64)
    # Between unit vectors the squared distance is 2 - 2 cosines.
    at, which = linear_sum_assignment(cosines, maximize=True)
    return rows[which], cosines[at, which]
