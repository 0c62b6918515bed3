"""`towers similar`: what is near a track, an episode, an artist or a playlist."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from towers.config.instantiate import value
from towers.config.overrides import raw_list, raw_text
from towers.errors import UserError
from towers.retrieval.export import Export
from towers.retrieval.query import Query
from towers.retrieval.raw_contents import date_of, encode_content
from towers.retrieval.search import Found, own_kind, recommend, similar
from towers.retrieval.show import found_table, title_card


def run(config: DictConfig) -> Found:
    """Prints the neighbours and returns them."""
    export = Export(Path(config.export), value(config, "check", bool))
    name, audio = raw_text("content", config.content), value(config, "audio", str | None)
    if (name is None) == (audio is None):
        raise UserError("give either content=ID, or a title, or audio=FILE")
    if audio is not None:
        return near_sound(config, export, Path(audio), value(config, "metadata", dict[str, Any] | None) or {})
    row = export.content_row(name or "")
    found = similar(export, row, query_of(config, own_kind(export, row)))
    title, artists, kind, genres, content_id = title_card(export, row)
    facts = ", ".join(filter(None, (kind, artists, genres, content_id)))
    Console().print(found_table(export, found, f"Similar to {title} ({facts})"))
    return found


def near_sound(config: DictConfig, export: Export, audio: Path, metadata: dict[str, Any]) -> Found:
    """What is near a sound that the catalogue does not have, by the content tower; of its own kind."""
    vector = encode_content(export, audio, metadata)
    found = recommend(export, vector, query_of(config, (metadata.get("kind") or "track",)), None)
    Console().print(found_table(export, found, f"Similar to {audio}"))
    return found


def query_of(config: DictConfig, own: tuple[str, ...]) -> Query:
    """What may be shown, as the keys say; of the kind that the content itself is unless they name others."""
    kinds = raw_list("kind", config.kind)
    return Query(
        k=value(config, "k", int),
        kinds=own if kinds is None else tuple(kinds),
        explicit=value(config, "explicit", bool),
        released_by=date_of("released_by", value(config, "released_by", str | None)),
    )
