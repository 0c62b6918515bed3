"""`towers playlists`: a list of any kind for one listener or several, or the lists of all listeners into files."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from towers.commands.asked import history_of, mapping_of
from towers.commands.progress import StageProgress
from towers.config.instantiate import instantiate, value
from towers.config.overrides import raw_list, raw_text
from towers.errors import UserError
from towers.policies.asking import query_fields, request_of
from towers.policies.batch import Batch, Written, write_lists
from towers.policies.playlist import Playlist
from towers.policies.processes import num_cores
from towers.policies.request import Kind, Shared, name_of
from towers.policies.shown import LISTS, shown_to
from towers.policies.told import facts_in_words, playlist_table, write_list
from towers.policies.weeks import week_of_lists
from towers.retrieval.export import Export
from towers.retrieval.raw_contents import date_of

EVERYBODY = "all"
OTHERS = {"partners": None, "curators": None, "left_out": None, "contents": "content", "minus": None}
"""Keys of several ids, each with the key for a single id, where there is one."""
PLAIN = {"k": int, "explicit": bool, "include_heard": bool, "familiar": float, "skip_cooldown_days": float,
         "released_by": str}  # fmt: skip
"""Keys of `Query` by the type of their values."""


def run(config: DictConfig) -> Playlist | Written:
    """Prints a list and returns it; with `user=all`, writes the lists of all listeners instead."""
    kind: Kind = instantiate(config.playlist, "playlist")
    export = Export(Path(config.export), value(config, "check", bool))
    users, today = _ids(config, "users", "user"), date_of("today", value(config, "today", str | None))
    week = week_of_lists(raw_text("week", config.week), today, export.last_day)
    lists, output = value(config, "lists", str | None), value(config, "output", str | None)
    asked: dict[str, Any] = {"pool": raw_text("pool", config.pool), "today": today, "asked": asked_of(config, export)}
    if users == [EVERYBODY]:
        alone(config)
        batch = Batch(
            export=export.folder,
            kind=kind,
            week=week or "",
            folder=Path(output or LISTS),
            lists=Path(lists or output or LISTS),
            parts=value(config, "parts", int),
            **asked,
        )
        return write_everybody(batch, export, value(config, "workers", int | None))
    playlist = kind.make(
        request_of(
            Shared(export),
            users=users,
            history=history_of(config, export),
            features=mapping_of(config, "features"),
            shown=shown_to(kind, users, Path(lists or LISTS), week),
            to=raw_text("to", config.to),
            **_others(config),
            **asked,
        )
    )
    whom = [*users, *_ids(config, "partners"), *_ids(config, "curators")]
    show(export, playlist, name_of(kind), whom)
    if output is not None:
        write_list(export, playlist, users[0] if whom == users and len(users) == 1 else None, Path(output))
        print(f"wrote {output}: {len(playlist)} contents")
    return playlist


def alone(config: DictConfig) -> None:
    """Raises `UserError` for keys that cannot be combined with `user=all`."""
    for key in ("history", "features", "from", "to", *OTHERS, *filter(None, OTHERS.values())):
        if config[key] is not None:
            raise UserError(f"{key}: user={EVERYBODY} makes a list for each listener alone; leave {key} out")


def write_everybody(batch: Batch, export: Export, workers: int | None) -> Written:
    """Writes the lists of all listeners, and prints how many."""
    with StageProgress() as progress:
        done = write_lists(batch, export, num_cores() if workers is None else workers, progress.update)
    print(f"wrote {done.folder}: {done.lists:,} lists in {done.made} parts; {done.kept} existed before")
    return done


def asked_of(config: DictConfig, export: Export) -> dict[str, Any]:
    """Returns the fields of `Query` that are given; each kind of list has its own defaults for the others."""
    plain: dict[str, Any] = {key: value(config, key, hint | None) for key, hint in PLAIN.items()}
    ids: dict[str, Any] = {key: raw_list(key, config[key]) for key in ("kind", "among", "deny")}
    return query_fields(export, **plain, **ids)


def show(export: Export, playlist: Playlist, name: str, whom: list[str]) -> None:
    """Prints the list, and facts about it."""
    console = Console()
    title = name.replace("_", " ").capitalize() + (f" for {', '.join(whom)}" if whom else "")
    console.print(playlist_table(export, playlist, title))
    for line in facts_in_words(playlist):
        console.print(line, markup=False, highlight=False)


def _others(config: DictConfig) -> dict[str, list[str]]:
    """Returns the ids of `OTHERS`; the start of a journey (`from`) comes before the other contents."""
    found = {name: _ids(config, name, one) for name, one in OTHERS.items()}
    start = raw_text("from", config["from"])
    return found if start is None else found | {"contents": [start, *found["contents"]]}


def _ids(config: DictConfig, several: str, one: str | None = None) -> list[str]:
    """Returns ids or titles from the key for several and the key for one; both are combined."""
    found = [] if one is None or config[one] is None else [raw_text(one, config[one]) or ""]
    return found + (raw_list(several, config[several]) or [])
