"""An export, opened once, with the questions that notebooks and services ask of it: by raw ids, answered by titles."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from towers.contract import schema
from towers.errors import UserError
from towers.features.text import id_text
from towers.retrieval.encoders import Events
from towers.retrieval.export import Export
from towers.retrieval.query import SKIP_COOLDOWN_DAYS, Query, Standing
from towers.retrieval.raw_contents import date_of, encode_content
from towers.retrieval.raw_events import RawEvents, told_history
from towers.retrieval.search import Found, own_kind, recommend, similar
from towers.retrieval.show import title_card

Id = str | int | np.integer
History = Sequence[Id | Mapping[str, Any]]
"""What somebody did, oldest first: ids or titles of contents that they played in full, or events as mappings with the
columns of the contract's events table (`content_id`, `action`, `timestamp`, `played_ms`, `context`)."""


class OpenedExport:
    """Answers by one version of an export, which is read and checked once. Threads may share it.

    Args:
        folder: of the version, or a link to it such as `exports/current`; a link that moves later is not followed.
        check: whether every file is held against its checksum first, which reads them all.

    Raises:
        UserError: no export there, or a damaged one.
    """

    def __init__(self, folder: str | Path, check: bool = True):
        self.export = Export(Path(folder), check)

    def recommend(
        self,
        *,
        user: Id | None = None,
        history: History | None = None,
        k: int = 20,
        kinds: Sequence[str] = schema.PLAYABLE_KINDS,
        candidates: Sequence[Id] | None = None,
        deny: Sequence[Id] = (),
        explicit: bool = True,
        include_heard: bool = False,
        released_by: date | str | None = None,
        skip_cooldown_days: int | float = SKIP_COOLDOWN_DAYS,
    ) -> list[dict[str, Any]]:
        """What a listener, or somebody with a history of their own, might play next.

        Args:
            user: a listener's id.
            history: what somebody new did, in the place of `user`.
            k: at most so many.
            kinds: of the contents.
            candidates: ids or titles to choose from; null: the whole catalogue.
            deny: ids or titles that must not come.
            explicit: whether contents that are marked explicit may come.
            include_heard: whether what was heard before may come again.
            released_by: the last day of release that may come; null: the day of the export's last event.
            skip_cooldown_days: after so many days what was only skipped may come again.

        Returns:
            Best first: `title`, `artists`, `kind`, `genres`, `content_id`, `score`.

        Raises:
            UserError: neither or both of `user` and `history`, an unknown id, or as `Query`.
        """
        query = Query(
            k=k,
            kinds=tuple(kinds),
            among=None if candidates is None else self._rows(candidates),
            deny=self._rows(deny),
            explicit=explicit,
            include_heard=include_heard,
            released_by=date_of("released_by", released_by),
            skip_cooldown_days=skip_cooldown_days,
        )
        row, events, until_us = self._past(user, history)
        vector = self.export.encode_events(events) if row is None else self.export.user_vectors[row]
        return self._title_cards(recommend(self.export, vector, query, Standing.of(events, until_us)))

    def withheld(
        self,
        *,
        user: Id | None = None,
        history: History | None = None,
        include_heard: bool = False,
        skip_cooldown_days: int | float = SKIP_COOLDOWN_DAYS,
    ) -> list[str]:
        """Ids of the contents that `recommend` withholds for what their listener did with them.

        An engine that searches the same vectors has to leave them out itself.
        """
        query = Query(include_heard=include_heard, skip_cooldown_days=skip_cooldown_days)
        _, events, until_us = self._past(user, history)
        rows = Standing.of(events, until_us).withheld(query)
        return self.export.contents["content_id"].take(rows).to_pylist()

    def similar(
        self,
        content: Id,
        *,
        k: int = 10,
        kinds: Sequence[str] | None = None,
        explicit: bool = True,
        released_by: date | str | None = None,
    ) -> list[dict[str, Any]]:
        """What is near a content, by id or title, of its own kind unless `kinds` are given; as `recommend`."""
        row = self.export.content_row(id_text(content))
        query = Query(
            k=k,
            kinds=own_kind(self.export, row) if kinds is None else tuple(kinds),
            explicit=explicit,
            released_by=date_of("released_by", released_by),
        )
        return self._title_cards(similar(self.export, row, query))

    def embed(self, history: History) -> Float[np.ndarray, " dim"]:
        """The vector of somebody who did this."""
        return self.export.encode_events(self._told(history)[0])

    def embed_content(
        self,
        audio: str | Path | tuple[np.ndarray, int] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Float[np.ndarray, " dim"]:
        """The vector of a content that training has not seen, by its sound (a file, or samples and their rate in Hz)
        and what else is known of it (columns of the contents table); both may be missing."""
        return encode_content(self.export, Path(audio) if isinstance(audio, str) else audio, metadata or {})

    def _past(self, user: Id | None, history: History | None) -> tuple[int | None, Events, int | None]:
        """The row of a listener of the export, null of somebody new; what they did; from when days count back."""
        if (user is None) == (history is None):
            raise UserError("give either user or history")
        if history is not None:
            return (None, *self._told(history))
        row = self.export.user_row(id_text(user))
        return row, self.export.events(row), self.export.until_us

    def _told(self, history: History) -> tuple[Events, int | None]:
        told = [event for event in history if isinstance(event, Mapping)]
        if not told:
            return self.export.plays(self._rows([id_ for id_ in history if not isinstance(id_, Mapping)])), None
        if len(told) < len(history):
            raise UserError("history: give ids alone, or events alone")
        return told_history(self.export, RawEvents.of(told))

    def _rows(self, names: Sequence[Id]) -> np.ndarray:
        return np.array([self.export.content_row(id_text(name)) for name in names], dtype=np.int64)

    def _title_cards(self, found: Found) -> list[dict[str, Any]]:
        names = ("title", "artists", "kind", "genres", "content_id")
        return [
            {**dict(zip(names, title_card(self.export, row), strict=True)), "score": score}
            for row, score in zip(found.rows.tolist(), found.scores.tolist(), strict=True)
        ]
