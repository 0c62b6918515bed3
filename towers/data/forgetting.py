"""Reads a caller's file of listeners who are to be forgotten."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from towers.errors import UserError

USER_ID = "user_id"
"""The column of a table of listeners."""


def read_forgotten(path: Path) -> list[str]:
    """Reads ids of listeners, each once, in the order of the file; a file without any is no fault.

    A file that ends in `.parquet` or `.csv` has a column `user_id`, of text or integers. Any other is text in UTF-8
    with an id a line; empty lines count for nothing, and blanks around an id are no part of it.

    Raises:
        UserError: the file is not there or cannot be read, has no such column, or a row has no id; names file and row.
    """
    try:
        if path.suffix.lower() in (".parquet", ".csv"):
            return _of_table(path)
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a file with ids of listeners, one a line") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: not UTF-8; write the ids as UTF-8 text, one a line") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            raise UserError(f"{path}, line {number}: not text; give a text file with ids of listeners, one a line")
    return list(dict.fromkeys(text for line in lines if (text := line.strip())))


def _of_table(path: Path) -> list[str]:
    try:
        if path.suffix.lower() == ".parquet":
            file = pq.ParquetFile(path)
            names, read = file.schema_arrow.names, lambda: file.read([USER_ID])
        else:
            # As text, or 007 would become 7; what is empty is missing, and nothing else (not even `NA`).
            options = pyarrow.csv.ConvertOptions(
                column_types={USER_ID: pa.string()}, strings_can_be_null=True, null_values=[""]
            )
            table = pyarrow.csv.read_csv(path, convert_options=options)
            names, read = table.column_names, lambda: table
        if USER_ID not in names:
            raise UserError(f"{path}: no column {USER_ID}; there are {', '.join(names)}")
        column = read()[USER_ID]
        is_id = pa.types.is_integer(column.type) or pa.types.is_string(column.type) or _is_other_text(column.type)
        if not is_id:
            raise UserError(f"{path}: {USER_ID} is {column.type}; ids are text or integers")
        ids = column.cast(pa.string()).to_pylist()
    except pa.ArrowException as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    for row, text in enumerate(ids):
        if text is None or not text:
            raise UserError(f"{path}, row {row}: {USER_ID} is {'null' if text is None else 'empty'}")
    return list(dict.fromkeys(ids))


def _is_other_text(kind: pa.DataType) -> bool:
    return pa.types.is_large_string(kind) or (pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type))
