"""`towers similar`: nearest neighbours of a track, an episode, an artist or a playlist."""

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from towers.commands.asked import mapping_of, sound_of, told
from towers.config.instantiate import value
from towers.config.overrides import raw_list, raw_text
from towers.retrieval.export import Export
from towers.retrieval.original import Original, original_of
from towers.retrieval.query import Query
from towers.retrieval.raw_contents import date_of
from towers.retrieval.search import Found
from towers.retrieval.show import found_table, title_card


def run(config: DictConfig) -> Found:
    """Prints the neighbours and returns them."""
    export = Export(Path(config.export), value(config, "check", bool))
    content, audio, metadata = raw_text("content", config.content), sound_of(config), mapping_of(config, "metadata")
    original = original_of(export, content=content, audio=audio, metadata=metadata)
    kind = raw_list("kind", config.kind)
    query = Query(
        k=value(config, "k", int),
        kind=original.kind if kind is None else tuple(kind),
        explicit=value(config, "explicit", bool),
        released_by=date_of("released_by", value(config, "released_by", str | None)),
    )
    told(original.encoded)
    found = original.neighbours(export, query)
    Console().print(found_table(export, found, f"Similar to {named(export, original, config)}"))
    return found


def named(export: Export, original: Original, config: DictConfig) -> str:
    """Returns a title for the content whose neighbours are printed."""
    if original.row is None:
        return str(config.audio if config.audio is not None else config.metadata)
    title, artists, kind, genres, content_id = title_card(export, original.row)
    return f"{title} ({', '.join(filter(None, (kind, artists, genres, content_id)))})"
