"""Raw impressions into a store: checked in SQL, and kept in a part a raw file, in the order in which they were told."""

import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from towers.contract import schema
from towers.contract.events import microseconds_of
from towers.contract.impressions import IMPRESSION_SCHEMA
from towers.data import raw
from towers.data.event_times import EARLIEST, LATEST
from towers.data.reading import reading
from towers.data.row_groups import ROWS, GroupWriter
from towers.data.sources.tables import RawTables

SQL = Path(__file__).parent / "sql" / "impressions.sql"
FOLDER, REJECTED = "impressions", "rejected/impressions.parquet"
"""Where they stand in a version of a store."""
FORGOTTEN, OF_ANOTHER = "forgotten", "request_id is in another row, with another user_id"
"""Reasons of the SQL file that decide more than one row."""
REJECTED_SCHEMA = pa.schema(
    [*IMPRESSION_SCHEMA, ("filename", pa.string()), ("file_row_number", pa.int64()), ("reason", pa.string())]
)
_COLUMNS = ", ".join(IMPRESSION_SCHEMA.names)


class Impressions:
    """What was shown, of one version of a store.

    A part depends on its raw file and, for what was told of a request or a slot before, on files with lower numbers. So
    a later version links to the parts of the version before and reads new raw files alone; both are byte for byte what
    reading everything gives.

    Args:
        connection: of a database whose table `unwanted` says of which listeners (`user_id`) nothing is read from files
            with a number below `until_file`.
        tables: the raw files.
        numbers: lasting number of each raw file of impressions.
        previous: an earlier version of the store, whose raw files of impressions are as they were; null: there is none.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        tables: RawTables,
        numbers: Mapping[Path, int],
        previous: Path | None,
    ):
        self._connection = connection
        self._tables = tables
        self._files = {numbers[path]: path for path in tables.files.get(schema.IMPRESSIONS, [])}
        self._previous = previous

    def write(self, version: Path) -> Counter[str]:
        """Writes the parts, and the rows that are left out beside other tables', into the folder of a new version.

        At once it holds a few row groups, and the numbers of those rows of one file that are left out.

        Returns:
            How many rows were kept (under the empty text), and left out for each reason.

        Raises:
            UserError: a file is damaged, or a column is not as the contract says.
        """
        counts: Counter[str] = Counter()
        if not self._files:
            return counts
        (version / FOLDER).mkdir(parents=True)
        rejected = version / REJECTED
        rejected.parent.mkdir(exist_ok=True)
        parts = self._parts_of_before()
        new = {number: self._files[number] for number in sorted(self._files.keys() - parts.keys())}
        with GroupWriter(rejected, REJECTED_SCHEMA) as left_out:
            counts += self._carry(parts, version / FOLDER, left_out)
            self._judge(parts, new)
            for number, path in new.items():
                counts += self._read(number, path, part_path(version / FOLDER, number), left_out)
        if not left_out.num_rows:
            rejected.unlink()
        return counts

    def _parts_of_before(self) -> dict[int, Path]:
        """Parts of before by number, and the table `gone` of listeners who have left since.

        None, where somebody's rows were left out for those of somebody who has left: they may stand now.
        """
        before = None if self._previous is None else self._previous / FOLDER
        found = {} if before is None else {number: part_path(before, number) for number in self._files}
        parts = {number: path for number, path in sorted(found.items()) if path.exists()}
        self._put("part_files", list(map(str, parts.values())), list(parts))
        self._run(
            "CREATE TABLE gone AS SELECT unwanted.user_id FROM unwanted WHERE until_file > "
            "(SELECT COALESCE(MAX(file), 2147483647) FROM part_files)"
        )
        if not parts or not self._rejected_before or not self._count("SELECT COUNT(*) FROM gone"):
            return parts
        has_stood_behind = self._count(
            f"SELECT COUNT(*) FROM read_parquet({_listed([self._rejected_before])}) AS rejected "
            f"WHERE reason = '{OF_ANOTHER}' AND user_id NOT IN (SELECT user_id FROM gone) AND request_id IN ("
            f"SELECT request_id FROM read_parquet({_listed(parts.values())}) INNER JOIN gone USING (user_id))"
        )
        return {} if has_stood_behind else parts

    @property
    def _rejected_before(self) -> Path | None:
        path = None if self._previous is None else self._previous / REJECTED
        return path if path is not None and path.exists() else None

    def _carry(self, parts: Mapping[int, Path], folder: Path, left_out: GroupWriter) -> Counter[str]:
        """Links to parts of before, and writes anew those of which a listener has left."""
        counts: Counter[str] = Counter()
        if not parts:
            return counts
        gone = self._gone_from(f"read_parquet({_listed(parts.values())}, filename = true)", "filename")
        for number, path in parts.items():
            target = part_path(folder, number)
            if str(path) in gone:
                with GroupWriter(target, IMPRESSION_SCHEMA) as part:
                    for rows in _without(path, gone[str(path)]):
                        part.write(rows)
            else:
                link(path, target)
            counts[""] += pq.read_metadata(target).num_rows
        if self._rejected_before is not None:
            gone = self._gone_from(f"read_parquet({_listed([self._rejected_before])})", "''")
            for rows in _without(self._rejected_before, gone.get("", ())):
                left_out.write(rows)
                counts += Counter(rows["reason"].to_pylist())
        return counts

    def _gone_from(self, rows: str, key: str) -> dict[str, set[str]]:
        """Listeners who have left since, of whom there are rows, by what `key` gives for those."""
        found: dict[str, set[str]] = {}
        if self._count("SELECT COUNT(*) FROM gone"):
            self._run(f"SELECT DISTINCT {key}, user_id FROM {rows} INNER JOIN gone USING (user_id)")
            for place, user_id in self._connection.fetchall():
                found.setdefault(place, set()).add(user_id)
        return found

    def _judge(self, parts: Mapping[int, Path], new: Mapping[int, Path]) -> None:
        """Makes the table `left_out_impressions` of rows of new files."""
        tables = replace(self._tables, files={**self._tables.files, schema.IMPRESSIONS: list(new.values())})
        self._run(f"CREATE VIEW raw_impressions AS {raw.select_raw(tables, schema.IMPRESSIONS)}")
        self._put("impression_files", list(map(str, new.values())), list(new))
        self._run(
            f"CREATE TABLE impression_bounds AS SELECT CAST({microseconds_of(EARLIEST)} AS BIGINT) AS earliest_us, "
            f"CAST({microseconds_of(LATEST)} AS BIGINT) AS latest_us"
        )
        self._run(
            "CREATE TABLE earlier_impressions (request_id VARCHAR, user_id VARCHAR, slot BIGINT, row_hash UBIGINT, "
            "file INTEGER, file_row_number BIGINT)"
        )
        asked = "request_id IN (SELECT request_id FROM raw_impressions)"
        if parts and new:
            # First which parts name a request of the new rows, mostly none: only there are whole rows read.
            found = (
                f"SELECT DISTINCT filename FROM read_parquet({_listed(parts.values())}, filename = true) WHERE {asked}"
            )
            self._run(found)
            if named := [Path(filename) for (filename,) in self._connection.fetchall()]:
                self._run(
                    f"INSERT INTO earlier_impressions SELECT request_id, user_id, slot, HASH({_COLUMNS}), file, "
                    f"file_row_number FROM read_parquet({_listed(named)}, filename = true, file_row_number = true) "
                    f"INNER JOIN part_files USING (filename) WHERE {asked}"
                )
        self._run(SQL.read_text())

    def _read(self, number: int, path: Path, target: Path, left_out: GroupWriter) -> Counter[str]:
        """Writes the part of one new file, and its rows that are left out."""
        reasons, numbers, codes = _Reasons(), [np.zeros(0, np.int64)], [np.zeros(0, np.int8)]
        query = (
            f"SELECT file_row_number, reason FROM left_out_impressions WHERE file = {number} ORDER BY file_row_number"
        )
        for batch in self._connection.sql(query).to_arrow_reader(1_000_000):
            numbers.append(batch.column(0).to_numpy())
            codes.append(reasons.codes(batch.column(1)))
        out, code = np.concatenate(numbers), np.concatenate(codes)
        counts: Counter[str] = Counter()
        with GroupWriter(target, IMPRESSION_SCHEMA) as part:
            for rows in filter(len, self._raw_rows(path)):
                row_numbers = rows["file_row_number"].to_numpy()
                begin, end = np.searchsorted(out, [row_numbers[0], row_numbers[-1] + 1])
                is_out = np.isin(row_numbers, out[begin:end])
                part.write(rows.filter(pa.array(~is_out)).select(IMPRESSION_SCHEMA.names))
                told = [reasons.names[each] for each in code[begin:end].tolist()]
                rejected = rows.filter(pa.array(is_out)).append_column("reason", pa.array(told, pa.string()))
                rejected = rejected.filter(pc.field("reason") != FORGOTTEN)
                left_out.write(rejected)
                counts += Counter(rejected["reason"].to_pylist())
        counts[""] = part.num_rows
        return counts

    def _raw_rows(self, path: Path) -> Iterator[pa.Table]:
        """Rows of a raw file in their order, in the contract's types, and where they stand."""
        one = replace(self._tables, files={schema.IMPRESSIONS: [path]})
        select = raw.select_raw(one, schema.IMPRESSIONS)
        names = REJECTED_SCHEMA.remove(REJECTED_SCHEMA.get_field_index("reason"))
        # A database of its own, as this one need not keep rows in their order, and reads nothing else meanwhile.
        with closing(duckdb.connect()) as reader, reading(self._tables):
            reader.execute("SET TimeZone = 'UTC'")
            reader.execute("SET preserve_insertion_order = true")
            for batch in reader.sql(f"SELECT {', '.join(names.names)} FROM ({select})").to_arrow_reader(ROWS):
                yield pa.Table.from_batches([batch]).cast(names)

    def _put(self, name: str, files: list[str], numbers: list[int]) -> None:
        given = pa.table({"filename": pa.array(files, pa.string()), "file": pa.array(numbers, pa.int32())})
        self._connection.register("given", given)
        self._run(f"CREATE TABLE {name} AS SELECT * FROM given")
        self._connection.unregister("given")

    def _run(self, query: str) -> None:
        with reading(self._tables):
            self._connection.execute(query)

    def _count(self, query: str) -> int:
        ((number,),) = self._connection.execute(query).fetchall()
        return int(number)


class _Reasons:
    """Reasons as small numbers: a file may have a million rows that are left out for one of them."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def codes(self, reasons: pa.Array) -> np.ndarray:
        """`[rows]`, int8: places in `names`."""
        encoded = reasons.dictionary_encode()
        told = encoded.dictionary.to_pylist()
        self.names += [name for name in told if name not in self.names]
        places = np.array([self.names.index(name) for name in told], dtype=np.int8)
        return places[encoded.indices.to_numpy()]


def part_path(folder: Path, number: int) -> Path:
    """The part of the raw file with a lasting number."""
    return folder / f"part-{number:06d}.parquet"


def link(path: Path, target: Path) -> None:
    """Makes `target` the same file, or a copy where a disk or its kind does not allow that."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def _without(path: Path, user_ids: Collection[str]) -> Iterator[pa.Table]:
    """Rows of a file in their order, without those of some listeners."""
    for batch in pq.ParquetFile(path).iter_batches(ROWS):
        rows = pa.Table.from_batches([batch])
        yield rows.filter(~pc.field("user_id").isin(list(user_ids))) if user_ids else rows


def _listed(paths: Iterable[Path]) -> str:
    return f"[{', '.join(map(raw.path_in_sql, paths))}]"
