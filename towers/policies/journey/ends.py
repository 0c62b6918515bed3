"""Ends of a journey: a content, a named region of the space, or what a listener likes most."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.contract import schema
from towers.contract.near_names import not_among
from towers.errors import UserError
from towers.features.text import id_text
from towers.policies.journey.apart import Apart
from towers.policies.listener import Listener
from towers.policies.playlists.parts import mean_vector
from towers.retrieval.asker import Id
from towers.retrieval.export import Export
from towers.retrieval.regions import Regions

SOUNDS_LIKE = 10
"""Number of contents near a point whose mean sound is the sound at the point."""

LIKED_MOST = 20
"""Number of contents, nearest to the listener's main taste among their choices, one of which a journey from home begins
at."""


class NowhereToLead(UserError):
    """There is no region that the listener could be led to; a batch of lists goes on with the other listeners."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Destination of a journey: a content or a region.

    Args:
        row: row of a content; -1: none.
        region: place of a region in the export's `regions`; -1: none.
    """

    row: int = -1
    region: int = -1

    @classmethod
    def of(cls, export: Export, to: Id) -> "Destination":
        """Finds a destination by name: a content by id, else a region by name, else a content by a unique title.

        Raises:
            UserError: there is no such content and no such region, or several contents have the title.
        """
        name = id_text(to)
        row = export.content_ids.get(name, -1)
        if row >= 0:
            return cls(row=row)
        names = () if export.regions is None else export.regions.names
        if name in names:
            return cls(region=names.index(name))
        try:
            return cls(row=export.content_row(name))
        except UserError as error:
            if "contents bear" in str(error):
                raise UserError(f"to: {error}") from error
            raise UserError(
                f"to: {name!r}: no content with this id or title, and no such region; {not_among(name, names)}"
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class End:
    """An end of a journey.

    Args:
        point: `[dim]`, unit vector, in the space.
        sound: `[sound dim]`, unit vector of the sound there; zeros where it is not known.
        rows: contents of which one is at this end; empty: any that is near.
        reason: why it is there, a name of `reasons.WORDS`.
        kinds: kinds of contents at this end.
        is_asked_for: whether the end is one named content, which is included regardless of other rules.
    """

    point: Float[np.ndarray, " dim"]
    sound: Float[np.ndarray, " sound_dim"]
    rows: Int[np.ndarray, " rows"]
    reason: str
    kinds: tuple[str, ...]
    is_asked_for: bool = False

    @classmethod
    def of_content(cls, apart: Apart, export: Export, row: int, reason: str) -> "End":
        """Returns the end at a content; raises `UserError` where it cannot be played."""
        kind = schema.KINDS[export.kinds[row]]
        if kind not in schema.PLAYABLE_KINDS:
            raise UserError(f"{export.content_ids[row]} is of kind {kind}; a journey needs ends that can be played")
        rows = np.array([row])
        return cls(
            point=np.asarray(export.vectors[row]), sound=apart.sound(rows)[0], rows=rows, reason=reason, kinds=(kind,),
            is_asked_for=True,
        )  # fmt: skip

    @classmethod
    def of_region(cls, apart: Apart, export: Export, region: int, may_come: Bool[np.ndarray, " contents"]) -> "End":
        """Returns the end at a region's allowed contents; raises `UserError` where none is allowed."""
        regions = regions_of(export)
        members = np.flatnonzero(regions.region_of_content == region)
        rows = members[may_come[members]]
        if not len(rows):
            raise UserError(f"to: no content of the region {regions.names[region]} is allowed; name another one")
        point = np.asarray(regions.centroids[region], np.float32)
        return cls(
            point=point, sound=_sound_near(apart, export, point, members), rows=rows, reason="leads",
            kinds=(_most_of(export, members),),
        )  # fmt: skip

    @classmethod
    def of_home(cls, apart: Apart, listener: Listener, may_come: Bool[np.ndarray, " contents"]) -> "End":
        """Returns the end at a listener's home: their taste with most of their allowed choices, and the choices nearest
        to it. A listener without allowed choices has the taste with the largest share, and the allowed contents nearest
        to it."""
        export, tastes = listener.export, listener.tastes
        chosen = np.unique(listener.chosen)
        rows = chosen[may_come[chosen]]
        taste = int(tastes.shares.argmax())
        if len(rows):
            nearest = (export.vectors[rows] @ tastes.vectors.T).argmax(axis=1)
            taste = int(np.bincount(nearest, minlength=len(tastes.shares)).argmax())
        point, among = tastes.vectors[taste], may_come
        if len(rows):
            among = np.zeros(len(may_come), bool)
            among[rows] = True
        (rows,), _ = export.exact_index.search(point[None], LIKED_MOST, among)
        rows = np.sort(rows[rows >= 0])
        kinds = (_most_of(export, rows),) if len(rows) else schema.PLAYABLE_KINDS
        return cls(point=point, sound=_sound_near(apart, export, point, rows), rows=rows, reason="at_home", kinds=kinds)


def regions_of(export: Export) -> Regions:
    """Returns the named regions; raises `UserError` where the export has none."""
    if export.regions is None or not len(export.regions.ids):
        raise UserError("this export has no named regions; export anew, or name a content")
    return export.regions


def _sound_near(
    apart: Apart, export: Export, point: Float[np.ndarray, " dim"], rows: Int[np.ndarray, " rows"]
) -> Float[np.ndarray, " sound_dim"]:
    """Returns the mean sound of the contents nearest to a point, among those with sound."""
    sounds = apart.sound(rows)
    is_heard = sounds.any(axis=1)
    if not is_heard.any():
        return np.zeros(sounds.shape[1], np.float32)
    nearest = np.argsort(-(export.vectors[rows[is_heard]] @ point), kind="stable")[:SOUNDS_LIKE]
    return mean_vector(sounds[is_heard][nearest])


def _most_of(export: Export, rows: Int[np.ndarray, " rows"]) -> str:
    """Returns the most frequent kind of some contents."""
    return schema.KINDS[int(np.bincount(export.kinds[rows].astype(np.int64)).argmax())]
