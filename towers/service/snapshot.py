"""A version of an export as it is served: opened, warmed up, with what many answers share."""

from collections.abc import Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer

from towers.contract import schema
from towers.errors import UserError
from towers.extras import code_version
from towers.policies.request import Shared
from towers.retrieval.export import Export
from towers.retrieval.files import CONTENT_TOWER, USER_TOWER, VOCABULARIES
from towers.retrieval.query import Query, Standing
from towers.retrieval.raw_contents import reader_of
from towers.retrieval.search import recommend, similar
from towers.retrieval.verify import problems
from towers.service.audio import AudioFolder
from towers.service.cards import Cards
from towers.service.map_answers import MapAnswers, version_of
from towers.service.reasons import Heard
from towers.service.search import NameSearch

KEPT_LISTENERS = 10_000
MIN_INDEX_RECALL = 0.9
"""Least share of the exact nearest 10 that the index has to find, as `towers verify` asks by default."""

OF_LISTS = ("co_listening", "recordings", "mixture", "styles", "regions", "playlists", "sound_vectors", "listen_chance")
"""Parts of an export that only some answers read."""


class NotFound(UserError):
    """An id that this version does not know."""


class Snapshot:
    """A served version; a request holds one from its beginning to its end.

    Args:
        export: the opened export.
        audio: folder of the sound files.
        lists: folder of all listeners' earlier lists; null: there are none.
    """

    def __init__(self, export: Export, audio: AudioFolder, lists: Path | None = None):
        self.export = export
        self.lists = lists
        self.audio = audio
        self.cards = Cards(export, audio)
        self.names = NameSearch.of_contents(export)
        self.listeners = NameSearch.of_users(export)
        self.met_by = lru_cache(maxsize=KEPT_LISTENERS)(partial(_met_by, export, self.cards))
        self._user_row = lru_cache(maxsize=KEPT_LISTENERS)(export.user_row)
        self.map = MapAnswers(export)
        self.shared = Shared(export)

    @classmethod
    def open(cls, folder: Path, audio: AudioFolder, lists: Path | None = None, verify: str = "manifest") -> "Snapshot":
        """Opens, checks and warms the version in `folder`.

        Args:
            folder: folder of the version, or a link to it.
            audio: folder of the sound files.
            lists: folder of all listeners' earlier lists; null: there are none.
            verify: `manifest` checks the manifest against its digest and reads the files that serving needs; `full`
                checks every file, as `towers verify` does.

        Raises:
            UserError: the version is damaged, incomplete or of a newer format.
        """
        export = Export(folder, check_files=False)
        if verify == "full":
            found = list(problems(export, MIN_INDEX_RECALL))
            if found:
                raise UserError(f"{export.folder} is damaged: {'; '.join(found)}")
        snapshot = cls(export, audio, lists)
        snapshot.warm()
        return snapshot

    def warm(self) -> None:
        """Opens every file that answers and lists read, and uses each part once; then the folder may be deleted."""
        export, there = self.export, self.export.manifest.get("files", {})
        if USER_TOWER in there:
            export.encode_events(export.plays(np.arange(min(len(export.vectors), 1))))
            for name in (*export.features.user_columns, *schema.EVENT_VOCABULARIES):
                if f"{VOCABULARIES}/{name}.parquet" in there:
                    export.vocabulary(name)
        if CONTENT_TOWER in there:
            reader_of(export)
        for part in OF_LISTS:
            getattr(export, part)
        _ = export.index  # of a small catalogue it is not searched, but it must not be another space's
        if len(export.user_ids):
            for query in (Query(k=1), Query(k=1, include_heard=True)):
                recommend(export, export.user_vectors[0], query, self.met_by(0)[1])
        if len(export.vectors):
            similar(export, 0, Query(k=1))
            self.cards.card(0)
        self.names.find("a", 1)

    @property
    def version(self) -> str:
        """Name of the version."""
        return version_of(self.export)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The answer of `/version`."""
        manifest = self.export.manifest
        counts = {"contents": len(self.export.vectors), "users": len(self.export.user_ids)}
        return {
            "version": self.version,
            "space_id": self.export.space_id,
            "format": manifest["format"],
            "dim": manifest["dim"],
            "counts": manifest.get("counts", counts),
            "window": manifest.get("window", {}),
            "data_fingerprint": manifest.get("data_fingerprint"),
            "towers": code_version(),
        }

    def content_row(self, content_id: str) -> int:
        """Returns the row of a content id.

        Raises:
            NotFound: this version does not know the id.
        """
        row = self.content_rows([content_id])[0]
        if row < 0:
            raise NotFound(f"content {content_id!r}: no such content in version {self.version}")
        return int(row)

    def content_rows(self, content_ids: Sequence[str]) -> Integer[np.ndarray, " ids"]:
        """Returns the rows of several content ids; -1 for an id that this version does not know."""
        known = self.export.content_ids
        return np.array([known.get(content_id, -1) for content_id in content_ids], np.int64)

    def user_row(self, user_id: str) -> int:
        """Returns the row of a listener.

        Raises:
            NotFound: this version does not know them.
        """
        try:
            return self._user_row(user_id)
        except UserError:
            raise NotFound(f"user {user_id!r}: no such listener in version {self.version}; POST a history") from None


def _met_by(export: Export, cards: Cards, user_row: int) -> tuple[Heard, Standing]:
    """Returns what a listener of the export heard, for reasons, and their relation to the contents that they met."""
    events = export.events(user_row)
    return Heard.of(events.chosen_rows, cards), Standing.of(events, export.until_us)
