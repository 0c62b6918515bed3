"""What adds up to how well contents go into a list, and which part of it says why a content came.

Every part is on one scale, the logarithm of odds, so that parts are added and compared.
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
"""Of a large catalogue, so many contents nearest to each vector are candidates."""
LOG_ODDS_OF_COSINE = 3.0
"""What an inner product of 1 with a listener counts where the export has no model of the chance of a listen; roughly
what the models of exports give it for contents that are new to their listener."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One part of how well each candidate fits.

    Args:
        values: `[candidates]`, logarithms of odds.
        kinds: `[candidates]`, the kind of reason that this part gives for each; empty text where it gives none.
        because: `[candidates]`, the row that the reason refers to; -1 where it refers to none.
    """

    values: Float[np.ndarray, " candidates"]
    kinds: Shaped[np.ndarray, " candidates"]
    because: Int[np.ndarray, " candidates"]

    @classmethod
    def of_closeness(cls, export: Export, rows: Int[np.ndarray, " candidates"], to: Int[np.ndarray, " given"],
                     weight: int | float) -> "Part":  # fmt: skip
        """Cosines with the mean of some contents, times `weight`; the reason is the nearest of them."""
        cosines = export.vectors[rows] @ export.vectors[to].T
        values = weight * (export.vectors[rows] @ mean_vector(export.vectors[to])).astype(np.float64)
        return cls(values=values, kinds=np.full(len(rows), "near"), because=to[cosines.argmax(axis=1)])

    @classmethod
    def of_co_listening(cls, near: Neighbours | None, rows: Int[np.ndarray, " candidates"],
                        to: Int[np.ndarray, " given"], weight: int | float) -> "Part":  # fmt: skip
        """Mean weight of each candidate among the neighbours of some contents, times `weight`; the reason is the one
        of them that it is nearest to. Zeros without neighbours."""
        values, because = np.zeros(len(rows)), np.full(len(rows), -1, np.int64)
        if near is not None and len(to):
            places, whose, weights = near.among(to, rows)
            order = np.argsort(weights, kind="stable")
            because[places[order]] = to[whose[order]]  # of several, the last stays: it has the largest weight
            values = np.bincount(places[order], weights[order], minlength=len(rows)) * (weight / len(to))
        return cls(values=values, kinds=np.where(because >= 0, "listened_with", ""), because=because)

    @classmethod
    def of_listener(cls, listener: Listener, rows: Int[np.ndarray, " candidates"], weight: int | float) -> "Part":
        """The listener's utility, times `weight`."""
        values = listener.utility(rows)
        if listener.export.listen_chance is None:
            values = LOG_ODDS_OF_COSINE * values
        often, times = np.unique(listener.chosen, return_counts=True)
        is_often = np.isin(rows, often[times >= OFTEN])
        kinds = np.where(is_often, "often", "fits")
        return cls(values=weight * values, kinds=kinds, because=np.full(len(rows), -1, np.int64))

    @classmethod
    def of_popularity(cls, export: Export, rows: Int[np.ndarray, " candidates"], weight: int | float) -> "Part":
        """The logarithm of 1 + how often everybody chose each lately, times `weight`."""
        values = weight * np.log1p(export.facts.recent_positives[rows].astype(np.float64))
        return cls(values=values, kinds=np.full(len(rows), "popular"), because=np.full(len(rows), -1, np.int64))


def reasons_of(
    export: Export, rows: Int[np.ndarray, " candidates"], parts: Sequence[Part], places: Int[np.ndarray, " picks"]
) -> tuple[Reason, ...]:
    """For each pick the reason of the part that lifts it most above the mean of the candidates.

    What is near to a content and sounds like it is said to be close in sound.

    Args:
        export: whose contents they are.
        rows: of the candidates.
        parts: of the same candidates; one of them at least gives every candidate a reason.
        places: of the picks among the candidates.
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
    """What a list is chosen from, rising: all that may come or, of many, what is nearest to some vectors, and `more`.

    Args:
        export: whose contents they are.
        among: which may come.
        vectors: that candidates are to be near to.
        more: rows that are candidates, too, where they may come; -1 is passed over.
    """
    if np.count_nonzero(among) < EXACT_BELOW:
        return np.flatnonzero(among)
    nearest, _ = export.index.search(vectors, LOOKED_AT, among)
    rows = np.unique(np.concatenate([nearest.ravel(), more])).astype(np.int64)
    rows = rows[rows >= 0]
    return rows[among[rows]]


def mean_vector(vectors: Float[np.ndarray, "some dim"]) -> Float[np.ndarray, " dim"]:
    """The direction of the mean of some vectors, unit; zeros where they cancel out."""
    mean = vectors.mean(axis=0)
    length = np.linalg.norm(mean)
    return mean / length if length > 0 else mean
