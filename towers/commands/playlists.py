"""`towers playlists`: a list of any kind for one listener or several, or everybody's lists into files."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from omegaconf import DictConfig
from rich.console import Console

from towers.commands.asked import history_of, listed, mapping_of
from towers.config.instantiate import instantiate, value
from towers.config.overrides import raw_list, raw_text
from towers.manifest import atomic_file
from towers.policies.asking import POOL_ENDINGS, request_of
from towers.policies.kinds import name_of
from towers.policies.playlist import Playlist
from towers.policies.playlists.proposal import write_proposal
from towers.policies.request import Kind, Shared
from towers.policies.told import facts_in_words, playlist_table, table_of
from towers.retrieval.export import Export
from towers.retrieval.raw_contents import date_of

GIVEN = {"k": int, "explicit": bool, "include_heard": bool, "familiar": float, "skip_cooldown_days": float}
"""Keys of `Query` by the type of their values; each kind of list has its own defaults, so null is not asked for."""


def run(config: DictConfig) -> Playlist | None:
    """Prints a list and returns it."""
    kind: Kind = instantiate(config.playlist, "playlist")
    export = Export(Path(config.export), value(config, "check", bool))
    playlist = kind.make(
        request_of(
            Shared(export),
            users=_ids(config, "user", "users"),
            history=history_of(config, export),
            features=mapping_of(config, "features"),
            partners=_ids(config, None, "partners"),
            curators=_ids(config, None, "curators"),
            left_out=_ids(config, None, "left_out"),
            contents=_ids(config, "content", "contents"),
            minus=_ids(config, None, "minus"),
            pool=raw_text("pool", config.pool),
            today=date_of("today", value(config, "today", str | None)),
            asked=asked_of(config, export),
        )
    )
    show(config, export, playlist, name_of(kind))
    return playlist


def asked_of(config: DictConfig, export: Export) -> dict[str, Any]:
    """The fields of `Query` that are given; ids and titles are looked up in `export`."""
    asked = {key: value(config, key, hint) for key, hint in GIVEN.items() if config[key] is not None}
    for key in ("among", "deny"):
        if (names := raw_list(key, config[key])) is not None:
            asked[key] = listed(export, key, names)
    if (kinds := raw_list("kind", config.kind)) is not None:
        asked["kind"] = tuple(kinds)
    if (day := date_of("released_by", value(config, "released_by", str | None))) is not None:
        asked["released_by"] = day
    return asked


def show(config: DictConfig, export: Export, playlist: Playlist, name: str) -> None:
    """Prints the list, and writes it where `output` says."""
    console = Console()
    whom = [*_ids(config, "user", "users"), *_ids(config, None, "partners"), *_ids(config, None, "curators")]
    title = name.replace("_", " ").capitalize() + (f" for {', '.join(whom)}" if whom else "")
    console.print(playlist_table(export, playlist, title))
    for line in facts_in_words(playlist):
        console.print(line, markup=False, highlight=False)
    if (output := value(config, "output", str | None)) is None:
        return
    path = Path(output)
    if path.suffix in POOL_ENDINGS:
        write_proposal(export, playlist, path)
    else:
        with atomic_file(path) as temporary:
            pq.write_table(table_of(export, playlist, whom[0] if len(whom) == 1 else None), temporary)
    print(f"wrote {path}: {len(playlist)} contents")


def _ids(config: DictConfig, one: str | None, several: str) -> list[str]:
    """Ids or titles by the two keys that may give them, one and several; both add up."""
    found = [] if one is None or config[one] is None else [raw_text(one, config[one]) or ""]
    return found + (raw_list(several, config[several]) or [])
