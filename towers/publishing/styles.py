"""Styles of an export's contents: their genres, or those of their neighbours."""

from collections.abc import Iterator

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int
from scipy import sparse

from towers.contract import schema
from towers.features.ragged import Ragged
from towers.publishing.index import one_thread
from towers.publishing.tables import BLOCK
from towers.retrieval.export import Export
from towers.retrieval.projection_2d import even_sample
from towers.retrieval.styles import Styles

NEIGHBOURS = 20
"""Number of neighbours that vote on the genres of a content without any."""
SHARPNESS, LEAST = 16, 0.01
"""Exponent and threshold of votes: a vote counts by this power of its cosine over the nearest one's, and not at all
below `LEAST`. The nearest count most, which is right more often than a plain mean (`benchmarks/export/derived.py`)."""
MOST_VOTERS = 65_536
"""Largest number of contents of a kind that may vote, evenly spaced: more take more time and give the same result."""


def styles(export: Export, given: pa.ChunkedArray) -> Styles:
    """Returns the styles of all contents.

    A content is shared equally by its genres. One without genres takes those of the `NEIGHBOURS` nearest contents of
    its kind that have some, weighted by their cosines. In a kind without any genres, the kind is the style.

    Args:
        export: export of the contents.
        given: genres by row, lists of text; a list or a genre may be null.
    """
    kinds, genres, names = export.kinds.astype(np.int64), *_genres(given)
    is_given = genres.lengths > 0
    # One code for each kind and genre, and one for each kind alone; only those that occur are kept.
    width = len(names) + 1
    shape = (len(kinds), len(schema.KINDS) * width)
    known = _matrix(genres, kinds[genres.list_of_value] * width + genres.values, shape)
    parts = [known]
    for kind in np.unique(kinds[~is_given]).tolist():
        missing, voters = np.flatnonzero((kinds == kind) & ~is_given), np.flatnonzero((kinds == kind) & is_given)
        if len(voters):
            parts += _imputed(export.vectors, missing, voters, known, shape)
        else:
            alone = (np.ones(len(missing), np.float32), (missing, np.full(len(missing), kind * width + width - 1)))
            parts.append(sparse.csr_array(alone, shape=shape))
    shares = sparse.csr_array(sum(parts[1:], start=parts[0]))
    shares.sort_indices()
    used, codes = np.unique(shares.indices, return_inverse=True)
    kind_names = [schema.KINDS[code // width] for code in used.tolist()]
    genre_names = [(*names, None)[code % width] for code in used.tolist()]
    return Styles(
        names=tuple(f"{kind}: {genre}" if genre else kind for kind, genre in zip(kind_names, genre_names, strict=True)),
        codes=Ragged(shares.indptr.astype(np.int64), codes.astype(np.int32)),
        shares=shares.data.astype(np.float32),
        is_given=is_given,
    )


def _genres(given: pa.ChunkedArray) -> tuple[Ragged, list[str]]:
    """Returns for each content the codes of its genres without repeats, and their names."""
    lists = given.combine_chunks()
    contents = pc.call_function("list_parent_indices", [lists]).to_numpy()
    told = pc.call_function("list_flatten", [lists]).cast(pa.string()).dictionary_encode()
    codes, names = told.indices.fill_null(-1).to_numpy(), told.dictionary.to_pylist()
    is_named = np.array([bool(name and name.strip()) for name in names] + [False])[codes]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(contents[is_named], minlength=len(lists)))])
    return Ragged(offsets.astype(np.int64), codes[is_named].astype(np.int64)).unique(), names


def _matrix(lists: Ragged, codes: Int[np.ndarray, " total"], shape: tuple[int, int]) -> sparse.csr_array:
    shares = (1 / np.maximum(lists.lengths, 1)).astype(np.float32)[lists.list_of_value]
    return sparse.csr_array((shares, codes, lists.offsets), shape=shape)


def _imputed(
    vectors: Float[np.ndarray, "contents dim"],
    missing: Int[np.ndarray, " missing"],
    voters: Int[np.ndarray, " voters"],
    known: sparse.csr_array,
    shape: tuple[int, int],
) -> Iterator[sparse.csr_array]:
    """Yields the votes on `missing`, in blocks, each in its rows of the whole matrix."""
    voters = voters[even_sample(len(voters), MOST_VOTERS)]
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors[voters], np.float32))
    theirs, k = known[voters], min(NEIGHBOURS, len(voters))
    for first in range(0, len(missing), BLOCK):
        rows = missing[first : first + BLOCK]
        with one_thread():
            cosines, places = index.search(np.ascontiguousarray(vectors[rows], np.float32), k)
        near = np.maximum(cosines, 1e-3)  # where all are below 0, all count equally
        weights = (near / near[:, :1]) ** SHARPNESS
        weights[weights < LEAST] = 0
        weights /= weights.sum(axis=1, keepdims=True)
        offsets = np.arange(0, places.size + 1, k)
        votes = sparse.csr_array((weights.ravel(), places.ravel(), offsets), shape=(len(rows), len(voters))) @ theirs
        votes.eliminate_zeros()
        yield _at_rows(sparse.csr_array(votes), rows, shape)


def _at_rows(block: sparse.csr_array, rows: Int[np.ndarray, " rows"], shape: tuple[int, int]) -> sparse.csr_array:
    """Returns the block at `rows`, ascending, of a matrix that is otherwise empty."""
    lengths = np.zeros(shape[0], np.int64)
    lengths[rows] = np.diff(block.indptr)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return sparse.csr_array((block.data, block.indices, offsets), shape=shape)
