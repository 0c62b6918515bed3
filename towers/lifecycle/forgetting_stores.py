"""Finds listeners in versions of prepared stores, and replaces versions by copies with holes in their place."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from towers.data.build import LOCK
from towers.data.histories import HISTORY_COLUMNS, PLACES
from towers.data.refreshed import refreshed_fingerprint
from towers.data.store import write_arrow, write_ragged
from towers.errors import UserError
from towers.features.ragged import Ragged
from towers.lifecycle.forgetting_rows import (
    about,
    blanked,
    count_in,
    drop_rows,
    is_one_of,
    places_without,
    spans_of,
    write_kept,
)
from towers.lifecycle.inventory import REMOVED
from towers.manifest import alone, flush_folder, read_json, same_file, scratch_directory, write_json
from towers.retrieval.files import MANIFEST, mapped_table

SWAPPED = ".without"
"""Suffix of the hidden name of a version that is complete and about to replace the one with the listeners."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a version of a store holds of some listeners.

    Args:
        folder: the version's folder.
        rows: rows of the listeners.
        num_events: number of their events.
        playlists: content rows of the playlists that they own.
        playlist_ids: raw ids of these playlists.
        tables: Parquet files below the folder with rows about them, such as rejected rows.
        remarks: lines of the manifest that name them.
    """

    folder: Path
    rows: Int[np.ndarray, " gone"]
    num_events: int
    playlists: Int[np.ndarray, " theirs"]
    playlist_ids: tuple[str, ...]
    tables: tuple[Path, ...]
    remarks: tuple[str, ...]

    @property
    def told(self) -> str:
        """Description of what it holds of the listeners; empty where it holds nothing."""
        parts = [
            f"{len(self.rows):,} in users.arrow with {self.num_events:,} events" if len(self.rows) else "",
            f"{len(self.playlists):,} playlists" if len(self.playlists) else "",
            *(f"rows of {path.relative_to(self.folder)}" for path in self.tables),
            "a remark in the manifest" if self.remarks else "",
        ]
        return ", ".join(filter(None, parts))


def versions_in(stores: Path) -> list[Path]:
    """Finds the folders of all versions of all data sets, each data set's in order of their names."""
    found = (path.parent for path in stores.glob(f"[!.]*/[!.]*/{MANIFEST}") if not path.parent.is_symlink())
    return sorted(path for path in found if "fingerprint" in read_json(path / MANIFEST))


def held(folder: Path, user_ids: Sequence[str]) -> Held:
    """Looks for some listeners in a version of a store.

    Raises:
        UserError: a table cannot be read.
    """
    users = mapped_table(folder / "users.arrow")
    rows = np.flatnonzero(is_one_of(users["user_id"], user_ids))
    offsets = np.load(folder / "histories" / "offsets.npy", mmap_mode="r")
    playlists, playlist_ids = np.zeros(0, np.int64), ()
    if (folder / "playlists.arrow").exists():
        table = mapped_table(folder / "playlists.arrow")
        playlists = table["content_row"].to_numpy()[is_one_of(table["owner_id"], user_ids)].astype(np.int64)
        playlist_ids = tuple(
            mapped_table(folder / "contents.arrow")["content_id"].take(pa.array(playlists)).to_pylist()
        )
    tables = (path for path in sorted(folder.rglob("*.parquet")) if count_in(path, user_ids, set(rows.tolist())))
    remarks = (line for line in read_json(folder / MANIFEST).get("remarks", []) if any(one in line for one in user_ids))
    return Held(
        folder=folder,
        rows=rows,
        num_events=int((offsets[rows + 1] - offsets[rows]).sum()),
        playlists=playlists,
        playlist_ids=tuple(filter(None, playlist_ids)),
        tables=tuple(tables),
        remarks=tuple(remarks),
    )


def rows_by_fingerprint(found: Sequence[Held]) -> dict[str, set[int]]:
    """Returns the listeners' rows by each fingerprint that an evaluation may name: a store's, or that of a later
    store as a network of an earlier one reads it, which has the later store's rows."""
    rows = {one.folder.name: set(one.rows.tolist()) for one in found}
    both = {refreshed_fingerprint(trained, today): rows[today] for trained, today in product(rows, rows)}
    return {name: gone for name, gone in {**both, **rows}.items() if gone}


def finish_swaps(stores: Path) -> None:
    """Completes replacements that a killed process has begun: the version with holes gets its name and the
    old one goes."""
    for whole in stores.glob(f"*/.*{SWAPPED}"):
        target = _target_of(whole)
        if target.exists():  # killed before the swap: made anew, as other listeners may be named now
            shutil.rmtree(whole)
        else:
            whole.rename(target)
    for gone in stores.glob(f"*/.*{REMOVED}"):
        shutil.rmtree(gone, ignore_errors=True)


