"""Who asks, whichever way they are named: a listener of the export, somebody new, or a vector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int

from towers.errors import UserError
from towers.features.text import id_text
from towers.retrieval.encoded import Encoded, unit_vector
from towers.retrieval.encoders import Events
from towers.retrieval.export import Export
from towers.retrieval.query import Standing
from towers.retrieval.raw_events import RawEvents, are_events, encode_listener, told_history

Id = str | int | np.integer
History = Sequence[Id | Mapping[str, Any]]
"""What somebody did, oldest first: ids or titles of contents that they played in full, or events as mappings with the
columns of the contract's events table (`content_id`, `action`, `timestamp`, `played_ms`, `context`)."""
Vector = Sequence[int | float] | np.ndarray
"""As many numbers as the export's vectors have, of its space; any length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What somebody did.

    Args:
        user_row: of a listener of the export; null of somebody new.
        events: in time order.
        until_us: from when days are counted back, in microseconds since 1970; null without a clock.
        unknown: how many contents of their events the export does not know, in words, where there are any.
    """

    user_row: int | None
    events: Events
    until_us: int | None
    unknown: tuple[str, ...] = ()

    @property
    def standing(self) -> Standing:
        """How they stand to the contents that they met."""
        return Standing.of(self.events, self.until_us)


def check_whom(user: object, *, is_new: bool, vector: object = None) -> None:
    """Raises `UserError` unless it is told in one way who asks."""
    if (user is not None) + is_new + (vector is not None) != 1:
        raise UserError("give either user, or history and features of somebody new, or vector")


def past_of(export: Export, user: Id | None, history: History | None) -> Past:
    """What a listener of the export did, or somebody new.

    Raises:
        UserError: an unknown listener; an unknown id of a list of ids; as `told_history`.
    """
    if user is not None:
        row = export.user_row(id_text(user))
        return Past(user_row=row, events=export.events(row), until_us=export.until_us)
    if isinstance(history, str):
        raise UserError(f"history: must be a list, such as [{history!r}]")
    told = [] if history is None else history  # an array is neither true nor false
    if are_events(told):
        raw = RawEvents.of([one for one in told if isinstance(one, Mapping)])
        events, until_us = told_history(export, raw)
        num_named = sum(content_id is not None for content_id in raw.content_id)
        num_unknown = num_named - int((events.content_row >= 0).sum())
        unknown = (f"history: {num_unknown} of {num_named} contents",) if num_unknown else ()
        return Past(user_row=None, events=events, until_us=until_us, unknown=unknown)
    rows = rows_of(export, "history", [one for one in told if not isinstance(one, Mapping)])
    return Past(user_row=None, events=export.plays(rows), until_us=None)


def asker_of(
    export: Export,
    *,
    user: Id | None = None,
    history: History | None = None,
    features: Mapping[str, Any] | None = None,
    vector: Vector | None = None,
) -> tuple[Encoded, Past | None]:
    """The vector of who asks, and what they did; null where that is not known.

    Args:
        export: that is asked.
        user: a listener's id.
        history: what somebody new did.
        features: columns of somebody new.
        vector: in the place of all these.

    Raises:
        UserError: none of the three ways or several; as `past_of`, `encode_listener` and `unit_vector`.
    """
    check_whom(user, is_new=history is not None or bool(features), vector=vector)
    if vector is not None:
        return Encoded(vector=unit_vector(vector, export.dim)), None
    if user is None:
        return newcomer(export, history, features)
    past = past_of(export, user, None)
    return Encoded(vector=export.user_vectors[past.user_row]), past


def newcomer(export: Export, history: History | None, features: Mapping[str, Any] | None) -> tuple[Encoded, Past]:
    """The vector of somebody new, and what they did; raises as `past_of` and `encode_listener`."""
    past = past_of(export, None, history)
    encoded = encode_listener(export, past.events, features or {})
    return replace(encoded, unknown=(*past.unknown, *encoded.unknown)), past


def rows_of(export: Export, key: str, names: Sequence[Id]) -> Int[np.ndarray, " names"]:
    """The rows of the ids or titles in the list `key`.

    Raises:
        UserError: one that the export does not know, or a text in the place of a list; names the key.
    """
    if isinstance(names, str):
        raise UserError(f"{key}: must be a list, such as [{names!r}]")
    try:
        return np.array([export.content_row(id_text(name)) for name in names], dtype=np.int64)
    except UserError as error:
        raise UserError(f"{key}: {error}") from error
