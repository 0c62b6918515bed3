"""Reads the log of a home page back: every row is checked, and the log is not changed.

A row whose outcome is still awaited would leave a gap in its page. A served log is therefore read up to the first row
that waits for its outcome; later rows are read the next time.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, Int

from towers.contract.impressions import IMPRESSION_SCHEMA, Impression
from towers.errors import UserError
from towers.service.home_log import IMPRESSIONS, OPEN, waiting_since_us

NEEDED: Final = ("request_id", "user_id", "timestamp", "chosen_id", "slot", "propensity")
"""Columns without which a row cannot be learned from."""
CANDIDATES: Final = "candidate_ids"
LOGGED_SCHEMA: Final = IMPRESSION_SCHEMA.set(
    IMPRESSION_SCHEMA.get_field_index(CANDIDATES),
    pa.field(CANDIDATES, pa.list_(pa.dictionary(pa.int32(), pa.string()))),
)
"""`IMPRESSION_SCHEMA` with candidates as numbers: a thousand ids as text in each row do not fit into memory."""
WAY_OUT: Final = "correct the row or take it out; nothing was changed"
_TRIES: Final = 100


def read_log(folder: Path, after_us: int | None = None) -> pa.Table:
    """Reads the rows of a log.

    Args:
        folder: the log of a server (`home.log`), raw data, or its `impressions/`.
        after_us: only later rows are read, in microseconds since 1970, UTC; null: all.

    Returns:
        A table of `LOGGED_SCHEMA`, in the order of time, request and slot.

    Raises:
        UserError: there is no log, a file is damaged, or a row violates the contract; the message names file and row.
    """
    paths, until_us = _stable(folder)
    parts = _Parts()
    for path in paths:
        parts.add(path, _read(path))
    table = parts.table()
    _check_requests(table, parts)
    keys = ("timestamp", "request_id", "slot")
    placed = table.select([*keys]).append_column("row", pa.array(np.arange(len(table))))
    order = placed.sort_by([(name, "ascending") for name in keys])["row"].to_numpy()
    times_us = table["timestamp"].cast(pa.int64()).to_numpy()[order]
    is_kept = np.ones(len(order), bool)
    if until_us is not None:
        is_kept &= times_us < until_us
    if after_us is not None:
        is_kept &= times_us > after_us
    return table.take(pa.array(order[is_kept]))


def _stable(folder: Path) -> tuple[list[Path], int | None]:
    """Returns the files of a log, and the time of the first row that is in none of them yet.

    The server may write a part meanwhile: then both are read again, so that they are consistent.

    Raises:
        UserError: there is no log.
    """
    served = folder / OPEN
    inside = folder / IMPRESSIONS if (folder / IMPRESSIONS).is_dir() else folder
    if not inside.is_dir():
        raise UserError(f"{folder}: there is no log; give the folder of home.log, or of raw data with `{IMPRESSIONS}/`")
    for _ in range(_TRIES):
        paths = sorted(inside.glob("*.parquet"))
        until_us = waiting_since_us(folder) if served.exists() else None
        if paths == sorted(inside.glob("*.parquet")):
            if not paths and not served.exists():
                raise UserError(f"{inside}: has no Parquet file; give the folder of home.log, or of raw data")
            return paths, until_us
    raise UserError(f"{inside}: its files change while it is read; try again")


class Numbered:
    """Lists of ids, encoded as numbers of one list of distinct ids, piece by piece."""

    def __init__(self) -> None:
        self.number_of: dict[str, int] = {}
        self._codes: list[np.ndarray] = []
        self._lengths: list[np.ndarray] = []
        self._has_any: list[np.ndarray] = []

    def add(self, lists: pa.ListArray) -> tuple[Int[np.ndarray, " ids"], Int[np.ndarray, " rows"]]:
        """Encodes lists of ids.

        Returns:
            The ids as numbers, -1 for null, int32; and the length of each list, 0 for null.
        """
        encoded = lists.flatten()
        if not pa.types.is_dictionary(encoded.type):
            encoded = encoded.dictionary_encode()
        known = [self.number_of.setdefault(one, len(self.number_of)) for one in encoded.dictionary.to_pylist()]
        codes = np.array([*known, -1], np.int32)[encoded.indices.fill_null(len(known)).to_numpy()]
        lengths = pc.call_function("list_value_length", [lists]).fill_null(0).to_numpy().astype(np.int64)
        self._codes.append(codes)
        self._lengths.append(lengths)
        self._has_any.append(lists.is_valid().to_numpy(zero_copy_only=False))
        return codes, lengths

    def lists(self, where: str) -> pa.ListArray:
        """Returns all lists, with ids as numbers.

        Args:
            where: place of the log, for messages.

        Raises:
            UserError: there are more ids than Arrow can count in one array.
        """
        lengths = np.concatenate([np.zeros(1, np.int64), *self._lengths])
        offsets = np.cumsum(lengths)
        if offsets[-1] > np.iinfo(np.int32).max:
            raise UserError(
                f"{where}: {offsets[-1]:,} candidates are more than can be read at once; read only the newest rows"
            )
        codes = np.concatenate([np.zeros(0, np.int32), *self._codes])
        ids = pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array([*self.number_of], pa.string()))
        is_null = ~np.concatenate([np.zeros(0, bool), *self._has_any])
        return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), ids, mask=pa.array(is_null))


def numbered(impressions: pa.Table) -> pa.Table:
    """Converts impressions of `IMPRESSION_SCHEMA` to `LOGGED_SCHEMA`; those that have it already are not changed."""
    if impressions.schema.equals(LOGGED_SCHEMA):
        return impressions
    taken = Numbered()
    for chunk in impressions[CANDIDATES].chunks:
        taken.add(chunk)
    return _with_candidates(impressions.drop_columns([CANDIDATES]), taken.lists("impressions"))


def _with_candidates(others: pa.Table, lists: pa.ListArray) -> pa.Table:
    columns = {name: others[name] for name in others.column_names} | {CANDIDATES: lists}
    columns = {name: columns[name] for name in LOGGED_SCHEMA.names}
    return pa.table(columns, schema=LOGGED_SCHEMA)


class _Parts:
    """Rows of several files in one table."""

    def __init__(self) -> None:
        self._candidates = Numbered()
        self._tables: list[pa.Table] = []
        self._paths: list[Path] = []

    def add(self, path: Path, table: pa.Table) -> None:
        """Adds a file.

        Raises:
            UserError: a row of it violates the contract.
        """
        column = table[CANDIDATES].combine_chunks()
        codes, lengths = self._candidates.add(column)
        number_of = self._candidates.number_of
        chosen = np.array([number_of.get(one, -2) for one in table["chosen_id"].to_pylist()], np.int64)
        row = np.repeat(np.arange(len(table)), lengths)
        is_candidate = np.bincount(row[codes == chosen[row]], minlength=len(table)) > 0
        _check_rows(path, table, is_candidate | column.is_null().to_numpy(zero_copy_only=False))
        self._paths.append(path)
        self._tables.append(table.drop_columns([CANDIDATES]))

    def table(self) -> pa.Table:
        """Returns all rows, of `LOGGED_SCHEMA`, in the order of files and rows."""
        if not self._tables:
            return LOGGED_SCHEMA.empty_table()
        return _with_candidates(pa.concat_tables(self._tables), self._candidates.lists(str(self._paths[0].parent)))

    def where(self, row: int) -> str:
        """Returns the file, and the row in it, of a row of `table`."""
        for path, table in zip(self._paths, self._tables, strict=True):
            if row < len(table):
                return f"{path}, row {row}"
            row -= len(table)
        raise IndexError(row)


def _read(path: Path) -> pa.Table:
    """Reads a file with the contract's types; missing columns are null.

    Raises:
        UserError: it is damaged, or a column has another type.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path}: cannot be read ({_one_line(error)}); restore it or take it out") from None
    columns = {}
    for field in IMPRESSION_SCHEMA:
        if field.name not in table.column_names:
            columns[field.name] = pa.nulls(len(table), field.type)
            continue
        try:  # Arrow has one error for unfit values and one for types that it never casts
            columns[field.name] = table[field.name].cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            found = table.schema.field(field.name).type
            raise UserError(
                f"{path}: column {field.name} is {found}, must be {field.type} ({_one_line(error)})"
            ) from None
    return pa.table(columns, schema=IMPRESSION_SCHEMA)


