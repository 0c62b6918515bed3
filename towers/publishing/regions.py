"""Named regions: a spherical k-means (Dhillon and Modha 2001) of an export's contents, started where the regions of the
version before have come to lie."""

from dataclasses import dataclass
from math import sqrt

import faiss
import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from towers.contract import schema
from towers.publishing.index import one_thread
from towers.publishing.region_names import Named, named
from towers.publishing.tables import BLOCK
from towers.retrieval.export import Export
from towers.retrieval.regions import Regions
from towers.retrieval.styles import Styles

FEWEST, MOST = 8, 64
"""Regions, where their number is not given."""
SLACK = 0.25
"""Share by which the number may differ from that of the version before without any being made or given up."""
SAME = 0.7
"""Least cosine of a region's centroid with where the contents of an earlier one have come to lie, for its id."""
ITERATIONS = 25
SEED = 0
TYPICAL = 3
NEAREST = 0.05
"""Share of a region's contents, and at least 10, of which the most chosen are typical."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Earlier:
    """The regions of the version before, as far as their contents are still there.

    Args:
        places: in its arrays, that of the most contents first.
        centroids: unit; where their contents lie now.
        regions: themselves.
    """

    places: Int[np.ndarray, " earlier"]
    centroids: Float[np.ndarray, "earlier dim"]
    regions: Regions

    @property
    def names(self) -> dict[int, Named]:
        """What each is called, by its id."""
        regions = self.regions
        return dict(zip(regions.ids.tolist(), zip(regions.names, regions.styles, strict=True), strict=True))


def regions(
    export: Export,
    styles: Styles,
    positives: Int[np.ndarray, " contents"],
    recordings: Int[np.ndarray, " contents"],
    earlier: Export | None,
    number: int | None,
) -> Regions:
    """The regions of an export.

    They start where the contents of the earlier version's regions lie now, whatever space those were in. A region keeps
    the id and, while it is true, the name of the earlier one that is nearest to it (one each, by the Hungarian method).

    Args:
        export: whose vectors are clustered.
        styles: that they are named by.
        positives: how often each content was chosen.
        recordings: the first content of each one's recording; others are not typical of a region.
        earlier: the version before; null: none.
        number: of regions; null: the root of half of the contents that can be played, from 8 to 64. About as many as
            before where there was a version before, and no more than contents.
    """
    vectors, rows = export.vectors, np.flatnonzero(export.catalogue.of_kinds(schema.PLAYABLE_KINDS))
    before = None if earlier is None or earlier.regions is None else _moved(export, earlier, earlier.regions, rows)
    centroids = _clustered(vectors, rows, _number(number, len(rows), before), before)
    places = np.full(len(vectors), -1, np.int32)
    places[rows] = _nearest(vectors, rows, centroids)
    sizes = np.bincount(places[rows], minlength=len(centroids))
    ids, next_id = _ids(centroids, sizes, before)
    order = np.argsort(ids[sizes > 0], kind="stable")
    order = np.flatnonzero(sizes > 0)[order]
    new_place = np.full(len(centroids) + 1, -1, np.int32)  # the last is for what cannot be played
    new_place[order] = np.arange(len(order))
    places, centroids, ids = new_place[places], centroids[order], ids[order]
    typical = _typical(vectors, np.where(recordings == np.arange(len(places)), places, -1), centroids, positives)
    called = {} if before is None else before.names
    names, named_by = named(export, styles, places, typical, [called.get(one) for one in ids.tolist()])
    return Regions(
        ids=ids, names=names, styles=named_by, centroids=centroids, typical=typical, region_of_content=places,
        next_id=next_id,
    )  # fmt: skip


def _moved(export: Export, earlier: Export, regions: Regions, rows: Int[np.ndarray, " playable"]) -> _Earlier:
    was = np.full(len(export.vectors), -1)
    now = export.content_ids.rows(earlier.contents["content_id"])
    was[now[now >= 0]] = regions.region_of_content[now >= 0]
    members = rows[was[rows] >= 0]
    shape = (len(regions.ids), len(export.vectors))
    sums = sparse.csr_array((np.ones(len(members), np.float32), (was[members], members)), shape) @ export.vectors
    norms = np.linalg.norm(sums, axis=1)
    order = np.argsort(-np.bincount(was[members], minlength=len(norms)), kind="stable")
    places = order[norms[order] > 1e-6]
    centroids = (sums[places] / norms[places, None]).astype(np.float32)
    return _Earlier(places=places, centroids=centroids, regions=regions)


def _number(given: int | None, contents: int, before: _Earlier | None) -> int:
    number = min(MOST, max(FEWEST, round(sqrt(contents / 2)))) if given is None else given
    if given is None and before is not None and abs(len(before.places) - number) <= SLACK * number:
        number = len(before.places)
    return min(number, contents)


def _clustered(
    vectors: Float[np.ndarray, "contents dim"], rows: Int[np.ndarray, " playable"], number: int, before: _Earlier | None
) -> Float[np.ndarray, "regions dim"]:
    """Centroids; those that follow from the earlier ones first."""
    if number == 0:
        return np.zeros((0, vectors.shape[1]), np.float32)
    draws = np.random.default_rng(SEED)
    means = faiss.Kmeans(
        vectors.shape[1], number, niter=ITERATIONS, spherical=True, seed=SEED, min_points_per_centroid=1
    )
    points = np.sort(draws.choice(rows, min(len(rows), number * means.cp.max_points_per_centroid), replace=False))
    start = None if before is None or not len(before.places) else before.centroids[:number]
    with one_thread():  # sums in another order would give other centroids
        means.train(np.ascontiguousarray(vectors[points], np.float32), init_centroids=start)
    return np.asarray(means.centroids, np.float32)


def _nearest(
    vectors: Float[np.ndarray, "contents dim"],
    rows: Int[np.ndarray, " playable"],
    centroids: Float[np.ndarray, "regions dim"],
) -> Int[np.ndarray, " playable"]:
    blocks = (vectors[rows[first : first + BLOCK]] for first in range(0, len(rows), BLOCK))
    return np.concatenate([np.zeros(0, np.int64), *((block @ centroids.T).argmax(axis=1) for block in blocks)])


def _ids(
    centroids: Float[np.ndarray, "regions dim"], sizes: Int[np.ndarray, " regions"], before: _Earlier | None
) -> tuple[Int[np.ndarray, " regions"], int]:
    """Ids of the regions that are not empty, -1 for others, and the next; new ones go to the largest first."""
    ids, next_id = np.full(len(centroids), -1), 0
    if before is not None:
        next_id = before.regions.next_id
        cosines = before.centroids @ centroids.T
        was, now = linear_sum_assignment(-cosines)
        same = (cosines[was, now] >= SAME) & (sizes[now] > 0)
        ids[now[same]] = before.regions.ids[before.places[was[same]]]
    new = np.flatnonzero((ids < 0) & (sizes > 0))
    new = new[np.argsort(-sizes[new], kind="stable")]
    ids[new] = next_id + np.arange(len(new))
    return ids, next_id + len(new)


def _typical(
    vectors: Float[np.ndarray, "contents dim"],
    places: Int[np.ndarray, " contents"],
    centroids: Float[np.ndarray, "regions dim"],
    positives: Int[np.ndarray, " contents"],
) -> Int[np.ndarray, "regions typical"]:
    found = np.full((len(centroids), TYPICAL), -1, np.int32)
    for place, centroid in enumerate(centroids):
        members = np.flatnonzero(places == place)
        near = members[np.argsort(-(vectors[members] @ centroid), kind="stable")]
        near = near[: max(10, int(NEAREST * len(members)))]
        chosen = near[np.argsort(-positives[near], kind="stable")][:TYPICAL]
        found[place, : len(chosen)] = chosen
    return found
