"""Contents as a client sees them: a dictionary, its JSON, and what reasons are found by; made once a version."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache, partial
from json.encoder import encode_basestring
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from towers.retrieval.export import Export
from towers.retrieval.show import artist_name
from towers.service.audio import AudioFolder

KEPT = 100_000
"""Most cards that are kept in memory; one takes about two kilobytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Facts of one content, as answers show them.

    Args:
        content: the JSON object of the content, as a dictionary.
        json: the same object as JSON text.
        title: title; the id where there is none.
        artists: names of the artists by id, in the contract's order.
        album_id: id of the album; null where unknown.
        genres: genres, in the contract's order.
    """

    content: dict[str, Any]
    json: str
    title: str
    artists: dict[str, str]
    album_id: str | None
    genres: tuple[str, ...]


class Cards:
    """Cards of an export's contents by row, made when they are first asked for.

    Args:
        export: the opened export.
        audio: folder of the sound files.
    """

    def __init__(self, export: Export, audio: AudioFolder):
        # Of a function and not of a method, which would hold on to a version after it has been swapped for the next.
        self.card = lru_cache(maxsize=KEPT)(partial(_card, export, audio, _columns(export)))


def _columns(export: Export) -> dict[str, pa.ChunkedArray]:
    return dict(zip(export.contents.column_names, export.contents.columns, strict=True))


def _card(export: Export, audio: AudioFolder, columns: Mapping[str, pa.ChunkedArray], row: int) -> Card:
    found = {name: column[row].as_py() for name, column in columns.items()}
    content_id, released = found["content_id"], found.get("release_date")
    artists = {id_: artist_name(export, id_) for id_ in found["artist_ids"] or []}
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
        "is_cold": bool(export.is_cold[row]),
        "audio": f"/audio/{quote(content_id, safe='')}" if audio.path_of(found.get("audio")) else None,
    }
    return Card(
        content=content,
        json=written(content),
        title=content["title"],
        artists=artists,
        album_id=content["album_id"],
        genres=tuple(content["genres"]),
    )


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)  # `dumps` makes one a call


def written(value: Any) -> str:
    """Returns a value as JSON without spaces; raises `ValueError` for numbers that JSON lacks, such as NaN."""
    return _ENCODER.encode(value)


def quoted(text: str) -> str:
    """Returns a text as a JSON string."""
    return encode_basestring(text)
