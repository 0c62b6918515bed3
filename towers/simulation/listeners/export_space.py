"""The contents of an export as the space of a simulator of listeners."""

import numpy as np
from jaxtyping import Float, Int

from towers.contract.schema import KINDS, PLAYABLE_KINDS
from towers.errors import UserError
from towers.features.ragged import Ragged
from towers.retrieval.export import Export
from towers.simulation.listeners.space import Space

UNKNOWN_RELEASE = np.iinfo(np.int64).min


def space_of(export: Export) -> Space:
    """Reads the contents of an export; their numbers of plays are zeros.

    Raises:
        UserError: the export's format has no named regions, or none of its contents can be played.
    """
    regions = export.regions
    if regions is None:
        raise UserError(f"export={export.folder}: has no named regions (format 4); export the run again")
    is_playable = export.catalogue.of_kinds(PLAYABLE_KINDS)
    if not is_playable.any():
        raise UserError(f"export={export.folder}: none of its contents can be played")
    kinds, kind = np.unique(export.kinds, return_inverse=True)
    return Space(
        space_id=export.space_id,
        content_ids=tuple(export.content_ids),
        vectors=_unit(np.asarray(export.vectors)),
        region=np.asarray(regions.region_of_content).astype(np.int64),
        region_names=regions.names,
        artist=_first(export.facts.artists),
        duration_ms=_durations_ms(export.durations_ms),
        released_us=_released_us(export.released),
        kind=kind.astype(np.int64),
        kinds=tuple(KINDS[code] for code in kinds.tolist()),
        is_playable=is_playable,
        plays=np.zeros(len(export.content_ids)),
    )


def _unit(vectors: np.ndarray) -> Float[np.ndarray, "contents dim"]:
    """Returns vectors scaled to unit length, float32; zeros stay zeros."""
    long = vectors.astype(np.float32)
    lengths = np.linalg.norm(long, axis=1, keepdims=True)
    return long / np.where(lengths > 0, lengths, 1).astype(np.float32)


def _first(artists: Ragged) -> Int[np.ndarray, " contents"]:
    """Returns the first value of each list; -1 for an empty one."""
    has_any = artists.lengths > 0
    first = np.full(len(artists), -1, np.int64)
    first[has_any] = artists.values[artists.offsets[:-1][has_any]]
    return first


def _durations_ms(durations_ms: Float[np.ndarray, " contents"]) -> Float[np.ndarray, " contents"]:
    """Returns durations, with the median of the known ones where unknown.

    Raises:
        UserError: no duration is known.
    """
    is_known = durations_ms > 0
    if not is_known.any():
        raise UserError("export: no content has a duration_ms; without it finished plays cannot be told")
    return np.where(is_known, durations_ms, np.median(durations_ms[is_known])).astype(np.float64)


def _released_us(released: np.ndarray) -> Int[np.ndarray, " contents"]:
    """Returns release days in microseconds since 1970, `UNKNOWN_RELEASE` where unknown."""
    is_unknown = np.isnat(released)
    return np.where(is_unknown, UNKNOWN_RELEASE, released.astype("datetime64[us]").astype(np.int64))
