"""Checks raw impressions in SQL and keeps the valid rows, one part file for each raw file, in their raw order."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from towers.contract import schema
from towers.contract.events import microseconds_of
from towers.contract.impressions import IMPRESSION_SCHEMA
from towers.data import raw
from towers.data.event_log.rows import Forgotten
from towers.data.event_times import EARLIEST, LATEST
from towers.data.rejecting import DUPLICATE, Losses
from towers.data.row_groups import ROWS, GroupWriter
from towers.data.sources.remote import RawPath
from towers.data.sources.tables import RawTables
from towers.data.tables import Tables
from towers.manifest import same_file

FOLDER, REJECTED = "impressions", "rejected_impressions.parquet"
FORGOTTEN = "forgotten"
"""The reason of the SQL file for rows that leave no trace."""
REJECTED_SCHEMA = pa.schema(
    [*IMPRESSION_SCHEMA, ("filename", pa.string()), ("file_row_number", pa.int64()), ("reason", pa.string())]
)
REJECTED_ROWS = pa.schema([REJECTED_SCHEMA.field(name) for name in ("request_id", "user_id", "reason")])
"""Columns of earlier rejected rows that SQL asks for."""
NEVER = 2**31 - 1
"""A number that no raw file has."""


class Impressions:
    """The impressions of one state of the event log.

    A part depends on its raw file and on files with lower numbers, which may have the same request or slot. So a later
    state links to the parts of the state before and reads new raw files alone; the result is byte for byte what reading
    everything gives.

    Args:
        clean: the database; its table `forgotten` has the listeners (`user_id`) of whom no row may stay.
        tables: the raw files.
        numbers: the number of each raw file of impressions, in order of arrival.
        forgotten: listeners who were forgotten before; their rows in files that had arrived by then are ignored.
        previous: folder of an earlier state whose raw files of impressions are unchanged; null: read everything.
    """

    def __init__(
        self,
        clean: Tables,
        tables: RawTables,
        numbers: Mapping[RawPath, int],
        forgotten: Forgotten,
        previous: Path | None,
    ):
        self._clean = clean
        self._tables = tables
        self._files = {numbers[path]: path for path in tables.files.get(schema.IMPRESSIONS, [])}
        self._forgotten = forgotten
        self._previous = previous

    def write(self, folder: Path) -> Losses:
        """Writes the parts and the rejected rows into the folder of a new state; writes nothing without raw files.

        Memory holds a few row groups, and the numbers of the rejected rows of one file.

        Raises:
            UserError: a file is damaged, or a column is not as the contract says.
        """
        if not self._files:
            return Losses()
        (folder / FOLDER).mkdir(parents=True)
        parts = self._parts_of_before()
        new = {number: self._files[number] for number in sorted(self._files.keys() - parts.keys())}
        reasons: Counter[str] = Counter()
        with GroupWriter(folder / REJECTED, REJECTED_SCHEMA) as left_out:
            if parts:
                reasons += self._carry(parts, folder / FOLDER, left_out)
            if new:
                self._judge(parts, new)
            for number, path in new.items():
                reasons += self._read(number, path, part_path(folder / FOLDER, number), left_out)
        if not left_out.num_rows:
            (folder / REJECTED).unlink()
        kept = sum(pq.read_metadata(part_path(folder / FOLDER, number)).num_rows for number in self._files)
        bad = reasons.total() - reasons[DUPLICATE]
        return Losses(rows=kept + reasons.total(), bad=bad, repeated=reasons[DUPLICATE])

    def _parts_of_before(self) -> dict[int, Path]:
        """Returns the earlier parts by number.

        There are none where a row was rejected because of a row of a listener who has left since: it may be valid now.
        """
        before = None if self._previous is None else self._previous / FOLDER
        found = {} if before is None else {number: part_path(before, number) for number in self._files}
        parts = {number: path for number, path in sorted(found.items()) if path.exists()}
        if not parts:
            return {}
        self._clean.scan("parts_before", [*parts.values()], IMPRESSION_SCHEMA)
        rejected = [] if self._rejected_before is None else [self._rejected_before]
        self._clean.scan("rejected_before", rejected, REJECTED_ROWS, with_places=False)
        self._clean.run("earlier_parts")
        if not rejected or not self._clean.count("forgotten"):
            return parts
        return {} if self._clean.count("stood_behind") else parts

    @property
    def _rejected_before(self) -> Path | None:
        path = None if self._previous is None else self._previous / REJECTED
        return path if path is not None and path.exists() else None

    def _carry(self, parts: Mapping[int, Path], folder: Path, left_out: GroupWriter) -> Counter[str]:
        """Links to earlier parts, and rewrites those with rows of listeners who have left; returns earlier reasons."""
        gone: dict[str, set[str]] = {}
        for row in self._clean.table("gone_from_parts").to_pylist():
            gone.setdefault(row["filename"], set()).add(row["user_id"])
        for number, path in parts.items():
            target = part_path(folder, number)
            if str(path) in gone:
                with GroupWriter(target, IMPRESSION_SCHEMA) as part:
                    for rows in _without(path, gone[str(path)]):
                        part.write(rows)
            else:
                same_file(path, target)
        reasons: Counter[str] = Counter()
        if self._rejected_before is not None:
            for rows in _without(self._rejected_before, self._clean.texts("gone_from_rejected")):
                left_out.write(rows)
                reasons += Counter(rows["reason"].to_pylist())
        return reasons

    def _judge(self, parts: Mapping[int, Path], new: Mapping[int, RawPath]) -> None:
        """Makes the table `left_out_impressions` of rejected rows of new files."""
        clean = self._clean
        self._define(new.values(), "raw_impressions")
        clean.put("impression_files", self._numbered({self._tables.known_as(path): n for n, path in new.items()}))
        bounds = {"earliest_us": [microseconds_of(EARLIEST)], "latest_us": [microseconds_of(LATEST)]}
        clean.put("impression_bounds", {name: pa.array(value, pa.int64()) for name, value in bounds.items()})
        until_file = dict.fromkeys(clean.texts("forgotten"), NEVER)
        if self._forgotten.until_file:
            clean.run("shown_listeners")
            until_file = self._forgotten.among(clean.texts("shown_listeners")) | until_file
        clean.put(
            "unwanted_shown",
            {"user_id": pa.array(until_file, pa.string()), "until_file": pa.array(until_file.values(), pa.int32())},
        )
        clean.put("part_files", self._numbered({str(path): number for number, path in parts.items()}))
        asked: list[str] = []
        if parts:
            clean.run("asked_parts")
            asked = clean.texts("asked_parts", ("filename",))
        clean.scan("parts_named", [*map(Path, asked)], IMPRESSION_SCHEMA)
        clean.run("impressions")

    def _read(self, number: int, path: RawPath, target: Path, left_out: GroupWriter) -> Counter[str]:
        """Writes the part of one new file and its rejected rows; returns their reasons."""
        names, numbers, codes = _Reasons(), [np.zeros(0, np.int64)], [np.zeros(0, np.int8)]
        left = self._clean.batches("left_out_impressions", ("file_row_number",), where={"file": number})
        for batch in left:
            numbers.append(batch["file_row_number"].to_numpy())
            codes.append(names.codes(batch["reason"]))
        out, code = np.concatenate(numbers), np.concatenate(codes)
        reasons: Counter[str] = Counter()
        columns = REJECTED_SCHEMA.remove(REJECTED_SCHEMA.get_field_index("reason"))
        view = f"raw_impressions_of_{number}"
        self._define([path], view)
        read = self._clean.batches(view, ("file_row_number",), ROWS, is_sorted=True)
        with GroupWriter(target, IMPRESSION_SCHEMA) as part:
            for batch in filter(len, read):
                rows = pa.Table.from_batches([batch]).select(columns.names).cast(columns)
                row_numbers = rows["file_row_number"].to_numpy()
                begin, end = np.searchsorted(out, [row_numbers[0], row_numbers[-1] + 1])
                is_out = np.isin(row_numbers, out[begin:end])
                part.write(rows.filter(pa.array(~is_out)).select(IMPRESSION_SCHEMA.names))
                told = pa.array([names.known[each] for each in code[begin:end].tolist()], pa.string())
                rejected = rows.filter(pa.array(is_out)).append_column("reason", told)
                rejected = rejected.filter(pc.field("reason") != FORGOTTEN)
                left_out.write(rejected)
                reasons += Counter(rejected["reason"].to_pylist())
        return reasons

    def _define(self, paths: Iterable[RawPath], name: str) -> None:
        """Makes some of the raw files known, in the contract's types."""
        tables = replace(self._tables, files={schema.IMPRESSIONS: list(paths)})
        self._clean.define(raw.select_raw(tables, schema.IMPRESSIONS, name=name), name)

    @staticmethod
    def _numbered(files: Mapping[str, int]) -> dict[str, pa.Array]:
        return {"filename": pa.array(files, pa.string()), "file": pa.array(files.values(), pa.int32())}


class _Reasons:
    """Reasons as small numbers, since a file may have a million rejected rows and few reasons."""

    def __init__(self) -> None:
        self.known: list[str] = []

    def codes(self, reasons: pa.Array) -> np.ndarray:
        """`[rows]`, int8: the index of each reason in `known`."""
        encoded = reasons.dictionary_encode()
        told = encoded.dictionary.to_pylist()
        self.known += [name for name in told if name not in self.known]
        return np.array([self.known.index(name) for name in told], dtype=np.int8)[encoded.indices.to_numpy()]


def part_path(folder: Path, number: int) -> Path:
    """Returns the path of the part of the raw file with a number."""
    return folder / f"part-{number:06d}.parquet"


def _without(path: Path, user_ids: Collection[str]) -> Iterator[pa.Table]:
    """Reads the rows of a file in order, without those of some listeners."""
    for batch in pq.ParquetFile(path).iter_batches(ROWS):
        rows = pa.Table.from_batches([batch])
        yield rows.filter(~pc.field("user_id").isin(list(user_ids))) if user_ids else rows
