"""Text files block by block, in bounded memory: each row with its line's number, bad lines told apart."""

import bz2
import csv
import gzip
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from io import BufferedIOBase
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv

from towers.errors import UserError

BLOCK_BYTES = 16 << 20
"""Bytes of the unpacked file in memory at once; no line may be longer."""
WHOLE_LINE = "\x01"
"""Stands in for a delimiter where a line is one field: no text has it."""
DAMAGE = (pa.ArrowException, OSError, EOFError, ValueError)
"""Errors that a damaged file raises, packed or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextForm:
    """The format of a text file.

    Args:
        delimiter: delimiter between fields, one character or several; null if a line is one field.
        quote: quote character around fields with a delimiter; null if fields are never quoted.
        encoding: encoding of the text.
        has_header: whether the first line names the columns.
    """

    delimiter: str | None
    quote: str | None
    encoding: str
    has_header: bool


def columns_of(path: Path, form: TextForm, columns: Sequence[str], optional: Sequence[str]) -> list[str]:
    """Returns the columns of a file in their order: those of its first line, or `columns` where it names none.

    Args:
        path: path of the file.
        form: format of the file.
        columns: names that it must have; all of them, in order, where it has no header.
        optional: names that it may have.

    Raises:
        UserError: it lacks a column, or names one twice.
    """
    if not form.has_header:
        return list(columns)
    try:
        with opened(path) as (file, _):
            first = file.readline(BLOCK_BYTES).decode(form.encoding).removeprefix("\ufeff").rstrip("\r\n")
    except (*DAMAGE, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())}); get it again") from error
    if form.quote is None:
        names = first.split(form.delimiter or WHOLE_LINE)
    else:
        names = next(csv.reader([first], delimiter=form.delimiter or WHOLE_LINE, quotechar=form.quote), [])
    for name in columns:
        if name not in names:
            raise UserError(f"{path}, line 1: no column {name!r}; it has {', '.join(names)}")
    if twice := [name for name in (*columns, *optional) if names.count(name) > 1]:
        raise UserError(f"{path}, line 1: column {twice[0]!r} is there twice; keep one of them")
    unlike = {name: at for at, name in enumerate(names)}  # others may share a name, and are not read
    return [name if unlike[name] == at else f"{name}\x01{at}" for at, name in enumerate(names)]


def blocks(
    path: Path,
    form: TextForm,
    columns: Sequence[str],
    wanted: Sequence[str],
    on_bad: Callable[[int, str], None],
    on_read: Callable[[int], None],
) -> Iterator[pa.Table]:
    """Yields the rows of a text file: the wanted columns as text, and `line`, the number of the line from 1.

    Lines with nothing on them are left out.

    Args:
        path: path of the file, plain, .bz2 or .gz.
        form: format of the file.
        columns: all columns of the file.
        wanted: columns to read.
        on_bad: called with the number of a line that is no row, and the reason.
        on_read: called with the number of bytes of the (packed) file that are read.

    Raises:
        UserError: it is damaged, or has a line longer than a block.
    """
    try:
        with opened(path) as (file, raw):
            yield from _blocks(file, form, columns, wanted, on_bad, lambda: on_read(raw.tell()))
    except DAMAGE as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: damaged, or no text of this form ({reason}); get it again") from error


@contextmanager
def opened(path: Path) -> Iterator[tuple[BufferedIOBase, BufferedIOBase]]:
    """Yields the unpacked text of a file, and the file itself; of packed streams after each other all are read."""
    with path.open("rb") as raw:
        if path.suffix == ".bz2":
            with bz2.BZ2File(raw) as file:
                yield file, raw
        elif path.suffix == ".gz":
            with gzip.GzipFile(fileobj=raw) as file:
                yield file, raw
        else:
            yield raw, raw


def _blocks(
    file: BufferedIOBase,
    form: TextForm,
    columns: Sequence[str],
    wanted: Sequence[str],
    on_bad: Callable[[int, str], None],
    on_read: Callable[[], None],
) -> Iterator[pa.Table]:
    bad: list[tuple[int, str]] = []

    def keep(row: pc_csv.InvalidRow) -> str:
        bad.append((row.number, f"{row.actual_columns} fields where {row.expected_columns} are wanted"))
        return "skip"

    is_split_here = form.delimiter is not None and len(form.delimiter) > 1
    names = ["text"] if is_split_here or form.delimiter is None else list(columns)
    try:
        reader = pc_csv.open_csv(
            file,
            read_options=pc_csv.ReadOptions(
                use_threads=False,  # or lines would have no numbers
                block_size=BLOCK_BYTES,
                column_names=names,
                skip_rows=int(form.has_header),
                encoding=form.encoding,
            ),
            parse_options=pc_csv.ParseOptions(
                delimiter=WHOLE_LINE if names == ["text"] else form.delimiter,
                quote_char=form.quote or False,
                double_quote=form.quote is not None,
                ignore_empty_lines=False,
                invalid_row_handler=keep,
            ),
            convert_options=pc_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()),
                strings_can_be_null=False,
                include_columns=None if names == ["text"] else list(wanted),
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error) or "Could not skip initial" in str(error):
            return
        raise
    numbers = _Numbers(1 + form.has_header)
    for batch in reader:
        fresh, bad[:] = list(bad), []
        for line, reason in fresh:
            on_bad(line, reason)
        numbers.skip([line for line, _ in fresh])
        lines = numbers.take(len(batch))
        table = _as_text(pa.Table.from_batches([batch]), lines, on_bad)
        if is_split_here:
            table = _split(table, str(form.delimiter), columns, wanted, on_bad)
        on_read()
        yield table
    for line, reason in bad:
        on_bad(line, reason)


class _Numbers:
    """Hands out the numbers of a file's lines in order, without those of lines that were skipped.

    Args:
        first: number of the first line.
    """

    def __init__(self, first: int):
        self._next = first
        self._skipped = np.zeros(0, np.int64)

    def skip(self, lines: list[int]) -> None:
        """Takes numbers of lines that no row has, which may lie ahead."""
        self._skipped = np.concatenate([self._skipped, np.array(lines, np.int64)])

    def take(self, count: int) -> np.ndarray:
        """Returns the numbers of the next rows."""
        ahead = np.arange(self._next, self._next + count + len(self._skipped))
        lines = ahead[~np.isin(ahead, self._skipped)][:count]
        if count:
            self._next = int(lines[-1]) + 1
            self._skipped = self._skipped[self._skipped >= self._next]
        return lines


def _as_text(table: pa.Table, lines: np.ndarray, on_bad: Callable[[int, str], None]) -> pa.Table:
    """Returns columns of bytes as text with the lines' numbers; rows that are no UTF-8 or empty are left out."""
    table = table.append_column("line", pa.array(lines, pa.int64()))
    try:
        texts = _cast(table)
    except pa.ArrowInvalid:
        rows = table.to_pylist()
        keep = []
        for row in rows:
            try:
                for name in table.column_names[:-1]:
                    row[name].decode()
                keep.append(True)
            except UnicodeDecodeError as error:
                on_bad(row["line"], f"not UTF-8 ({error.reason})")
                keep.append(False)
        texts = _cast(table.filter(pa.array(keep)))
    is_empty = [pc.call_function("equal", [texts[name], ""]) for name in texts.column_names[:-1]]
    return texts.filter(pc.call_function("invert", [reduce(_both, is_empty)]))


def _both(first: pa.ChunkedArray, second: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.call_function("and", [first, second])


def _cast(table: pa.Table) -> pa.Table:
    columns = [table[name].cast(pa.string()) for name in table.column_names[:-1]]
    return pa.table([*columns, table["line"]], names=table.column_names)


def _split(
    table: pa.Table,
    delimiter: str,
    columns: Sequence[str],
    wanted: Sequence[str],
    on_bad: Callable[[int, str], None],
) -> pa.Table:
    """Returns the fields of lines whose delimiter has several signs."""
    rows = []
    for text, line in zip(table["text"].to_pylist(), table["line"].to_pylist(), strict=True):
        fields = text.split(delimiter)
        if len(fields) == len(columns):
            rows.append([*fields, line])
        else:
            on_bad(line, f"{len(fields)} fields where {len(columns)} are wanted")
    kinds = [(name, pa.string()) for name in columns] + [("line", pa.int64())]
    taken = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in kinds]
    return pa.table(taken, schema=pa.schema(kinds)).select([*wanted, "line"])
