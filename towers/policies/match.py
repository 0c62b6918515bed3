"""Similarity of two tastes, in per cent: by what was played, by its styles, and by vectors in the space."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, Integer

from towers.retrieval.export import Export
from towers.retrieval.styles import Styles

WEIGHTS = {"contents": 0.7, "styles": 0.2, "vector": 0.1}
"""Weights of the three parts, where both tastes have all of them."""
SAMPLE, PAIRS = 500, 2_000
"""Numbers of sampled listeners and of random pairs of them that give the scale in per cent."""
_LEVELS = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Likes:
    """A taste.

    Args:
        rows: rows of the contents that were chosen, sorted, all different.
        amounts: `[rows]`, square roots of how often each was chosen, as a unit vector.
        styles: square roots of the shares of styles in the choices, as a unit vector; zeros where none is known.
        vector: unit vector in the export's space.
    """

    rows: Int[np.ndarray, " rows"]
    amounts: Float[np.ndarray, " rows"]
    styles: Float[np.ndarray, " styles"]
    vector: Float[np.ndarray, " dim"]


class Matches:
    """Similarity of tastes, relative to the listeners of an export.

    Args:
        export: export of the contents that are chosen.
        styles: styles of its contents; null: the export's own, and where it has none, styles do not count.
    """

    def __init__(self, export: Export, styles: Styles | None = None):
        self._export = export
        self._styles = export.styles if styles is None else styles

    def of(self, chosen: Integer[np.ndarray, " chosen"], vector: Float[np.ndarray, " dim"]) -> Likes:
        """Returns a taste from the rows of choices, with repeats, and a vector; either may be empty or zero."""
        rows, counts = np.unique(np.asarray(chosen, np.int64), return_counts=True)
        styles = np.zeros(0) if self._styles is None else counts.astype(np.float64) @ self._styles.of(rows)
        return Likes(
            rows=rows,
            amounts=_unit(np.sqrt(counts)),
            styles=_unit(np.sqrt(styles)),
            vector=_unit(np.asarray(vector, np.float64)),
        )

    def match(self, one: Likes, other: Likes) -> float:
        """Returns the similarity of two tastes in per cent: the percentage of random pairs of listeners that are less
        similar.

        100 is the same taste. It rises with `likeness` and depends on nothing else.
        """
        return float(100 * np.interp(likeness(one, other), self._likeness_of_random, _LEVELS))

    def mean_match(self, likes: Sequence[Likes]) -> float | None:
        """Returns the mean over all pairs of tastes with choices; null where fewer than two have any."""
        pairs = itertools.combinations([one for one in likes if len(one.rows)], 2)
        matches = [self.match(one, other) for one, other in pairs]
        return float(np.mean(matches)) if matches else None

    @cached_property
    def _likeness_of_random(self) -> Float[np.ndarray, " levels"]:
        """Quantiles of random pairs' likeness at `_LEVELS`, ascending; 1 at the last."""
        random = np.random.default_rng(0)
        num_users = len(self._export.user_ids)
        sampled = random.choice(num_users, min(SAMPLE, num_users), replace=False).tolist()
        chosen = ((user, self._export.chosen(user)) for user in sampled)
        likes = [self.of(rows, self._export.user_vectors[user]) for user, rows in chosen if len(rows)]
        if len(likes) < 2:
            return _LEVELS
        first, shift = random.integers(len(likes), size=PAIRS), random.integers(1, len(likes), size=PAIRS)
        pairs = zip(first.tolist(), ((first + shift) % len(likes)).tolist(), strict=True)
        found = np.quantile([likeness(likes[one], likes[other]) for one, other in pairs], _LEVELS)
        found[-1] = 1.0
        return found


def likeness(one: Likes, other: Likes) -> float:
    """Returns a weighted mean of three cosines, at most 1: of choices, of their styles, and of vectors.

    The first two are of square roots of shares, so that frequent choices do not dominate (Bhattacharyya's coefficient).
    Parts that either taste lacks do not count.
    """
    _, in_one, in_other = np.intersect1d(one.rows, other.rows, assume_unique=True, return_indices=True)
    parts = {
        "contents": (one.amounts, other.amounts, float(one.amounts[in_one] @ other.amounts[in_other])),
        "styles": (one.styles, other.styles, float(one.styles @ other.styles)),
        "vector": (one.vector, other.vector, float(one.vector @ other.vector)),
    }
    known = {name: cosine for name, (mine, theirs, cosine) in parts.items() if mine.any() and theirs.any()}
    weight = sum(WEIGHTS[name] for name in known)
    return min(sum(WEIGHTS[name] * cosine for name, cosine in known.items()) / weight, 1.0) if known else 0.0


def _unit(values: np.ndarray) -> np.ndarray:
    return values / max(float(np.linalg.norm(values)), 1e-12)
