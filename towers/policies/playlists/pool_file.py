"""An editor's pool as YAML, or as the same mapping from elsewhere; and pools from an editor's playlists.

```yaml
title: New folk
contents: [t17, t4, t96]          # ids in the editor's order
k: 30                             # contents in a list
order: free                       # or kept: a list keeps the editor's order
pins: [{place: 1, content: t4}]
quotas:                           # each of one group: a genre, an artist, a kind, or contents
  - {genre: folk, minimum: 5}
  - {artist: a7, maximum: 2}
window: {from: 2026-07-01, until: 2026-07-31}
floor: 0.75                       # of the attention each content would get if all got the same
```
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from towers.contract import schema
from towers.errors import UserError
from towers.features.text import id_text
from towers.manifest import atomic_file
from towers.policies.playlists.pool import Pin, Pool, Quota
from towers.retrieval.export import Export

KEYS = ("title", "contents", "k", "order", "pins", "quotas", "window", "floor")
ORDERS = ("free", "kept")
GROUPS = ("genre", "artist", "kind", "contents")


class _Text(str):
    """A scalar of a file, with its line number."""

    line: int


class _Loader(yaml.BaseLoader):
    """A loader that reads every scalar as text, so that an id such as 007 is not changed."""

    def construct_scalar(self, node: yaml.ScalarNode) -> str:
        text = _Text(super().construct_scalar(node))
        text.line = node.start_mark.line + 1
        return text

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for at, key in enumerate(keys):
            if key in keys[:at]:
                earlier = keys[keys.index(key)]
                raise UserError(f"line {key.line}: {key} is already in line {earlier.line}")
        return super().construct_mapping(node, deep)


def read_pool(export: Export, path: Path) -> Pool:
    """Reads the pool of a file.

    Raises:
        UserError: there is no such file, or it is not YAML; or a key, id or rule is invalid, with its line if it has
            one.
    """
    try:
        told = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return pool_of(export, told, str(path))


def pool_of(export: Export, told: Any, name: str) -> Pool:
    """Builds the pool of a mapping with keys of `KEYS`, of which `contents` is required.

    Args:
        export: export of the contents.
        told: the mapping, as `read_pool` reads it from a file; numbers, dates and ids may be text.
        name: name of the pool in messages.

    Raises:
        UserError: as `read_pool`.
    """
    _check_keys(told, KEYS, name)
    content_ids = tuple(_text(each, f"{name}: contents") for each in _list(told.get("contents"), f"{name}: contents"))
    rows = _rows(export, told.get("contents") or (), content_ids, name)
    order = _text(told.get("order", "free"), f"{name}: order")
    if order not in ORDERS:
        raise UserError(f"{name}: order={order}: must be one of {', '.join(ORDERS)}")
    window = told.get("window") or {}
    _check_keys(window, ("from", "until"), f"{name}: window")
    return Pool(
        name=name,
        title=_text(told.get("title", ""), f"{name}: title"),
        content_ids=content_ids,
        rows=rows,
        k=_whole(told.get("k", 30), f"{name}: k"),
        keeps_order=order == "kept",
        pins=tuple(_pin(each, f"{name}: pins") for each in _list(told.get("pins"), f"{name}: pins")),
        quotas=tuple(
            _quota(export, each, content_ids, rows, f"{name}: quotas")
            for each in _list(told.get("quotas"), f"{name}: quotas")
        ),
        valid_from=_day(window.get("from"), f"{name}: window: from"),
        valid_until=_day(window.get("until"), f"{name}: window: until"),
        floor=_share(told.get("floor", 0), f"{name}: floor"),
    )


def told_of(pool: Pool) -> dict[str, Any]:
    """Returns the mapping from which `pool_of` builds the pool again."""
    told: dict[str, Any] = {"title": pool.title, "contents": list(pool.content_ids), "k": pool.k}
    told["order"] = ORDERS[pool.keeps_order]
    if pool.pins:
        told["pins"] = [{"place": pin.place, "content": pin.content_id} for pin in pool.pins]
    if pool.quotas:
        told["quotas"] = [_told_of_quota(quota) for quota in pool.quotas]
    window = {"from": pool.valid_from, "until": pool.valid_until}
    if any(window.values()):
        told["window"] = {key: day.isoformat() for key, day in window.items() if day}
    return told | {"floor": pool.floor}


def write_pool(pool: Pool, path: Path, notes: Mapping[str, str] | None = None) -> None:
    """Writes the pool as YAML, atomically, for an editor to change.

    Args:
        pool: pool to write.
        path: path of the file.
        notes: comment beside each content, by content id.
    """
    told, notes = told_of(pool), notes or {}
    contents = told.pop("contents")
    lines = [_yaml({"title": told.pop("title")}), "contents:\n"]
    for content_id in contents:
        item = _yaml([content_id]).rstrip("\n")
        note = " ".join(notes.get(content_id, "").split())
        lines.append(f"{item}{'  # ' + note if note else ''}\n")
    lines.append(_yaml(told))
    with atomic_file(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def _yaml(value: Any) -> str:
    """Returns YAML with one line for each value, so that a comment can follow."""
    return yaml.safe_dump(value, allow_unicode=True, sort_keys=False, default_flow_style=False, width=1 << 20)


def pools_of_editors(
    export: Export, rules: Mapping[str, Any] | None = None, playlists: Iterable[Mapping[str, Any]] | None = None
) -> list[Pool]:
    """Returns a pool for each playlist of an editor (`curator` is `editor`), all with the same rules.

    Args:
        export: export of the contents.
        rules: keys of `KEYS` except `contents`.
        playlists: rows of the contract's table: `playlist_id`, `title`, `curator`, `content_ids`; null: those of the
            export, without contents that it does not have.

    Raises:
        UserError: as `pool_of`.
    """
    return [
        pool_of(
            export,
            {"title": row.get("title") or "", **(rules or {}), "contents": list(row["content_ids"] or ())},
            f"playlist {row['playlist_id']}",
        )
        for row in (_editors_rows(export) if playlists is None else playlists)
        if row.get("curator") == "editor"
    ]


def _editors_rows(export: Export) -> Iterator[dict[str, Any]]:
    playlists, is_withdrawn = export.playlists, export.is_withdrawn
    for place in np.flatnonzero(playlists.curator == "editor").tolist():
        row, members = int(playlists.content_row[place]), playlists.members[place]
        members = members if is_withdrawn is None else members[~is_withdrawn[members]]
        known = dict.fromkeys(export.content_ids[member] for member in members.tolist() if member >= 0)
        told = {"playlist_id": export.content_ids[row], "title": export.contents["title"][row].as_py()}
        yield told | {"curator": "editor", "content_ids": list(known)}


def _rows(export: Export, told: Sequence[Any], content_ids: Sequence[str], name: str) -> np.ndarray:
    rows = np.array([export.content_ids.get(content_id, -1) for content_id in content_ids], np.int64)
    playable = export.catalogue.of_kinds(schema.PLAYABLE_KINDS)
    for place, (content_id, row) in enumerate(zip(content_ids, rows.tolist(), strict=True)):
        where = f"line {told[place].line}" if isinstance(told[place], _Text) else f"row {place + 1}"
        if row < 0:
            raise UserError(f"{name}: {where}: contents: {content_id!r} is not in version {export.version}")
        if not playable[row]:
            raise UserError(f"{name}: {where}: contents: {content_id!r} cannot be played, {export.unplayable(row)}")
    return rows


def _pin(told: Any, where: str) -> Pin:
    _check_keys(told, ("place", "content"), where, all_of_them=True)
    return Pin(place=_whole(told["place"], f"{where}: place"), content_id=_text(told["content"], f"{where}: content"))


def _quota(export: Export, told: Any, content_ids: Sequence[str], rows: np.ndarray, where: str) -> Quota:
    _check_keys(told, (*GROUPS, "minimum", "maximum"), where)
    named = [by for by in GROUPS if by in told]
    if len(named) != 1:
        raise UserError(f"{where}: name one of {', '.join(GROUPS)}{', not ' + ' and '.join(named) if named else ''}")
    by = named[0]
    if by == "contents":
        of = tuple(_text(each, f"{where}: contents") for each in _list(told[by], f"{where}: contents"))
        members = set(of)
    else:
        of = _text(told[by], f"{where}: {by}")
        members = {
            content_id
            for content_id, row in zip(content_ids, rows.tolist(), strict=True)
            if of in _values(export, by, row)
        }
    unknown = sorted(members - set(content_ids))
    if unknown:
        raise UserError(f"{where}: {unknown[0]!r} is not among the contents")
    found = {key: _whole(told[key], f"{where}: {key}") for key in ("minimum", "maximum") if told.get(key) is not None}
    if not found:
        raise UserError(f"{where}: {by} {of}: give a minimum or a maximum")
    return Quota(by=by, of=of, members=frozenset(members), **found)


def _values(export: Export, by: str, row: int) -> Sequence[str]:
    if by == "kind":
        return (schema.KINDS[export.kinds[row]],)
    return export.contents["genres" if by == "genre" else "artist_ids"][int(row)].as_py() or ()


def _told_of_quota(quota: Quota) -> dict[str, Any]:
    of = quota.of if isinstance(quota.of, str) else list(quota.of)
    told = {quota.by: of, "minimum": quota.minimum or None, "maximum": quota.maximum}
    return {key: value for key, value in told.items() if value is not None}


def _check_keys(told: Any, keys: Sequence[str], where: str, all_of_them: bool = False) -> None:
    if not isinstance(told, Mapping):
        raise UserError(f"{where}: must have the keys {', '.join(keys)}, got {told!r}")
    unknown = [key for key in told if key not in keys]
    if unknown:
        raise UserError(f"{where}: {unknown[0]}: no such key; there are {', '.join(keys)}")
    missing = [key for key in keys if key not in told]
    if all_of_them and missing:
        raise UserError(f"{where}: {missing[0]} is missing")


def _list(told: Any, where: str) -> Sequence[Any]:
    if told is None or told == "":
        return ()
    if isinstance(told, str) or not isinstance(told, Sequence):
        raise UserError(f"{where}: must be a list, got {told!r}")
    return told


def _text(told: Any, where: str) -> str:
    try:
        return id_text(told)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _whole(told: Any, where: str) -> int:
    try:
        number = int(_text(told, where))
    except ValueError:
        raise UserError(f"{where}={told}: must be a whole number") from None
    if number < 0:
        raise UserError(f"{where}={told}: must be 0 or more")
    return number


def _share(told: Any, where: str) -> float:
    try:
        return float(told)
    except (TypeError, ValueError):
        raise UserError(f"{where}={told}: must be a number") from None


def _day(told: Any, where: str) -> date | None:
    if told is None or isinstance(told, date):
        return told
    try:
        return date.fromisoformat(told)
    except (TypeError, ValueError):
        raise UserError(f"{where}={told}: must be a day such as 2026-07-01") from None
