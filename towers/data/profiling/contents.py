"""Facts about each content of a store: its class, and which parts of its metadata it lacks."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, Int

from towers.contract import schema
from towers.data.audio.spectrograms import ROWS
from towers.data.store import Store

PARTS = ("title", "artist_ids", "album_id", "genres", "language", "release_date", "duration_ms")
SOUND = "sound"
_TOLD = (*PARTS, "explicit", "audio")
NONE = len(schema.KINDS)
"""The kind of what is no content: an event without one, or a hole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentFacts:
    """Facts about contents, by content row.

    Args:
        kind: index into `schema.KINDS`, or `NONE`.
        is_hole: the row is of a content that is gone.
        is_withdrawn: contents/ no longer lists it.
        is_listed: more is known of it than its id; holes and withdrawn contents are not.
        is_playable: whether the kind is one that is recommended.
        lacks: whether the content lacks a part of the metadata, by part; `sound` as well if the store has sound.
    """

    kind: Int[np.ndarray, " contents"]
    is_hole: Bool[np.ndarray, " contents"]
    is_withdrawn: Bool[np.ndarray, " contents"]
    is_listed: Bool[np.ndarray, " contents"]
    is_playable: Bool[np.ndarray, " contents"]
    lacks: Mapping[str, Bool[np.ndarray, " contents"]]

    def classes(self) -> Int[np.ndarray, " contents_and_none"]:
        """`[contents + 1]`, int32: `kind * 4 + is_listed * 2 + is_heard`; the last entry is for events without a
        content. Contents count as heard where the store has no sound at all, and where their kind is not played."""
        is_silent = self.lacks.get(SOUND, np.zeros(len(self.kind), dtype=np.bool_)) & self.is_playable
        known = self.kind.astype(np.int32) * 4 + self.is_listed * np.int32(2) + ~is_silent
        return np.append(known, np.int32(NONE * 4 + 3))


def facts_of(store: Store) -> ContentFacts:
    """Reads the facts from the table of contents, one column at a time."""
    contents = store.contents
    is_hole = _array(pc.call_function("is_null", [contents["content_id"]]))
    place = pc.call_function(
        "index_in", [contents["kind"]], pc.SetLookupOptions(value_set=pa.array(schema.KINDS, pa.string()))
    )
    kind = _array(place.fill_null(NONE))
    has_column = "is_withdrawn" in contents.column_names
    is_withdrawn = _array(contents["is_withdrawn"].fill_null(False)) if has_column else np.zeros_like(is_hole)
    lacks = {name: _lacks(contents[name]) for name in _TOLD}
    is_told = ~np.logical_and.reduce(list(lacks.values()))
    is_track = kind == schema.KIND_CODES["track"]
    playable = np.isin(kind, [schema.KIND_CODES[name] for name in schema.PLAYABLE_KINDS])
    parts = {name: lacks[name] for name in PARTS}
    if (sounding := _with_sound(store)) is not None:
        parts[SOUND] = ~sounding
    return ContentFacts(
        kind=kind,
        is_hole=is_hole,
        is_withdrawn=is_withdrawn,
        is_listed=~is_hole & ~is_withdrawn & (is_told | ~is_track),
        is_playable=playable & ~is_hole,
        lacks=parts,
    )


def _with_sound(store: Store) -> Bool[np.ndarray, " contents"] | None:
    """`[contents]`, bool: whether a content has a usable sound; null where the store has no spectrograms."""
    name = store.manifest["spectrograms"]
    if name is None:
        return None
    ids = pq.read_table(store.folder.parent / "spectrograms" / name / ROWS, columns=["content_id"])["content_id"]
    options = pc.SetLookupOptions(value_set=ids.cast(pa.string()).combine_chunks())
    return _array(pc.call_function("is_in", [store.contents["content_id"].cast(pa.string())], options))


def _lacks(column: pa.ChunkedArray) -> Bool[np.ndarray, " contents"]:
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        lengths = pc.call_function("list_value_length", [column])
        return _array(lengths.fill_null(0)) == 0
    return _array(pc.call_function("is_null", [column]))


def _array(column: pa.ChunkedArray) -> np.ndarray:
    return column.to_numpy()
