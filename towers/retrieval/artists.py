"""Artists as contents: by whom a content is, by row."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Integer

from towers.contract import schema
from towers.features.ragged import Ragged
from towers.retrieval.ids import Ids


def artist_rows(artist_ids: pa.ChunkedArray, content_ids: Ids, kinds: Integer[np.ndarray, " contents"]) -> Ragged:
    """Per content the rows of its artists, rising; an artist is its own. What has no row as an artist is left out.

    Args:
        artist_ids: lists of text, by content row.
        content_ids: raw ids by row.
        kinds: index into `schema.KINDS`, by row.
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
