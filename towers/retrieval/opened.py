"""An export that is opened once and answers queries from notebooks and services: raw ids in, titles out."""

import warnings
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from towers.contract import schema
from towers.retrieval.asker import History, Id, Vector, asker_of, check_whom, newcomer, past_of, rows_of
from towers.retrieval.catalogue import kinds_in_order
from towers.retrieval.encoded import Encoded
from towers.retrieval.export import Export
from towers.retrieval.original import original_of
from towers.retrieval.query import SKIP_COOLDOWN_DAYS, Query
from towers.retrieval.raw_contents import Audio, date_of, encode_content
from towers.retrieval.search import Found, recommend
from towers.retrieval.show import title_card

Sound = str | Path | tuple[np.ndarray, int] | np.ndarray
"""An audio file; samples and their rate in Hz; or an audio embedding, for a model that reads embeddings."""


class OpenedExport:
    """Queries one version of an export, which is read and checked once. Threads may share it.

    A `UserWarning` names values of metadata and features that the export does not know.

    Args:
        folder: folder of the version, or a link to it such as `exports/current`; the link is resolved once.
        check: whether to verify the checksum of every file first, which reads them all.

    Raises:
        UserError: the folder has no export, or a damaged one.
    """

    def __init__(self, folder: str | Path, check: bool = True):
        self.export = Export(Path(folder), check)

    def recommend(
        self,
        *,
        user: Id | None = None,
        history: History | None = None,
        features: Mapping[str, Any] | None = None,
        vector: Vector | None = None,
        k: int = 20,
        kind: str | Sequence[str] = schema.PLAYABLE_KINDS,
        among: Sequence[Id] | None = None,
        deny: Sequence[Id] = (),
        explicit: bool = True,
        include_heard: bool = False,
        familiar: int | float | None = None,
        released_by: date | str | None = None,
        skip_cooldown_days: int | float = SKIP_COOLDOWN_DAYS,
    ) -> list[dict[str, Any]]:
        """Recommends contents for a listener of the export, for a new listener, or for a vector.

        Args:
            user: id of a listener of the export.
            history: events of a new listener, in place of `user`.
            features: column values of a new listener, such as their country.
            vector: vector of a listener or a content in the export's space, of any norm, in place of all these.
            k: largest number of contents to return.
            kind: kind or kinds of contents to return.
            among: ids or titles of the candidates; null: the whole catalogue.
            deny: ids or titles to exclude.
            explicit: whether explicit contents may be returned.
            include_heard: whether contents that the listener has heard may be returned; the list is then ranked by the
                predicted chance of a listen.
            familiar: share of the list that the listener has heard before, 0 (all new) to 1 (all familiar), ranked in
                the same way; null: `include_heard` decides.
            released_by: latest release date to return; null: the day of the export's last event.
            skip_cooldown_days: days after which contents that were only skipped may be returned again.

        Returns:
            One mapping per content, best first: `title`, `artists`, `kind`, `genres`, `content_id`, `score` (inner
            product) and `chance` (of a listen; null if the list is not ranked by it).

        Raises:
            UserError: not exactly one of `user`, a new listener and `vector` is given, an id is unknown, or `Query`
                refuses a value.
        """
        query = Query(
            k=k,
            kind=kinds_in_order(kind),
            among=None if among is None else rows_of(self.export, "among", among),
            deny=rows_of(self.export, "deny", deny),
            explicit=explicit,
            include_heard=include_heard,
            familiar=familiar,
            released_by=date_of("released_by", released_by),
            skip_cooldown_days=skip_cooldown_days,
        )
        asker, past = asker_of(self.export, user=user, history=history, features=features, vector=vector)
        standing = None if past is None else past.standing
        return self._title_cards(recommend(self.export, _told(asker), query, standing))

    def withheld(
        self,
        *,
        user: Id | None = None,
        history: History | None = None,
        include_heard: bool = False,
        skip_cooldown_days: int | float = SKIP_COOLDOWN_DAYS,
    ) -> list[str]:
        """Returns the ids of the contents that `recommend` excludes because of the listener's own events.

        An external engine that searches the same vectors has to exclude them itself.
        """
        query = Query(include_heard=include_heard, skip_cooldown_days=skip_cooldown_days)
        check_whom(user, is_new=history is not None)
        rows = past_of(self.export, user, history).standing.withheld(query)
        return self.export.contents["content_id"].take(rows).to_pylist()

    def similar(
        self,
        content: Id | None = None,
        *,
        audio: Sound | None = None,
        metadata: Mapping[str, Any] | None = None,
        k: int = 10,
        kind: str | Sequence[str] | None = None,
        explicit: bool = True,
        released_by: date | str | None = None,
    ) -> list[dict[str, Any]]:
        """Returns the contents nearest to a content, of its own kind unless `kind` is given, as `recommend` does.

        Args:
            content: id of a content, or a title that only one content has.
            audio: sound of a new content, in place of `content`.
            metadata: metadata of a new content, beside its sound or alone; see `embed_content`.
            k, kind, explicit, released_by: see `recommend`.
        """
        original = original_of(self.export, content=content, audio=_sound(audio), metadata=metadata)
        query = Query(
            k=k,
            kind=original.kind if kind is None else kinds_in_order(kind),
            explicit=explicit,
            released_by=date_of("released_by", released_by),
        )
        _told(original.encoded)
        return self._title_cards(original.neighbours(self.export, query))

    def embed(
        self, history: History | None = None, features: Mapping[str, Any] | None = None
    ) -> Float[np.ndarray, " dim"]:
        """Returns the vector of a new listener with these events and features; both may be missing."""
        return _told(newcomer(self.export, history, features)[0])

    def embed_content(
        self, audio: Sound | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Float[np.ndarray, " dim"]:
        """Returns the vector of a new content from its sound and its metadata (columns of the contents table); both
        may be missing."""
        return _told(encode_content(self.export, _sound(audio), metadata or {}))

    def _title_cards(self, found: Found) -> list[dict[str, Any]]:
        names = ("title", "artists", "kind", "genres", "content_id")
        chances = [None] * len(found.rows) if found.chances is None else found.chances.tolist()
        return [
            {**dict(zip(names, title_card(self.export, row), strict=True)), "score": score, "chance": chance}
            for row, score, chance in zip(found.rows.tolist(), found.scores.tolist(), chances, strict=True)
        ]


def _sound(audio: Sound | None) -> Audio:
    return Path(audio) if isinstance(audio, str) else audio


def _told(encoded: Encoded) -> Float[np.ndarray, " dim"]:
    """Returns the vector, and warns of values that the export does not know."""
    if encoded.remark:
        warnings.warn(encoded.remark, UserWarning, stacklevel=3)
    return encoded.vector