def _check_rows(path: Path, table: pa.Table, is_candidate: Bool[np.ndarray, " rows"]) -> None:
    """Builds an `Impression` of every row, which validates it.

    Raises:
        UserError: names the first invalid row.
    """
    for name in NEEDED:
        if table[name].null_count:
            row = int(np.argmax(table[name].is_null().to_numpy()))
            raise UserError(f"{path}, row {row}: has no {name}; {WAY_OUT}")
    names = [name for name in IMPRESSION_SCHEMA.names if name not in ("timestamp", CANDIDATES)]
    times_us = table["timestamp"].cast(pa.int64()).to_pylist()
    # Candidates are compared as numbers; only rows without the chosen one among them are shown as ids.
    columns = [table[name].to_pylist() for name in names]
    for row, values in enumerate(zip(*columns, strict=True)):
        candidate_ids = None if is_candidate[row] else tuple(table[CANDIDATES][row].as_py())
        told = dict(zip(names, values, strict=True))
        try:
            Impression(timestamp_us=times_us[row], candidate_ids=candidate_ids, **told)
        except ValueError as error:
            raise UserError(f"{path}, row {row}: {error}; {WAY_OUT}") from None


def _check_requests(table: pa.Table, parts: _Parts) -> None:
    """Checks that a request has one listener, and each of its slots one row.

    Raises:
        UserError: names the second of two rows that contradict each other.
    """
    requests, of = _numbers(table["request_id"].to_pylist())
    users = np.array(_numbers(table["user_id"].to_pylist())[1], np.int64)
    request = np.array(of, np.int64)
    first = np.full(len(requests), len(request))
    np.minimum.at(first, request, np.arange(len(request)))
    is_other = users != users[first[request]] if len(request) else np.zeros(0, bool)
    if is_other.any():
        row = int(np.argmax(is_other))
        _refuse(parts, row, int(first[request[row]]), f"request {requests[request[row]]} names another listener")
    slots = table["slot"].to_numpy()
    order = np.lexsort((np.arange(len(request)), slots, request))
    is_again = (np.diff(request[order], prepend=-1) == 0) & (np.diff(slots[order], prepend=-1) == 0)
    if is_again.any():
        at = int(np.argmax(is_again))
        row, earlier = int(order[at]), int(order[at - 1])
        _refuse(parts, row, earlier, f"slot {slots[row]} of request {requests[request[row]]} occurs twice")


def _refuse(parts: _Parts, row: int, earlier: int, what: str) -> NoReturn:
    raise UserError(f"{parts.where(row)}: {what}, see {parts.where(earlier)}; {WAY_OUT}")


def _numbers(texts: Iterable[str]) -> tuple[list[str], list[int]]:
    """Returns the distinct texts in order of their first occurrence, and the number of each text."""
    number_of: dict[str, int] = {}
    numbers = [number_of.setdefault(one, len(number_of)) for one in texts]
    return [*number_of], numbers


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
