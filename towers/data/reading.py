"""What a database says of raw data that it cannot read, as an error that names the file."""

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from towers.data import raw
from towers.data.sources.tables import RawTables
from towers.disk import is_full

DATA_ERRORS = (duckdb.IOException, duckdb.InvalidInputException, duckdb.ConversionException)


@contextmanager
def reading(tables: RawTables) -> Iterator[None]:
    """Around whatever makes the database read raw files.

    Raises:
        UserError: a file is damaged, or holds a value that cannot be read.
    """
    try:
        yield
    except duckdb.Error as error:
        # What Parquet's own decoder throws has no class of its own.
        if is_full(error):
            raise
        if type(error) is not duckdb.Error and not isinstance(error, DATA_ERRORS):
            raise
        raise raw.unreadable(tables, " ".join(str(error).split())) from error
