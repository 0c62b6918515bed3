"""An export, opened once, with the questions that notebooks and services ask of it: by raw ids, answered by titles."""

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
"""A file; samples and their rate in Hz; or a vector, where the model reads vectors that were made elsewhere."""


class OpenedExport:
    """Answers by one version of an export, which is read and checked once. Threads may share it.

    Values of metadata and features that the export does not know are told by a `UserWarning`.

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
        """What a listener, somebody new, or whoever stands at a vector might play next.

        Args:
            user: a listener's id.
            history: what somebody new did, in the place of `user`.
            features: columns of somebody new, such as their country.
            vector: of a listener or a content, in the place of all these, in the export's space and of any length.
            k: at most so many.
            kind: of the contents, one or several.
            among: ids or titles to choose from; null: the whole catalogue.
            deny: ids or titles that must not come.
            explicit: whether contents that are marked explicit may come.
            include_heard: whether what was heard before may come again; the list is then by the chance of a listen.
            familiar: share of the list that was heard before, 0 (all new) to 1 (all familiar), likewise; null: as
                `include_heard` says.
            released_by: the last day of release that may come; null: the day of the export's last event.
            skip_cooldown_days: after so many days what was only skipped may come again.

        Returns:
            Best first: `title`, `artists`, `kind`, `genres`, `content_id`, `score` (the inner product), `chance` (of a
            listen; null where the list is not by it).

        Raises:
            UserError: none or several of `user`, somebody new and `vector`, an unknown id, or as `Query`.
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
        """Ids of the contents that `recommend` withholds for what their listener did with them.

        An engine that searches the same vectors has to leave them out itself.
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
        """What is near a content, of its own kind unless `kind` says others; answers as `recommend`.

        Args:
            content: an id, or a title that only one content bears.
            audio: in the place of `content`: the sound of one that the export does not have.
            metadata: what else is known of it, or all that is; as `embed_content`.
            k, kind, explicit, released_by: as `recommend`.
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
        """The vector of somebody who did this, with these features; of nobody in particular where both are missing."""
        return _told(newcomer(self.export, history, features)[0])

    def embed_content(
        self, audio: Sound | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Float[np.ndarray, " dim"]:
        """The vector of a content that training has not seen, by its sound and what else is known of it (columns of
        the contents table); both may be missing."""
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
    """Its vector; what is unknown is warned of."""
    if encoded.remark:
        warnings.warn(encoded.remark, UserWarning, stacklevel=3)
    return encoded.vector
