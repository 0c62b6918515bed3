"""Finds listeners in versions of an export, and writes a further version without them. Imports no torch."""

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from towers.data.store import CURRENT, write_arrow
from towers.errors import UserError
from towers.lifecycle.cleaning import remove
from towers.lifecycle.forgetting_rows import about, count_in, is_one_of, places_without, spans_of, write_kept
from towers.lifecycle.replaced import REPLACES
from towers.manifest import atomic_directory, point_to, read_json, same_file, write_json
from towers.publishing.card import model_card
from towers.publishing.describing import canaries_of
from towers.publishing.tables import write_mapped, write_order
from towers.retrieval import files
from towers.retrieval.checksums import digest_line, digests_of_files
from towers.retrieval.export import Export
from towers.retrieval.export_files import FORMAT
from towers.retrieval.files import mapped_array, mapped_table
from towers.retrieval.ids import Ids
from towers.retrieval.verify import problems

OLDEST = 2
"""First format with listeners in files of their own, so that a version without some of them can be made."""
MIN_INDEX_RECALL = 0.0
"""Least recall of the index in the check: none, as the index is the same file as before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What a version of an export holds of some listeners.

    Args:
        folder: the version's folder.
        rows: rows of the listeners.
        num_events: number of their events.
        playlists: content rows of the playlists that they own.
        playlist_ids: raw ids of these playlists.
    """

    folder: Path
    rows: Int[np.ndarray, " gone"]
    num_events: int
    playlists: Int[np.ndarray, " theirs"]
    playlist_ids: tuple[str, ...]

    @property
    def told(self) -> str:
        """Description of what it holds of the listeners; empty where it holds nothing."""
        parts = [
            f"{len(self.rows):,} listeners with vectors and {self.num_events:,} events" if len(self.rows) else "",
            f"{len(self.playlists):,} playlists" if len(self.playlists) else "",
        ]
        return ", ".join(filter(None, parts))


def exported(folder: Path, user_ids: Sequence[str]) -> Exported:
    """Looks for some listeners in a version of an export.

    Raises:
        UserError: the version is damaged.
    """
    export = Export(folder, check_files=False)
    rows = np.flatnonzero(is_one_of(export.users["user_id"], user_ids))
    playlists, playlist_ids, num_events = np.zeros(0, np.int64), [], 0
    if (folder / files.HISTORIES / files.HISTORY_OFFSETS).exists():
        offsets = mapped_array(folder / files.HISTORIES / files.HISTORY_OFFSETS)
        num_events = int((offsets[rows + 1] - offsets[rows]).sum())
    if (folder / files.PLAYLISTS).exists():
        table = mapped_table(folder / files.PLAYLISTS)
        playlists = table["content_row"].to_numpy()[is_one_of(table["owner_id"], user_ids)].astype(np.int64)
        playlist_ids = export.contents["content_id"].take(pa.array(playlists)).to_pylist()
    return Exported(
        folder=folder, rows=rows, num_events=num_events, playlists=playlists, playlist_ids=tuple(playlist_ids)
    )


def finish_replacing(exports: Path, folders: Sequence[Path]) -> None:
    """Completes replacements that a killed process has begun: where a version and its replacement are both there,
    `current` moves to the replacement if it led to the version, and the version is removed."""
    by_name = {folder.name: folder for folder in folders}
    for folder in folders:
        replaced = by_name.get(read_json(folder / files.MANIFEST).get(REPLACES, ""))
        if replaced is not None:
            _hand_over(exports, replaced, folder)


