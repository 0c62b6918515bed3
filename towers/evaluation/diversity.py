"""Diversity of the contents within one list."""

import numpy as np
from jaxtyping import Float, Int

from towers.features.ragged import Ragged

_CHUNK_LISTS = 1024
"""Number of lists processed at a time: some 10 MB for lists of 20."""


def intra_list_diversity(tags: Ragged, rows: Int[np.ndarray, "users ranks"]) -> Float[np.ndarray, " users"]:
    """Returns the mean Jaccard distance `1 - |a ∩ b| / |a ∪ b|` over all pairs of a list's contents, with tags a and b.

    It is 0 if all contents are alike and 1 if no two have a tag in common. Pairs with a content without tags are
    ignored; NaN if no pair is left, as in a list of one. A content that occurs twice in a list is a pair of equals.
    After Ziegler et al. 2005, "Improving recommendation lists through topic diversification".

    Args:
        tags: tags of each content, sorted and without repeats.
        rows: content rows of the lists; -1 at empty places.
    """
    chunks = [rows[start : start + _CHUNK_LISTS] for start in range(0, len(rows), _CHUNK_LISTS)]
    return np.concatenate([np.zeros(0), *(_diversity(tags, chunk) for chunk in chunks)])


def _diversity(tags: Ragged, rows: Int[np.ndarray, "users ranks"]) -> Float[np.ndarray, " users"]:
    sizes = np.where(rows >= 0, tags.lengths[rows], 0)
    shared = _shared(tags, rows)
    union = sizes[:, :, None] + sizes[:, None, :] - shared
    is_known = sizes > 0
    is_pair = is_known[:, :, None] & is_known[:, None, :] & ~np.eye(rows.shape[1], dtype=bool)
    likeness = np.where(is_pair, shared / np.maximum(union, 1), 0.0).sum(axis=(1, 2))
    pairs = is_pair.sum(axis=(1, 2))
    return np.where(pairs > 0, 1 - likeness / np.maximum(pairs, 1), np.nan)


def _shared(tags: Ragged, rows: Int[np.ndarray, "users ranks"]) -> Float[np.ndarray, "users ranks ranks"]:
    """Returns the number of common tags of each two contents of a list."""
    users, ranks = np.nonzero(rows >= 0)
    listed = tags.take(rows[users, ranks])
    users, ranks = users[listed.list_of_value], ranks[listed.list_of_value]
    # Tags are renumbered within each list, so that there are only as many columns as one list has tags.
    width = 1 + int(tags.values.max(initial=0))
    keys, places = np.unique(users * width + listed.values, return_inverse=True)
    columns = places - np.searchsorted(keys, users * width)
    bears = np.zeros((*rows.shape, 1 + int(columns.max(initial=0))), dtype=np.float32)
    bears[users, ranks, columns] = 1
    return (bears @ bears.transpose(0, 2, 1)).astype(np.float64)
