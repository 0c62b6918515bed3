"""Questions about lists, in a body or in an address, and the `Request` that each becomes."""

from datetime import date
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from towers.policies.asking import request_of
from towers.policies.playlists.pool import Pool
from towers.policies.request import Kind, Request
from towers.policies.shown import shown_to
from towers.policies.weeks import week_of_lists
from towers.retrieval.raw_contents import date_of
from towers.service.limits import Limits, OverLimit
from towers.service.questions import (
    CooldownDays,
    Familiar,
    History,
    Id,
    Kinds,
    Question,
    ReleasedBy,
    Value,
    check_length,
    read_by,
)
from towers.service.snapshot import NotFound, Snapshot

Today = Annotated[date, read_by(partial(date_of, "today"), date)]
QUERIED = ("k", "explicit", "include_heard", "familiar", "released_by", "skip_cooldown_days")
"""Fields that a list's `Query` has by the same name."""


class ListFilter(Question):
    """Constraints on a list and its length; null takes the default of the kind of list."""

    k: int | None = Field(None, ge=1, description="length of the list; an editor's pool sets its own")
    kind: Kinds | None = Field(None, description="kinds of contents, one or several")
    explicit: bool | None = Field(None, description="whether explicit contents may come; null: they may")
    include_heard: bool | None = Field(None, description="whether what was heard before may come")
    familiar: Familiar = None
    released_by: ReleasedBy = None
    skip_cooldown_days: CooldownDays | None = None
    among: list[Id] | None = Field(None, description="ids to choose from; all where null")
    deny: list[Id] = Field([], description="ids that must not come")


class ListAddress(ListFilter):
    """Request of a list by query parameters; a parameter with several values is given several times."""

    user: list[Id] = Field([], description="listeners of the export")
    content: list[Id] = Field([], description="ids of contents that the list starts from")
    minus: list[Id] = Field([], description="contents that are subtracted")
    to: Id | None = Field(None, description="where a journey leads: a content, or the name of a region")
    partner: list[Id] = Field([], description="artists or playlists that take part in a blend")
    curator: list[Id] = Field([], description="curators that take part in a blend, such as editor")
    pool: Id | None = Field(None, description="id of an editor's playlist")


class ListQuestion(ListFilter):
    """Request of a list; `GET /playlists` says what each kind needs."""

    users: list[Id] = Field([], description="ids of listeners of the export")
    history: History | None = Field(None, description="events of a new listener, as in /recommend; after the users")
    features: dict[str, Value] = Field({}, description="features of a new listener, by column")
    partners: list[Id] = Field([], description="ids of artists or playlists that take part in a blend")
    curators: list[Id] = Field([], description="curators that take part in a blend, such as editor")
    left_out: list[Id] = Field([], description="members of a blend that are left out")
    contents: list[Id] = Field([], description="ids of contents that the list starts from")
    minus: list[Id] = Field([], description="ids of contents that are subtracted")
    to: Id | None = Field(None, description="where a journey leads: a content, or the name of a region")
    pool: dict[str, Any] | Id | None = Field(
        None,
        description="id of an editor's playlist, or a pool: title, contents, k, order, pins, quotas, window, floor",
    )
    today: Today | None = Field(
        None, description="day on which the pool is open, and whose week it is; null: that of the last event"
    )
    week: str | None = Field(None, description="ISO week of the list, such as 2026-W31; null: that of today")

    @classmethod
    def of_address(cls, asked: ListAddress) -> "ListQuestion":
        """Makes the question from the query parameters of a GET request."""
        filters = {name: getattr(asked, name) for name in ListFilter.model_fields}
        return cls.model_construct(
            **filters,
            users=asked.user,
            contents=asked.content,
            minus=asked.minus,
            to=asked.to,
            partners=asked.partner,
            curators=asked.curator,
            pool=asked.pool,
        )

    def check(self, limits: Limits) -> None:
        """Raises `OverLimit` if a number or a list is above its limit."""
        if self.k is not None and self.k > limits.max_k:
            raise OverLimit("max_k", f"k: {self.k}, must be at most {limits.max_k}")
        for name in ("users", "partners", "curators", "left_out"):
            check_length(name, getattr(self, name), limits, "max_members")
        for name in ("contents", "minus"):
            check_length(name, getattr(self, name), limits, "max_seeds")
        for name in ("among", "deny"):
            check_length(name, getattr(self, name), limits, "max_ids")
        check_length("history", self.history, limits, "max_history")
        if isinstance(self.pool, dict):
            for name, limit in (("contents", "max_pool"), ("quotas", "max_quotas"), ("pins", "max_pool")):
                told = self.pool.get(name)
                check_length(f"pool: {name}", told if isinstance(told, list) else None, limits, limit)

    def request(self, snapshot: Snapshot, kind: Kind) -> Request:
        """Returns the request to a kind of list, with ids turned into rows of the served version.

        Raises:
            NotFound: a listener, content, partner or pool that this version does not know.
            UserError: a history, a curator, a week or a pool that is wrong.
        """
        for user in self.users:
            snapshot.user_row(user)
        for content in (*self.contents, *self.minus, *self.partners):
            snapshot.content_row(content)
        asked = {name: getattr(self, name) for name in QUERIED}
        asked = {name: value for name, value in asked.items() if value is not None}
        if self.kind is not None:
            asked["kind"] = tuple(self.kind)
        if self.among is not None:
            asked["among"] = snapshot.content_rows(self.among)
        return request_of(
            snapshot.shared,
            users=self.users,
            history=None if self.history is None else [event.model_dump(exclude_none=True) for event in self.history],
            features=self.features,
            partners=self.partners,
            curators=self.curators,
            left_out=self.left_out,
            contents=self.contents,
            minus=self.minus,
            to=self.to,
            shown=self._shown(snapshot, kind),
            pool=pool_of_export(snapshot, self.pool) if isinstance(self.pool, str) else self.pool,
            today=self.today,
            asked=asked | {"deny": snapshot.content_rows(self.deny)},
        )

    def _shown(self, snapshot: Snapshot, kind: Kind) -> list[str]:
        """Returns ids of contents that earlier lists of the kind showed to the listener, if there is exactly one."""
        if snapshot.lists is None or self.history is not None or self.features:
            return []
        week = week_of_lists(self.week, self.today, snapshot.export.last_day)
        return shown_to(kind, self.users, snapshot.lists, week)

    def num_unknown(self, snapshot: Snapshot) -> int:
        """Returns the number of ids in the lists and the history that this version does not know."""
        told = [*self.deny, *(self.among or ()), *(event.content_id for event in self.history or ())]
        return int((snapshot.content_rows([one for one in told if one is not None]) < 0).sum())


def pool_of_export(snapshot: Snapshot, pool_id: str) -> Pool:
    """Returns an editor's playlist as a pool; raises `NotFound` if this version has none of this id."""
    pool = snapshot.shared.pools.get(pool_id)
    if pool is None:
        raise NotFound(f"pool {pool_id!r}: no such playlist of an editor in version {snapshot.version}; see GET /pools")
    return pool
