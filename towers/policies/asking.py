"""Turns ids and titles into a `Request`, in the same way for the command line, Python and HTTP."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from towers.errors import UserError
from towers.features.text import id_text
from towers.policies.journey.ends import Destination
from towers.policies.listener import Listener
from towers.policies.playlists.algotorial import OpenPool
from towers.policies.playlists.exposure import Weights, weights_beside, weights_path
from towers.policies.playlists.guests import BlendPartner
from towers.policies.playlists.pool import Pool
from towers.policies.playlists.pool_file import pool_of, read_pool
from towers.policies.request import Request, Shared
from towers.retrieval.asker import History, Id, rows_of
from towers.retrieval.catalogue import kinds_in_order
from towers.retrieval.export import Export
from towers.retrieval.raw_contents import date_of

POOL_ENDINGS = (".yaml", ".yml")


def request_of(
    shared: Shared,
    *,
    users: Sequence[Id] = (),
    history: History | None = None,
    features: Mapping[str, Any] | None = None,
    partners: Sequence[Id] = (),
    curators: Sequence[str] = (),
    left_out: Sequence[Id] = (),
    contents: Sequence[Id] = (),
    minus: Sequence[Id] = (),
    to: Id | None = None,
    shown: Sequence[Id] = (),
    pool: str | Pool | Mapping[str, Any] | None = None,
    today: date | None = None,
    asked: Mapping[str, Any] | None = None,
) -> Request:
    """Builds a request; what is not given is empty.

    Args:
        shared: shared parts of the export's lists.
        users: ids of listeners.
        history: history of a new listener, who is placed after `users`.
        features: features of a new listener.
        partners: ids or titles of artists or playlists that take part in a blend.
        curators: curators that take part in a blend.
        left_out: ids of members of a blend that are left out.
        contents: ids or titles that the list starts from.
        minus: ids or titles that are subtracted.
        to: destination of a journey: an id, the name of a region, or a title.
        shown: ids of what earlier lists showed; ids that the export does not know are ignored.
        pool: a YAML file, the id of an editors' playlist, the contents of such a YAML file, or a built pool.
        today: day on which the pool has to be open; null: the day of the export's last event, or the present day.
        asked: fields of `Query`, by name, with rows in the place of ids.

    Raises:
        UserError: the export does not know an id or a region, or the pool is invalid or not open.
    """
    export = shared.export
    listeners = [Listener.of(export, user=user) for user in users]
    if history is not None or features:
        listeners.append(Listener.of(export, history=history, features=features))
    opened = None if pool is None else OpenPool.of(export, _pool(shared, pool), today or export.last_day)
    weights = _weights(export, opened, pool)
    return Request(
        shared=shared,
        listeners=tuple(listeners),
        partners=(
            *(BlendPartner.of(export, id_text(partner)) for partner in partners),
            *(BlendPartner.of_curator(export, curator) for curator in curators),
        ),
        left_out=tuple(id_text(one) for one in left_out),
        contents=rows_of(export, "contents", contents),
        minus=rows_of(export, "minus", minus),
        to=None if to is None else Destination.of(export, to),
        shown=np.array([export.content_ids.get(id_text(one), -1) for one in shown], np.int64),
        pool=opened,
        weights=None if weights is None else weights.values,
        asked=asked or {},
    )


def _pool(shared: Shared, pool: str | Pool | Mapping[str, Any]) -> Pool:
    if isinstance(pool, Pool):
        return pool
    if isinstance(pool, Mapping):
        return pool_of(shared.export, pool, "pool")
    if pool.endswith(POOL_ENDINGS):
        return read_pool(shared.export, Path(pool))
    if pool in shared.pools:
        return shared.pools[pool]
    raise UserError(f"pool={pool}: neither a YAML file nor the id of an editor's playlist in this export")


def _weights(export: Export, opened: OpenPool | None, pool: str | Pool | Mapping[str, Any] | None) -> Weights | None:
    """Reads the weights beside the pool's file; null where there are none."""
    if opened is None or not isinstance(pool, str) or not pool.endswith(POOL_ENDINGS):
        return None
    path = weights_path(Path(pool))
    return Weights.read(path, opened.pool, export) if path.exists() else None


def fit_missing_weights(shared: Shared, pool: str | Pool | Mapping[str, Any], today: date | None) -> None:
    """Fits the weights of a pool that asks for a floor, and writes them beside its file, unless weights for this pool
    and this version are there. A pool without a file or a floor is left alone. Raises as `request_of`."""
    if isinstance(pool, str) and pool.endswith(POOL_ENDINGS):
        opened = OpenPool.of(shared.export, _pool(shared, pool), today or shared.export.last_day)
        if opened.pool.floor > 0:
            weights_beside(Path(pool), opened)


def query_fields(
    export: Export,
    *,
    k: int | None = None,
    kind: str | Sequence[str] | None = None,
    among: Sequence[Id] | None = None,
    deny: Sequence[Id] | None = None,
    explicit: bool | None = None,
    include_heard: bool | None = None,
    familiar: int | float | None = None,
    released_by: date | str | None = None,
    skip_cooldown_days: int | float | None = None,
) -> dict[str, Any]:
    """Returns the given fields of a query, with rows in the place of ids or titles; null means not given.

    Raises:
        UserError: an unknown id or kind, or an invalid day.
    """
    fields = {
        "k": k,
        "kind": None if kind is None else kinds_in_order(kind),
        "among": None if among is None else rows_of(export, "among", among),
        "deny": None if deny is None else rows_of(export, "deny", deny),
        "explicit": explicit,
        "include_heard": include_heard,
        "familiar": familiar,
        "released_by": date_of("released_by", released_by),
        "skip_cooldown_days": skip_cooldown_days,
    }
    return {name: value for name, value in fields.items() if value is not None}
