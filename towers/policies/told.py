"""A list for people and programs: titles, artists and reasons in words instead of rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table
from rich.text import Text

from towers.manifest import atomic_file
from towers.policies.asking import POOL_ENDINGS
from towers.policies.playlist import Playlist, Reason
from towers.policies.playlists.proposal import write_proposal
from towers.policies.reasons import in_words
from towers.retrieval.export import Export
from towers.retrieval.show import title_card

SCHEMA = pa.schema(
    {"user_id": pa.string(), "rank": pa.int32(), "content_id": pa.string(), "score": pa.float32(),
     "reason": pa.string(), "because": pa.string()}
)  # fmt: skip
"""Columns of lists as tables: the listener (null for none or several), the rank from 1, and the reason by its name,
with the id of what it refers to (null for nothing)."""
OF_PLACES = ("shares", "because")
"""Facts with an entry for each place, and in it one for each member; they are output with the places."""


def told(export: Export, playlist: Playlist) -> dict[str, Any]:
    """Returns a list with its reasons as JSON values.

    Returns:
        `items`, in order: `title`, `artists`, `kind`, `genres`, `content_id`, `score` (comparable within the list),
        `reason` in words, `reason_kind` (a name of `reasons.WORDS`) and `because`, the id that it refers to (null for
        none); for a blend also `shares` and `reasons` by member. `remark`: why it is shorter than requested, or what
        else its maker should know. `facts`: figures of the whole list, such as `match` of a blend.
    """
    names = ("title", "artists", "kind", "genres", "content_id")
    reasons = playlist.reasons or (None,) * len(playlist)
    items = [
        {**dict(zip(names, title_card(export, row), strict=True)), "score": score, **_reason(export, reason)}
        for row, score, reason in zip(playlist.rows.tolist(), playlist.scores.tolist(), reasons, strict=True)
    ]
    facts = dict(playlist.facts)
    if all(name in facts for name in OF_PLACES):
        shares, because = (facts.pop(name) for name in OF_PLACES)
        for item, share, reason in zip(items, shares.tolist(), because, strict=True):
            words = [None if one is None else in_words(export, one) for one in reason]
            item["shares"] = dict(zip(facts["members"], share, strict=True))
            item["reasons"] = dict(zip(facts["members"], words, strict=True))
    return {"items": items, "remark": playlist.remark, "facts": facts}


def playlist_table(export: Export, playlist: Playlist, title: str) -> Table | Text:
    """Returns the list as a table for a terminal; a line of text if it is empty."""
    if not len(playlist):
        return Text(f"{title}: nothing")
    items = told(export, playlist)["items"]
    members = list(items[0].get("shares", ()))
    table = Table(title=Text(title), title_justify="left")
    for column in ("#", "score"):
        table.add_column(column, justify="right")
    for column in ("title", "artists", "kind", "id", "why"):
        table.add_column(column, overflow="fold")
    for member in members:
        table.add_column(Text(f"for {member}"), justify="right")
    for rank, item in enumerate(items, start=1):
        cells = [Text(item[name] or "") for name in ("title", "artists", "kind", "content_id", "reason")]
        shares = [f"{100 * item['shares'][member]:.0f} %" for member in members]
        table.add_row(str(rank), f"{item['score']:.3f}", *cells, *shares)
    return table


def facts_in_words(playlist: Playlist) -> list[str]:
    """Returns the remark and the facts of a list, one line each."""
    facts, lines = playlist.facts, [playlist.remark] if playlist.remark else []
    if "match" in facts:
        match = facts["match"]
        lines.append("taste match: not known" if match is None else f"taste match: {match:.0f} %")
    if "new" in facts:
        lines.append(f"{facts['new']} of {len(playlist)} are new")
    if facts.get("region"):
        lines.append(f"leads to the region {facts['region']}")
    for name, words in (("by_audience", "by audience"), ("by_ear", "by ear")):
        steps = [step for step in facts.get(name, ()) if step is not None]
        if steps:
            mean, most = sum(steps) / len(steps), max(steps)
            lines.append(f"steps {words}: {mean:.2f} in the mean, {most:.2f} at most, of what random pieces are apart")
    return lines


def table_of(export: Export, playlists: Sequence[Playlist], user_ids: Sequence[str | None]) -> pa.Table:
    """Concatenates lists to a table of `SCHEMA`, for a file; a null id is a list without a listener."""
    counts = [len(playlist) for playlist in playlists]
    reasons = [one for each in playlists for one in each.reasons or (None,) * len(each)]
    because = np.array([-1 if reason is None else reason.because for reason in reasons], np.int64)
    content_ids, empty = export.contents["content_id"], np.zeros(0)
    rows = np.concatenate([empty, *(each.rows for each in playlists)])
    columns = {
        "user_id": pa.array(np.repeat(np.array([*user_ids], object), counts), pa.string()),
        "rank": np.concatenate([empty, *(np.arange(1, count + 1) for count in counts)]).astype(np.int32),
        "content_id": content_ids.take(pa.array(rows.astype(np.int64))),
        "score": np.concatenate([empty, *(each.scores for each in playlists)]).astype(np.float32),
        "reason": pa.array([None if reason is None else reason.kind for reason in reasons], pa.string()),
        "because": content_ids.take(pa.array(because, pa.int64(), mask=because < 0)),
    }
    return pa.table(columns, SCHEMA)


def write_list(export: Export, playlist: Playlist, user_id: str | None, path: Path) -> None:
    """Writes one list: as an editor's pool where the file's suffix is that of YAML, else as Parquet with the columns of
    `SCHEMA`."""
    if path.suffix in POOL_ENDINGS:
        write_proposal(export, playlist, path)
        return
    with atomic_file(path) as temporary:
        pq.write_table(table_of(export, [playlist], [user_id]), temporary)


def _reason(export: Export, reason: Reason | None) -> dict[str, Any]:
    return {
        "reason": None if reason is None else in_words(export, reason),
        "reason_kind": None if reason is None else reason.kind,
        "because": _because(export, reason),
    }


def _because(export: Export, reason: Reason | None) -> str | None:
    return None if reason is None or reason.because < 0 else export.content_ids[reason.because]
