"""The subject of a query: a listener of the export, a new listener, or a vector."""

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
"""A listener's history, oldest first: ids or titles of contents that were played in full, or events as mappings with
the columns of the contract's events table (`content_id`, `action`, `timestamp`, `played_ms`, `context`)."""
Vector = Sequence[int | float] | np.ndarray
"""A vector in the export's space, of its dimension and any norm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A listener's past events.

    Args:
        user_row: row of a listener of the export; null for a new listener.
        events: events in time order.
        until_us: time from which days are counted back, in microseconds since 1970; null without timestamps.
        unknown: message with the number of contents that the export does not know; empty if it knows all.
    """

    user_row: int | None
    events: Events
    until_us: int | None
    unknown: tuple[str, ...] = ()

    @property
    def standing(self) -> Standing:
        """Relation of the listener to the contents of their events."""
        return Standing.of(self.events, self.until_us)


def check_whom(user: object, *, is_new: bool, vector: object = None) -> None:
    """Raises `UserError` unless exactly one of a listener, a new listener and a vector is given."""
    if (user is not None) + is_new + (vector is not None) != 1:
        raise UserError("give either user, or history and features of a new listener, or vector")


def past_of(export: Export, user: Id | None, history: History | None) -> Past:
    """Returns the past of a listener of the export, or of a new one.

    Raises:
        UserError: the listener is unknown, a list of ids has an unknown one, or `told_history` refuses the events.
    """
    if user is not None:
        row = export.user_row(id_text(user))
        return Past(user_row=row, events=export.events(row), until_us=export.until_us)
    if isinstance(history, str):
        raise UserError(f"history: must be a list, such as [{history!r}]")
    told = [] if history is None else history  # `history or []` would fail for an array
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
    """Returns the vector for a query, and the listener's past; the past is null if a vector is given.

    Args:
        export: export to query.
        user: id of a listener of the export.
        history: events of a new listener.
        features: column values of a new listener.
        vector: vector in place of all these.

    Raises:
        UserError: not exactly one of a listener, a new listener and a vector is given, or `past_of`, `encode_listener`
            or `unit_vector` refuses a value.
    """
    check_whom(user, is_new=history is not None or bool(features), vector=vector)
    if vector is not None:
        return Encoded(vector=unit_vector(vector, export.dim)), None
    if user is None:
        return newcomer(export, history, features)
    past = past_of(export, user, None)
    return Encoded(vector=export.user_vectors[past.user_row]), past


def newcomer(export: Export, history: History | None, features: Mapping[str, Any] | None) -> tuple[Encoded, Past]:
    """Returns a new listener's vector and past; raises what `past_of` and `encode_listener` raise."""
    past = past_of(export, None, history)
    encoded = encode_listener(export, past.events, features or {})
    return replace(encoded, unknown=(*past.unknown, *encoded.unknown)), past


def rows_of(export: Export, key: str, names: Sequence[Id]) -> Int[np.ndarray, " names"]:
    """Returns the rows of the ids or titles `names`, which the argument `key` gave.

    Raises:
        UserError: the export does not know one of them, or `names` is text instead of a list; the message names `key`.
    """
    if isinstance(names, str):
        raise UserError(f"{key}: must be a list, such as [{names!r}]")
    try:
        return np.array([export.content_row(id_text(name)) for name in names], dtype=np.int64)
    except UserError as error:
        raise UserError(f"{key}: {error}") from error
