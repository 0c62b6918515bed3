"""Contents of the same recording, published twice or remastered."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from towers.contract import schema
from towers.features.content_facts import artist_codes
from towers.publishing.tables import BLOCK
from towers.publishing.titles import base_and_version
from towers.retrieval.export import Export

MIN_COSINE = 0.99
"""Least cosine of two sound vectors of one recording. In a catalogue of 570 pairs of equal title and artist, 56 are
above .994 and the next, other performances, below .988 (`benchmarks/export/derived.py`)."""
MAX_DIFFERENCE_MS, MAX_DIFFERENCE = 3_000.0, 0.03
"""Largest difference of durations of one recording: the greater of this and this share of the longer."""
COMPARED = 1_000
"""Largest number of contents of the same title and artist, by duration, that each is compared with."""


def recordings(export: Export) -> Int[np.ndarray, " contents"]:
    """Returns for each content the row of the first of the same recording: itself, where there is none before.

    Two contents are of one recording if both can be played and are of one kind, share an artist and a title except for
    its remarks (`base_and_version`), have similar durations where both are known, and sound alike. Where one has no
    sound vector, both durations must be known and the remarks must name the same version.
    """
    size = len(export.contents)
    pairs = np.concatenate([np.zeros((2, 0), np.int64), *_same(export)], axis=1)
    graph = sparse.coo_array((np.ones(pairs.shape[1], bool), (pairs[0], pairs[1])), (size, size))
    _, groups = connected_components(graph, directed=False)
    _, first = np.unique(groups, return_index=True)
    return first[groups].astype(np.int32)


def _same(export: Export) -> Iterator[Int[np.ndarray, "2 pairs"]]:
    """Yields pairs of rows of the same recording, in parts; a pair may come twice."""
    durations, sounds = export.durations_ms, export.sound_vectors
    names, versions = names_of(export)
    has_sound = np.zeros(len(versions), bool) if sounds is None else _any(sounds)
    for one, other in pairs_of(names, durations):
        first, second = durations[one], durations[other]
        known = (first > 0) & (second > 0)
        apart = np.abs(first - second) > np.maximum(MAX_DIFFERENCE_MS, MAX_DIFFERENCE * np.maximum(first, second))
        heard = has_sound[one] & has_sound[other]
        same = ~(known & apart) & (heard | known & (versions[one] == versions[other]))
        if sounds is not None:
            asked = np.flatnonzero(same & heard)
            same[asked] = cosines(sounds, one[asked], other[asked]) >= MIN_COSINE
        yield np.stack([one[same], other[same]])


def names_of(export: Export) -> tuple[Int[np.ndarray, "2 names"], Int[np.ndarray, " contents"]]:
    """Returns contents that can be played and have a title and an artist, once for each artist: the rows, and codes of
    kind, artist and title; and for each content a code of its version."""
    told = export.contents["title"].combine_chunks().dictionary_encode()
    titles = [base_and_version(title) for title in told.dictionary.to_pylist()] or [("", "")]
    bases, versions = _codes([base for base, _ in titles]), _codes([version for _, version in titles])
    has_title, places = told.is_valid().to_numpy(zero_copy_only=False), told.indices.fill_null(0).to_numpy()
    artists = artist_codes(export.contents["artist_ids"])
    rows = artists.list_of_value
    kept = (has_title & export.catalogue.of_kinds(schema.PLAYABLE_KINDS))[rows]
    rows, by = rows[kept], artists.values[kept].astype(np.int64)
    keys = (by * len(schema.KINDS) + export.kinds[rows]) * len(titles) + bases[places[rows]]
    return np.stack([rows, keys]), versions[places]


def _codes(texts: list[str]) -> Int[np.ndarray, " texts"]:
    return np.unique(np.array(texts, object), return_inverse=True)[1]


def pairs_of(
    names: Int[np.ndarray, "2 names"], durations_ms: Float[np.ndarray, " contents"]
) -> Iterator[tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]]:
    """Yields rows of equal keys, by duration: first neighbours, then every second one, and so on."""
    order = np.lexsort((names[0], durations_ms[names[0]], names[1]))
    rows, keys = names[:, order]
    left = np.arange(len(rows))
    for step in range(1, COMPARED + 1):
        left = left[left < len(rows) - step]
        left = left[keys[left] == keys[left + step]]
        if not len(left):
            return
        yield rows[left], rows[left + step]


def _any(vectors: Float[np.ndarray, "contents dim"]) -> Bool[np.ndarray, " contents"]:
    """Returns which vectors are not zero."""
    return np.any(vectors != 0, axis=1)


def cosines(
    vectors: Float[np.ndarray, "contents dim"], one: Int[np.ndarray, " pairs"], other: Int[np.ndarray, " pairs"]
) -> Float[np.ndarray, " pairs"]:
    """Returns the cosines of the vectors in pairs of rows."""
    found = np.empty(len(one), np.float32)
    for first in range(0, len(one), BLOCK):
        block = slice(first, first + BLOCK)
        near = vectors[one[block]].astype(np.float32), vectors[other[block]].astype(np.float32)
        found[block] = np.einsum("pd,pd->p", *near)
    return found
