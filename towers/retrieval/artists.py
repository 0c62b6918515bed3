"""Rows of the artists of each content, since artists are contents, too."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Integer

from towers.contract import schema
from towers.features.ragged import Ragged
from towers.retrieval.ids import Ids


def artist_rows(artist_ids: pa.ChunkedArray, content_ids: Ids, kinds: Integer[np.ndarray, " contents"]) -> Ragged:
    """Returns the rows of each content's artists, ascending; an artist's list has its own row.

    Artist ids without a row of kind `artist` are ignored.

    Args:
        artist_ids: lists of artist ids, by content row.
        content_ids: raw ids by row.
        kinds: kinds by row, as indices into `schema.KINDS`.
    """
    lists = artist_ids.combine_chunks()
    contents = pc.call_function("list_parent_indices", [lists]).to_numpy()
    artists = content_ids.rows(pc.call_function("list_flatten", [lists]))
    is_artist = kinds == schema.KIND_CODES["artist"]
    known = (artists >= 0) & is_artist[artists]
    own = np.flatnonzero(is_artist)
    contents, artists = np.concatenate([contents[known], own]), np.concatenate([artists[known], own])
    order = np.argsort(contents, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(contents, minlength=len(lists)))]).astype(np.int64)
    return Ragged(offsets, artists[order].astype(np.int32)).unique()
