"""Contents as a client sees them: a dictionary, its JSON, and what reasons are found by; made once a version."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any
from urllib.parse import quote

from towers.retrieval.export import Export
from towers.retrieval.show import artist_name
from towers.service.audio import AudioFolder

KEPT = 100_000
"""Cards that are kept; one takes about two kilobytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One content.

    Args:
        content: for JSON.
        json: the same, written out.
        title: or the id where there is none.
        artists: name by id, in order.
        album_id: null where unknown.
        genres: in order.
    """

    content: dict[str, Any]
    json: str
    title: str
    artists: dict[str, str]
    album_id: str | None
    genres: tuple[str, ...]


class Cards:
    """The cards of an export.

    Args:
        export: opened.
        audio: where sound lies.
    """

    def __init__(self, export: Export, audio: AudioFolder):
        self._export = export
        self._audio = audio
        self._columns = dict(zip(export.contents.column_names, export.contents.columns, strict=True))
        self._is_cold = getattr(export, "is_cold", None)
        self.card = lru_cache(maxsize=KEPT)(self._card)

    def _card(self, row: int) -> Card:
        found = {name: column[row].as_py() for name, column in self._columns.items()}
        content_id = found["content_id"]
        artists = {id_: artist_name(self._export, id_) for id_ in found["artist_ids"] or []}
        released = found.get("release_date")
        content = {
            "content_id": content_id,
            "kind": found["kind"],
            "title": found["title"] or content_id,
            "artists": [{"id": id_, "name": name} for id_, name in artists.items()],
            "album_id": found.get("album_id"),
            "genres": found["genres"] or [],
            "language": found.get("language"),
            "release_date": released.isoformat() if isinstance(released, date) else released,
            "duration_ms": found.get("duration_ms"),
            "explicit": found.get("explicit"),
            "is_cold": bool(self._is_cold is not None and self._is_cold[row]),
            "audio": f"/audio/{quote(content_id, safe='')}" if self._audio.path_of(found.get("audio")) else None,
        }
        return Card(
            content=content,
            json=written(content),
            title=content["title"],
            artists=artists,
            album_id=content["album_id"],
            genres=tuple(content["genres"]),
        )

    def contents(self, rows: Iterable[int]) -> list[dict[str, Any]]:
        """Those of several rows."""
        return [self.card(row).content for row in rows]


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)  # `dumps` makes one a call


def written(value: Any) -> str:
    """JSON without spaces; nothing that is not JSON, such as not-a-number, passes."""
    return _ENCODER.encode(value)


def quoted(text: str) -> str:
    """A text in JSON's quotes."""
    return encode_basestring(text)
