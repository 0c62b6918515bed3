"""Parts of the score of contents for a list; the part that raises a content most gives its reason.

All parts are on one scale, log odds, so that they can be added and compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from towers.policies.listener import Listener
from towers.policies.playlist import Reason
from towers.policies.reasons import OFTEN
from towers.retrieval.co_listening import Neighbours
from towers.retrieval.export import Export
from towers.retrieval.search import EXACT_BELOW

LOOKED_AT = 500
"""Number of contents nearest to each vector that are candidates, in a large catalogue."""
LOG_ODDS_OF_COSINE = 3.0
"""Log odds of an inner product of 1 with a listener, where the export has no model of the probability of a listen;
roughly what such models give contents that are new to their listener."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """A part of the candidates' scores.

    Args:
        values: `[candidates]`, log odds.
        kinds: `[candidates]`, kind of reason that this part gives for each; empty for none.
        because: `[candidates]`, row that the reason refers to; -1 for none.
    """

    values: Float[np.ndarray, " candidates"]
    kinds: Shaped[np.ndarray, " candidates"]
    because: Int[np.ndarray, " candidates"]

    @classmethod
    def of_closeness(cls, export: Export, rows: Int[np.ndarray, " candidates"], to: Int[np.ndarray, " given"],
                     weight: int | float) -> "Part":  # fmt: skip
        """Returns cosines with the mean of some contents, times `weight`; the reason is the nearest of them."""
        cosines = export.vectors[rows] @ export.vectors[to].T
        values = weight * (export.vectors[rows] @ mean_vector(export.vectors[to])).astype(np.float64)
        return cls(values=values, kinds=np.full(len(rows), "near"), because=to[cosines.argmax(axis=1)])

    @classmethod
    def of_co_listening(cls, near: Neighbours | None, rows: Int[np.ndarray, " candidates"],
                        to: Int[np.ndarray, " given"], weight: int | float) -> "Part":  # fmt: skip
        """Returns each candidate's mean weight among the neighbours of some contents, times `weight`; the reason is the
        one with the largest weight. Zeros without neighbours."""
        values, because = np.zeros(len(rows)), np.full(len(rows), -1, np.int64)
        if near is not None and len(to):
            places, whose, weights = near.among(to, rows)
            order = np.argsort(weights, kind="stable")
            because[places[order]] = to[whose[order]]  # of several, the last stays: it has the largest weight
            values = np.bincount(places[order], weights[order], minlength=len(rows)) * (weight / len(to))
        return cls(values=values, kinds=np.where(because >= 0, "listened_with", ""), because=because)

    @classmethod
    def of_listener(cls, listener: Listener, rows: Int[np.ndarray, " candidates"], weight: int | float) -> "Part":
        """Returns the listener's utility, times `weight`."""
        values = listener.utility(rows)
        if listener.export.listen_chance is None:
            values = LOG_ODDS_OF_COSINE * values
        often, times = np.unique(listener.chosen, return_counts=True)
        is_often = np.isin(rows, often[times >= OFTEN])
        kinds = np.where(is_often, "often", "fits")
        return cls(values=weight * values, kinds=kinds, because=np.full(len(rows), -1, np.int64))

    @classmethod
    def of_popularity(cls, export: Export, rows: Int[np.ndarray, " candidates"], weight: int | float) -> "Part":
        """Returns the logarithm of 1 + how often all listeners chose each content lately, times `weight`."""
        values = weight * np.log1p(export.facts.recent_positives[rows].astype(np.float64))
        return cls(values=values, kinds=np.full(len(rows), "popular"), because=np.full(len(rows), -1, np.int64))


def reasons_of(
    export: Export, rows: Int[np.ndarray, " candidates"], parts: Sequence[Part], places: Int[np.ndarray, " picks"]
) -> tuple[Reason, ...]:
    """Returns for each pick the reason of the part that raises it most above the mean of the candidates.

    The reason "near" becomes "close in sound" where the two contents also sound similar.

    Args:
        export: export of the contents.
        rows: rows of the candidates.
        parts: parts of the same candidates; at least one gives every candidate a reason.
        places: places of the picks among the candidates.
    """
    lifts = np.stack([np.where(one.kinds != "", one.values - one.values.mean(), -np.inf)[places] for one in parts])
    said = [parts[part] for part in lifts.argmax(axis=0).tolist()]
    found = []
    for one, place in zip(said, places.tolist(), strict=True):
        kind, because = str(one.kinds[place]), int(one.because[place])
        if kind == "near" and export.sound_likeness.are_close(rows[[place]], np.array([because]))[0, 0]:
            kind = "close_in_sound"
        found.append(Reason(kind=kind, because=because))
    return tuple(found)


def candidate_rows(
    export: Export,
    among: Bool[np.ndarray, " contents"],
    vectors: Float[np.ndarray, "queries dim"],
    more: Int[np.ndarray, " more"],
) -> Int[np.ndarray, " candidates"]:
    """Returns the candidates of a list, ascending: all allowed contents or, of many, the nearest to some vectors, and
    `more`.

    Args:
        export: export of the contents.
        among: which contents are allowed.
        vectors: vectors that candidates should be near to.
        more: further candidates, as far as they are allowed; -1 is ignored.
    """
    if np.count_nonzero(among) < EXACT_BELOW:
        return np.flatnonzero(among)
    nearest, _ = export.index.search(vectors, LOOKED_AT, among)
    rows = np.unique(np.concatenate([nearest.ravel(), more])).astype(np.int64)
    rows = rows[rows >= 0]
    return rows[among[rows]]


def mean_vector(vectors: Float[np.ndarray, "some dim"]) -> Float[np.ndarray, " dim"]:
    """Returns the direction of the mean of some vectors, unit; zeros where they cancel out."""
    mean = vectors.mean(axis=0)
    length = np.linalg.norm(mean)
    return mean / length if length > 0 else mean