def replace_version(found: Held, user_ids: Sequence[str]) -> None:
    """Replaces a version of a store by the same version with holes instead of listeners and their playlists.

    Its name, fingerprint and rows stay, so that runs and exports that came from it find it. A hole has null in every
    column, no events and no features; counts of others' events stay. Readers that have the old files open may go on.

    A kill leaves the version as it was or, between two renames, under a hidden name that `finish_swaps` knows.
    """
    folder = found.folder
    whole = folder.with_name(f".{folder.name}{SWAPPED}")
    with scratch_directory(folder) as temporary:
        _write_without(found, user_ids, temporary)
        shutil.copystat(folder, temporary)  # keeps the order of versions by time
        flush_folder(temporary)
        temporary.rename(whole)
    hidden = folder.with_name(f".{folder.name}{REMOVED}")
    with alone(folder.parent / LOCK, _wait):  # no prepare looks for the version meanwhile
        folder.rename(hidden)
        whole.rename(folder)
    shutil.rmtree(hidden)


def _wait() -> None:
    """Prints nothing while it waits for a running prepare."""


def _target_of(whole: Path) -> Path:
    return whole.with_name(whole.name[1 : -len(SWAPPED)])


def _write_without(found: Held, user_ids: Sequence[str], target: Path) -> None:
    folder = found.folder
    changed = {"users.arrow", "user_codes.npy", MANIFEST, *(str(path.relative_to(folder)) for path in found.tables)}
    if len(found.playlists):
        changed |= {"contents.arrow", "playlists.arrow", "members.offsets.npy", "members.values.npy"}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder)
        if str(name) not in changed and name.parts[0] != "histories":
            same_file(path, target / name)
    users = mapped_table(folder / "users.arrow")
    write_arrow(target / "users.arrow", blanked(users, found.rows, is_ours=False))
    codes = np.load(folder / "user_codes.npy")
    codes[found.rows] = 0
    np.save(target / "user_codes.npy", codes)
    _write_histories(folder / "histories", target / "histories", found.rows)
    if len(found.playlists):
        _write_playlists(found, user_ids, target)
    for path in found.tables:
        copy = target / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
        drop_rows(copy, user_ids, set(found.rows.tolist()))
    _write_manifest(found, target)


def _write_histories(folder: Path, target: Path, rows: Int[np.ndarray, " gone"]) -> None:
    """Writes the columns without the listeners' events, and moves places in them accordingly."""
    target.mkdir()
    offsets = np.load(folder / "offsets.npy")
    spans = spans_of(offsets, rows)
    for path in sorted(folder.glob("*.npy")):
        if path.stem in PLACES:  # older stores have fewer
            np.save(target / path.name, places_without(np.load(path), spans))
        elif path.stem in HISTORY_COLUMNS:
            write_kept(path, target / path.name, spans)
        else:
            raise UserError(f"{path}: not known here; bring Towers up to date, or prepare anew")


def _write_playlists(found: Held, user_ids: Sequence[str], target: Path) -> None:
    """Writes the listeners' playlists as holes among the contents, without members."""
    folder = found.folder
    write_arrow(target / "contents.arrow", blanked(mapped_table(folder / "contents.arrow"), found.playlists))
    playlists = mapped_table(folder / "playlists.arrow")
    write_arrow(target / "playlists.arrow", playlists.filter(pa.array(~about(playlists, user_ids))))
    offsets, values = (np.load(folder / f"members.{name}.npy") for name in ("offsets", "values"))
    is_kept = np.ones(len(values), bool)
    for first, end in spans_of(offsets, found.playlists):
        is_kept[first:end] = False
    write_ragged(target / "members", Ragged(offsets, values).where(is_kept))


def _write_manifest(found: Held, target: Path) -> None:
    manifest: dict[str, Any] = read_json(found.folder / MANIFEST)
    counts, histories = manifest.get("counts", {}), found.folder / "histories"
    offsets = np.load(histories / "offsets.npy", mmap_mode="r")
    is_positive = np.load(histories / "is_positive.npy", mmap_mode="r")
    positives = sum(int(is_positive[first:end].sum()) for first, end in spans_of(offsets, found.rows))
    less = {"events": found.num_events, "positives": positives, "users": len(found.rows)}
    less["contents"] = len(found.playlists)
    counts = {name: count - less.get(name, 0) for name, count in counts.items()}
    counts["forgotten_users"] = counts.get("forgotten_users", 0) + len(found.rows)
    remarks = [line for line in manifest.get("remarks", []) if line not in found.remarks]
    write_json(target / MANIFEST, {**manifest, "counts": counts, "remarks": remarks})
    shutil.copystat(found.folder / MANIFEST, target / MANIFEST)
