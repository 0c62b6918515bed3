"""Named regions: a spherical k-means (Dhillon and Modha 2001) of an export's contents, started from where the contents
of the earlier version's regions lie now."""

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
"""Least and largest number of regions, where their number is not given."""
SLACK = 0.25
"""Share by which the number may differ from that of the version before without regions being added or removed."""
SAME = 0.7
"""Least cosine of a region's centroid with the present centroid of an earlier region's contents, to keep the id."""
ITERATIONS = 25
SEED = 0
TYPICAL = 3
NEAREST = 0.05
"""Share of a region's contents, and at least 10 contents, nearest to its centroid, of which the most chosen are
typical."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Earlier:
    """Regions of the version before, as far as their contents still exist.

    Args:
        places: places in the arrays of `regions`, the region with most contents first.
        centroids: unit vectors; where the regions' contents lie now.
        regions: the regions themselves.
    """

    places: Int[np.ndarray, " earlier"]
    centroids: Float[np.ndarray, "earlier dim"]
    regions: Regions

    @property
    def names(self) -> dict[int, Named]:
        """Name of each region, by its id."""
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
    """Returns the regions of an export.

    They start where the contents of the earlier version's regions lie now, whichever space that version had. A region
    keeps the id of the nearest earlier one (one each, by the Hungarian method) and, while it is still true, its name.

    Args:
        export: export whose vectors are clustered.
        styles: styles that regions are named by.
        positives: how often each content was chosen.
        recordings: first content of each one's recording; other contents are not typical of a region.
        earlier: version before; null: none.
        number: number of regions; null: the square root of half the number of playable contents, from 8 to 64, or as
            many as in the version before if that is close. Never more than contents.
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
    """Returns centroids; those started from earlier ones first."""
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
    """Returns ids of the regions that are not empty, -1 for others, and the next id; new ids go to the largest
    first."""
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
