"""Makes stores as later versions may be: with holes in the rows of contents and listeners, and withdrawn contents."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from towers.data.histories import PLACES
from towers.data.store import Store, write_arrow, write_ragged
from towers.features.ragged import Ragged
from towers.manifest import point_to, write_json

HOLES = (0, 3, -1)
"""Rows of the new store that are holes; the last one is its last row."""
COUNTS = ("train_positives", "train_plays", "train_events")


def with_holes(
    store: Store, root: Path, *, contents: Sequence[int] = HOLES, users: Sequence[int] = HOLES, withdrawn: Sequence[str]
) -> Store:
    """Writes a version of a store with holes and withdrawn contents, as the current one of `root`.

    Args:
        store: the store to copy; it stays as it is.
        root: folder of the versions; sounds are linked.
        contents: content rows of the new store that are holes; negative ones count from its end.
        users: user rows of the new store that are holes; negative ones count from its end.
        withdrawn: ids of contents that are withdrawn.
    """
    name = f"{store.fingerprint}-holes"
    folder = root / name
    shutil.copytree(store.folder, folder)
    if not (root / "spectrograms").exists() and (store.folder.parent / "spectrograms").exists():
        (root / "spectrograms").symlink_to((store.folder.parent / "spectrograms").resolve())
    write_json(folder / "manifest.json", {**store.manifest, "fingerprint": name})
    point_to(root / "current", folder)
    old_content, new_content = _rows(len(store.contents), contents)
    old_user, _ = _rows(len(store.users), users)

    is_withdrawn = np.isin(store.content_ids, withdrawn)
    at = store.contents.column_names.index("is_withdrawn")
    table = store.contents.set_column(at, "is_withdrawn", pa.array(is_withdrawn))
    for at, field in enumerate(table.schema):
        if field.name not in ("content_id", "kind", "is_withdrawn", *COUNTS):
            known = pc.call_function(
                "if_else", [pa.array(~is_withdrawn), table[field.name], pa.scalar(None, field.type)]
            )
            table = table.set_column(at, field, known)
    table = _taken(table, old_content)
    for column in ("is_withdrawn", *COUNTS):
        at = table.column_names.index(column)
        table = table.set_column(at, column, table[column].fill_null(False if column == "is_withdrawn" else 0))
    write_arrow(folder / "contents.arrow", table.combine_chunks())
    for part, codes in store.content_codes.items():
        kept = codes.where(~is_withdrawn[codes.list_of_value] | (part == "kind"))
        write_ragged(folder / "codes" / part, _lists(kept, old_content))
    members = Ragged(*(np.load(store.folder / f"members.{part}.npy") for part in ("offsets", "values")))
    write_ragged(folder / "members", _lists(Ragged(members.offsets, new_content[members.values]), old_content))
    playlists = store.playlists.to_pylist()
    for playlist in playlists:
        playlist["content_row"] = int(new_content[playlist["content_row"]])
        playlist["member_rows"] = new_content[playlist["member_rows"]].tolist()
    write_arrow(folder / "playlists.arrow", pa.Table.from_pylist(playlists, store.playlists.schema))

    write_arrow(folder / "users.arrow", _taken(store.users, old_user).combine_chunks())
    np.save(
        folder / "user_codes.npy", np.append(store.user_codes, np.zeros_like(store.user_codes[:1]), axis=0)[old_user]
    )
    histories = store.histories
    np.save(folder / "histories" / "content_row.npy", new_content.astype(np.int32)[histories.content_row])
    lengths = np.append(np.diff(histories.offsets), 0)[old_user]
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    np.save(folder / "histories" / "offsets.npy", offsets)
    for place in PLACES[1:]:
        events = np.append(getattr(histories, place) - histories.offsets[:-1], 0)[old_user]
        np.save(folder / "histories" / f"{place}.npy", offsets[:-1] + events)
    return Store(folder)


def _rows(number: int, holes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the old row of each new one (-1 for a hole), and the new row of each old one, with -1 as a last entry."""
    total = number + len(holes)
    living = np.setdiff1d(np.arange(total), np.arange(total)[list(holes)])
    old = np.full(total, -1)
    old[living] = np.arange(number)
    return old, np.append(living, -1)


def _taken(table: pa.Table, old: np.ndarray) -> pa.Table:
    return table.take(pa.array(old, mask=old < 0))


def _lists(lists: Ragged, old: np.ndarray) -> Ragged:
    """Moves lists to their new rows; holes have empty ones."""
    return Ragged(np.append(lists.offsets, lists.offsets[-1]), lists.values).take(np.where(old < 0, len(lists), old))
