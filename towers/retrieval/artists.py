"""Artists as contents: by whom a content is, by row."""

import numpy as np
import pyarrow.compute as pc

from towers.contract import schema
from towers.features.ragged import Ragged
from towers.retrieval.export import Export


def artist_rows(export: Export) -> Ragged:
    """Per content the rows of its artists, rising; an artist is its own. What has no row as an artist is left out."""
    lists = export.contents["artist_ids"].combine_chunks()
    contents = pc.call_function("list_parent_indices", [lists]).to_numpy()
    artists = export.content_ids.rows(pc.call_function("list_flatten", [lists]))
    is_artist = export.kinds == schema.KIND_CODES["artist"]
    known = (artists >= 0) & is_artist[artists]
    own = np.flatnonzero(is_artist)
    contents, artists = np.concatenate([contents[known], own]), np.concatenate([artists[known], own])
    order = np.argsort(contents, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(contents, minlength=len(lists)))]).astype(np.int64)
    return Ragged(offsets, artists[order].astype(np.int32)).unique()
