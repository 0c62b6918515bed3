"""Distances between contents: by audience (who chooses them) and by ear (how they sound).

Both are squared distances of vectors, divided by the mean of random pairs, so that they can be compared and added.
"""

from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from towers.contract import schema
from towers.retrieval.export import Export

PAIRS = 20_000
"""Number of random pairs of playable contents that give the unit of distance."""


class Apart:
    """Distances between the contents of one export; 0 is the same place, 1 is the mean of random pairs.

    Args:
        export: opened export.
    """

    def __init__(self, export: Export):
        self._export = export
        self._regions: dict[int | float, np.ndarray] = {}

    @property
    def has_sound(self) -> bool:
        """Whether the export has sound vectors of its contents."""
        return self._export.sound_vectors is not None and bool(np.isfinite(self._unit_ear))

    def sound(self, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows dim"]:
        """Returns sound vectors, unit, float32; zeros for contents without sound, and for all if the export has
        none."""
        vectors = self._export.sound_vectors
        return np.zeros((len(rows), 1), np.float32) if vectors is None else np.asarray(vectors[rows], np.float32)

    def by_audience(
        self, rows: Int[np.ndarray, " rows"], to: Int[np.ndarray, " others"]
    ) -> Float[np.ndarray, "rows others"]:
        """Returns distances of the contents' vectors, reduced for neighbours by co-listening by the weight of the pair.

        Args:
            rows: rows of contents, each once.
            to: rows of contents, each once.
        """
        far = self.audience_from(self._export.vectors[rows], to)
        near = self._export.co_listening
        if near is None:
            return far
        weights = np.zeros_like(far)
        for first, second, seen in ((rows, to, weights), (to, rows, weights.T)):
            places, whose, found = near.among(first, second)
            np.maximum.at(seen, (whose, places), found)
        return far * (1 - weights)

    def audience_from(
        self, points: Float[np.ndarray, "points dim"], to: Int[np.ndarray, " others"]
    ) -> Float[np.ndarray, "points others"]:
        """Returns distances of vectors alone, from points of the space."""
        products = np.asarray(points, np.float64) @ self._export.vectors[to].T.astype(np.float64)
        return np.maximum(1 - products, 0) / self._unit_audience

    def by_ear(
        self, rows: Int[np.ndarray, " rows"], to: Int[np.ndarray, " others"]
    ) -> Float[np.ndarray, "rows others"]:
        """Returns distances of sound vectors; NaN where either content has no sound."""
        return self.ear_from(self.sound(rows), to)

    def ear_from(
        self, points: Float[np.ndarray, "points dim"], to: Int[np.ndarray, " others"]
    ) -> Float[np.ndarray, "points others"]:
        """Returns distances of sound vectors, from points of their space; NaN from zeros, or to contents without
        sound."""
        sounds = self.sound(to)
        far = np.maximum(1 - np.asarray(points, np.float64) @ sounds.T.astype(np.float64), 0) / self._unit_ear
        return np.where(np.any(points, axis=1, keepdims=True) & sounds.any(axis=1), far, np.nan)

    def both(
        self, rows: Int[np.ndarray, " rows"], to: Int[np.ndarray, " others"], ear_share: int | float
    ) -> Float[np.ndarray, "rows others"]:
        """Returns both distances blended; see `blended`."""
        return blended(self.by_audience(rows, to), self.by_ear(rows, to), ear_share)

    def regions(self, ear_share: int | float) -> Float[np.ndarray, "regions regions"]:
        """Returns the distances between the centres of the export's regions, divided by their mean over pairs;
        cached."""
        if ear_share not in self._regions:
            (audience, ear), count = self._of_regions, len(self._of_regions[0])
            others = ~np.eye(count, dtype=bool)
            far = []
            for each in (audience, ear):
                known = each[others & np.isfinite(each)]
                far.append(np.where(others, each / ((known.mean() if len(known) else 0.0) or 1.0), 0.0))
            self._regions[ear_share] = np.maximum(blended(far[0], far[1], ear_share), 0)
        return self._regions[ear_share]

    @cached_property
    def _of_regions(self) -> tuple[Float[np.ndarray, "regions regions"], Float[np.ndarray, "regions regions"]]:
        """1 - cosine of the centres of each pair of regions, in the space and by ear; NaN where a region has no
        sound."""
        regions = self._export.regions
        assert regions is not None  # the caller has checked
        sounds = [self.sound(np.flatnonzero(regions.region_of_content == place)) for place in range(len(regions.ids))]
        ears = np.stack([unit(heard.mean(axis=0)) if len(heard) else np.zeros(heard.shape[1]) for heard in sounds])
        middles = np.asarray(regions.centroids, np.float64)
        is_heard = np.any(ears, axis=1, keepdims=True)
        return 1 - middles @ middles.T, np.where(is_heard & is_heard.T, 1 - ears @ ears.T, np.nan)

    @cached_property
    def _unit_audience(self) -> float:
        """Mean of 1 - cosine over random pairs."""
        first, second = self._pairs
        cosines = np.einsum("pd,pd->p", *(np.asarray(self._export.vectors[rows], np.float64) for rows in self._pairs))
        return float(np.mean(1 - cosines)) or 1.0 if len(first) and len(second) else 1.0

    @cached_property
    def _unit_ear(self) -> float:
        """Mean of 1 - cosine of sound over random pairs that have it; infinite where there are none."""
        first, second = (self.sound(rows) for rows in self._pairs)
        is_heard = first.any(axis=1) & second.any(axis=1)
        if not is_heard.any():
            return float("inf")
        return float(np.mean(1 - np.einsum("pd,pd->p", first[is_heard], second[is_heard]))) or 1.0

    @cached_property
    def _pairs(self) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
        playable = np.flatnonzero(self._export.catalogue.of_kinds(schema.PLAYABLE_KINDS))
        if len(playable) < 2:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        first, second = np.random.default_rng(0).choice(playable, (2, PAIRS))
        return first[first != second], second[first != second]


def unit(vector: Float[np.ndarray, " dim"]) -> Float[np.ndarray, " dim"]:
    """Returns the direction of a vector, float64; zeros for a zero vector."""
    length = float(np.linalg.norm(vector))
    return vector.astype(np.float64) / length if length > 0 else np.zeros(len(vector))


def blended(
    audience: Float[np.ndarray, "rows others"], ear: Float[np.ndarray, "rows others"], ear_share: int | float
) -> Float[np.ndarray, "rows others"]:
    """Blends distances by audience and by ear, the latter with weight `ear_share` (0 to 1); where there is no sound,
    the distance by audience is used alone."""
    return np.where(np.isnan(ear), audience, (1 - ear_share) * audience + ear_share * np.nan_to_num(ear))