def replace_export(exports: Path, found: Exported, user_ids: Sequence[str]) -> Path:
    """Replaces a version by one without the listeners, moves `current` if it led there, and removes the old one.

    The new version has the old name with a number, the same space, vectors of contents, towers and index, and the old
    one's place in the order of versions. Playlists of the listeners are withdrawn in it.

    Returns:
        The new version's folder.

    Raises:
        UserError: the version's format is not supported, or the new version does not pass `verify`.
    """
    folder = found.folder
    manifest = read_json(folder / files.MANIFEST)
    if manifest["format"] < OLDEST:
        raise UserError(f"{folder}: format {manifest['format']} holds listeners in one file; remove it, or export anew")
    target = _next_name(folder)
    with atomic_directory(target) as temporary:
        _Without(found, user_ids, manifest, temporary, target.name).write()
        faults = list(problems(Export(temporary, check_files=False), MIN_INDEX_RECALL))
        if faults:
            raise UserError(f"{folder}: a version without them would be damaged ({'; '.join(faults)}); export anew")
    _hand_over(exports, folder, target)
    return target


def _hand_over(exports: Path, old: Path, new: Path) -> None:
    current = exports / CURRENT
    if current.exists() and current.resolve() == old.resolve():
        point_to(current, new)
    remove(old, nullcontext())


def _next_name(folder: Path) -> Path:
    """Returns the version's name with the next free number: `NAME-1`, and `NAME-2` after that."""
    stem, dash, number = folder.name.rpartition("-")
    is_numbered = bool(dash) and number.isdecimal() and REPLACES in read_json(folder / files.MANIFEST)
    stem, last = (stem, int(number)) if is_numbered else (folder.name, 0)
    while True:
        last += 1
        target = folder.with_name(f"{stem}-{last}")
        if not target.exists():
            return target


