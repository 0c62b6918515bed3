"""An export, opened once, that also makes lists of every kind."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from towers.contract.near_names import not_among
from towers.errors import UserError
from towers.policies.asking import query_fields, request_of
from towers.policies.kinds import KINDS
from towers.policies.request import Kind, Shared
from towers.policies.shown import LISTS, shown_to
from towers.policies.told import told
from towers.policies.weeks import week_of_lists
from towers.retrieval.asker import History, Id
from towers.retrieval.opened import OpenedExport
from towers.retrieval.raw_contents import date_of


class Opened(OpenedExport):
    """An opened version of an export that makes lists; otherwise as `OpenedExport`."""

    @cached_property
    def _shared(self) -> Shared:
        return Shared(self.export)

    def playlist(
        self,
        playlist: str | Kind = "discover_weekly",
        *,
        user: Id | None = None,
        users: Sequence[Id] = (),
        history: History | None = None,
        features: Mapping[str, Any] | None = None,
        partners: Sequence[Id] = (),
        curators: Sequence[str] = (),
        left_out: Sequence[Id] = (),
        content: Id | None = None,
        contents: Sequence[Id] = (),
        minus: Sequence[Id] = (),
        to: Id | None = None,
        pool: str | Path | Mapping[str, Any] | None = None,
        today: date | str | None = None,
        week: str | None = None,
        lists: str | Path | None = None,
        k: int | None = None,
        kind: str | Sequence[str] | None = None,
        among: Sequence[Id] | None = None,
        deny: Sequence[Id] = (),
        explicit: bool | None = None,
        include_heard: bool | None = None,
        familiar: int | float | None = None,
        released_by: date | str | None = None,
        skip_cooldown_days: int | float | None = None,
    ) -> dict[str, Any]:
        """Makes a list.

        Args:
            playlist: kind of list: a name in `policies/kinds.KINDS`, or a kind with its own settings, such as
                `Radio(drift=0.2)`; it raises an error that names the arguments it needs.
            user: id of a listener.
            users: ids of several listeners, for a blend.
            history: history of a new listener.
            features: features of a new listener.
            partners: artists or playlists that take part in a blend.
            curators: curators that take part in a blend.
            left_out: members of a blend that are left out.
            content: the piece, artist or playlist that a list starts from.
            contents: several of these.
            minus: contents that are subtracted.
            to: destination of a journey: a content, or the name of a region.
            pool: an editors' pool: a YAML file, the id of an editors' playlist, or what such a file contains.
            today: day on which the pool has to be open; null: that of the export's last event.
            week: ISO week of the list, such as 2026-W29; null: that of `today`.
            lists: folder of earlier weeks' lists, whose contents are not repeated; null: `playlists`.
            k, kind, among, deny, explicit, include_heard, familiar, released_by, skip_cooldown_days: as in `recommend`;
                null: the default of the kind of list.

        Returns:
            `items`, `remark` and `facts`; see `told.told`.

        Raises:
            UserError: a kind or an id is unknown, the pool is invalid, or the kind of list lacks an argument.
        """
        made = _kind_of(playlist)
        whom, day = [*([] if user is None else [user]), *users], date_of("today", today)
        week = week_of_lists(week, day, self.export.last_day)
        request = request_of(
            self._shared,
            users=whom,
            history=history,
            features=features,
            partners=partners,
            curators=curators,
            left_out=left_out,
            contents=[*([] if content is None else [content]), *contents],
            minus=minus,
            to=to,
            shown=shown_to(made, whom, Path(LISTS if lists is None else lists), week),
            pool=str(pool) if isinstance(pool, Path) else pool,
            today=day,
        )
        asked = query_fields(
            self.export, k=k, kind=kind, among=among, deny=deny, explicit=explicit, include_heard=include_heard,
            familiar=familiar, released_by=released_by, skip_cooldown_days=skip_cooldown_days,
        )  # fmt: skip
        return told(self.export, made.make(replace(request, asked=asked)))


def _kind_of(playlist: str | Kind) -> Kind:
    if not isinstance(playlist, str):
        return playlist
    if playlist not in KINDS:
        raise UserError(f"playlist={playlist}: no such kind of list; {not_among(playlist, KINDS)}")
    return KINDS[playlist]()
