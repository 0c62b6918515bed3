"""Searches the bytes of any files for words."""

import pyarrow as pa
import pyarrow.parquet as pq


def naming(folder, *words):
    """Returns the files below a folder that hold one of some words: as bytes, or in a table with compressed columns."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(word.encode() in path.read_bytes() + texts_of(path) for word in words)
    ]


def texts_of(path):
    """Returns the texts in a table; of other files none."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
    elif path.suffix == ".arrow":
        table = pa.ipc.open_file(path).read_all()
    else:
        return b""
    return str([table[name].to_pylist() for name in table.column_names if "string" in str(table[name].type)]).encode()