class _Without:
    """Writes one version without some listeners."""

    def __init__(self, found: Exported, user_ids: Sequence[str], manifest: dict[str, Any], target: Path, version: str):
        self._found, self._user_ids, self._manifest = found, user_ids, manifest
        self._source, self._target = found.folder, target
        self._version = version
        self._written: set[str] = {files.MANIFEST, files.MANIFEST_DIGEST}

    def write(self) -> None:
        """Writes all files, the manifest last."""
        if len(self._found.rows):
            self._write_users()
            self._write_histories()
        if len(self._found.playlists):
            self._write_playlists()
        self._written.add(files.MODEL_CARD)
        for name in self._manifest["files"]:
            if name not in self._written:
                same_file(self._source / name, self._target / name)
        self._write_manifest()

    def _new(self, *parts: str) -> Path:
        path = self._target.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._written.add("/".join(parts))
        return path

    def _metadata(self, table: pa.Table) -> dict[str, str]:
        kept = {key.decode(): text.decode() for key, text in (table.schema.metadata or {}).items()}
        return {**kept, "version": self._version}

    def _write_users(self) -> None:
        rows = self._found.rows
        users = mapped_table(self._source / files.USERS)
        is_kept = np.ones(len(users), bool)
        is_kept[rows] = False
        kept = users.filter(pa.array(is_kept))
        write_mapped(self._new(files.USERS), kept, self._metadata(users))
        write_order(self._new(files.USER_ORDER), kept["user_id"])
        write_kept(
            self._source / files.USER_VECTORS, self._new(files.USER_VECTORS), [(row, row + 1) for row in rows.tolist()]
        )
        for path in sorted((self._source / files.USER_EMBEDDINGS).glob("*.parquet")):
            if count_in(path, self._user_ids):
                self._write_part(path)

    def _write_part(self, path: Path) -> None:
        """Writes one part of the listeners' vectors, row group by row group."""
        file = pq.ParquetFile(path)
        schema = file.schema_arrow.with_metadata(self._metadata(file.schema_arrow.empty_table()))
        columns: Any = [name for name in schema.names if name != "embedding"]
        to = self._new(files.USER_EMBEDDINGS, path.name)
        with pq.ParquetWriter(to, schema, use_dictionary=columns, compression="zstd") as writer:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                table = table.filter(pa.array(~about(table, self._user_ids)))
                writer.write_table(table.replace_schema_metadata(schema.metadata))

    def _write_histories(self) -> None:
        folder, rows = self._source / files.HISTORIES, self._found.rows
        offsets = mapped_array(folder / files.HISTORY_OFFSETS)
        spans = spans_of(offsets, rows)
        lists = [(row, row + 1) for row in rows.tolist()]
        kept = np.delete(places_without(np.asarray(offsets), spans), rows)
        np.save(self._new(files.HISTORIES, files.HISTORY_OFFSETS), kept)
        write_kept(folder / files.USER_CODES, self._new(files.HISTORIES, files.USER_CODES), lists)
        events = mapped_table(folder / files.HISTORY_EVENTS)
        ends = [0, *(place for span in spans for place in span), len(events)]
        pieces = [events.slice(first, end - first) for first, end in zip(ends[::2], ends[1::2], strict=True)]
        write_arrow(self._new(files.HISTORIES, files.HISTORY_EVENTS), pa.concat_tables(pieces))

    def _write_playlists(self) -> None:
        """Withdraws the listeners' playlists: their ids alone stay, without owner, since histories may name them."""
        table = mapped_table(self._source / files.PLAYLISTS)
        write_arrow(self._new(files.PLAYLISTS), table.filter(pa.array(~about(table, self._user_ids))).combine_chunks())
        contents = mapped_table(self._source / files.CONTENTS)
        metadata = self._metadata(contents)
        contents = self._withdrawn(contents)
        write_mapped(self._new(files.CONTENTS), contents, metadata)
        pq.write_table(contents.replace_schema_metadata(metadata), self._new(files.CONTENTS_FOR_ENGINES))

    def _withdrawn(self, contents: pa.Table) -> pa.Table:
        is_theirs = np.zeros(len(contents), bool)
        is_theirs[self._found.playlists] = True
        titles = contents["title"].to_pylist()
        for row in self._found.playlists.tolist():
            titles[row] = None
        place = contents.schema.get_field_index("title")
        contents = contents.set_column(place, contents.field("title"), pa.array(titles, pa.string()))
        name = "is_withdrawn"
        if name in contents.column_names:
            before = contents[name].to_numpy()
            return contents.set_column(contents.schema.get_field_index(name), name, pa.array(before | is_theirs))
        return contents.append_column(name, pa.array(is_theirs))

    def _write_manifest(self) -> None:
        manifest, source = self._manifest, self._source
        digests = {name: digest for name, digest in manifest["files"].items() if name not in self._written}
        counts = dict(manifest["counts"])
        counts["users"] -= len(self._found.rows)
        counts["events"] -= self._found.num_events
        manifest = {**manifest, "version": self._version, REPLACES: source.name, "counts": counts}
        if len(self._found.rows):
            users = mapped_table(self._target / files.USERS)
            vectors = mapped_array(self._target / files.USER_VECTORS)
            manifest["user_canaries"] = canaries_of("user_id", Ids.of(users["user_id"]), vectors)
        if manifest["format"] == FORMAT:  # the cards of older formats state things that their manifests lack
            (self._target / files.MODEL_CARD).write_text(model_card(manifest))
        elif (source / files.MODEL_CARD).exists():
            same_file(source / files.MODEL_CARD, self._target / files.MODEL_CARD)
        made = [name for name in (*sorted(self._written),) if (self._target / name).exists()]
        manifest["files"] = {name: digests.get(name, "") for name in manifest["files"]}
        manifest["files"] |= digests_of_files(self._target, [name for name in made if name in manifest["files"]])
        write_json(self._target / files.MANIFEST, manifest)
        (self._target / files.MANIFEST_DIGEST).write_text(digest_line(self._target))
        was = (source / files.MANIFEST).stat()
        os.utime(self._target / files.MANIFEST, ns=(was.st_atime_ns, was.st_mtime_ns))


def versions_in(exports: Path) -> Iterator[Path]:
    """Finds the folders of an export's versions, without links, in order of their names."""
    for path in sorted(exports.glob(f"[!.]*/{files.MANIFEST}")):
        if not path.parent.is_symlink() and "space_id" in read_json(path):
            yield path.parent
