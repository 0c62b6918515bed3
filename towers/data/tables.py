"""Raw tables to clean ones: runs the SQL files on DuckDB, out of core, and reads the results back as arrays."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from towers.contract import schema
from towers.data import raw
from towers.data.event_times import EARLIEST, LATEST
from towers.data.periods import Period, periods_of
from towers.data.rejecting import Limits, Rejecting
from towers.data.remarks import remarks_on_files, remarks_on_rows
from towers.data.sources.tables import RawTables
from towers.data.splits.split import Cuts, Split
from towers.disk import is_full
from towers.errors import UserError
from towers.features.settings import FeatureSettings

SQL = Path(__file__).parent / "sql"
BATCH_ROWS = 1_000_000
DATA_ERRORS = (duckdb.IOException, duckdb.InvalidInputException, duckdb.ConversionException)


@contextmanager
def database(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB file below `folder` that may spill to disk.

    Raises:
        UserError: a question mark in the folder's path, behind which DuckDB looks for settings.
    """
    path = str(folder.absolute() / "work.duckdb")  # whole, or `a:b` would be read as a kind of database
    if "?" in path:
        raise UserError(f"{folder.absolute().parent}: a store cannot be made below a folder with a `?` in its name")
    connection = duckdb.connect(path)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET preserve_insertion_order = true")
        yield connection
    finally:
        connection.close()


class Tables:
    """The clean tables `events`, `contents`, `users`, `histories`, `boundaries`, `counts`, `members`,
    `playlists`.

    Args:
        connection: of `database`.
        tables: the raw files.
        features: which events are positive, which listener columns to carry.
        limits: how many rows may be left out.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        tables: RawTables,
        features: FeatureSettings,
        limits: Limits,
    ):
        self._connection = connection
        self._tables = tables
        self._features = features
        self._limits = limits
        self.remarks: list[str] = []
        """Lines about what is allowed and probably not meant."""

    def build(self, split: Split, rejected: Path) -> Cuts:
        """Runs the SQL files in order and writes rejected rows below `rejected`.

        Raises:
            TooManyRejected: too many bad rows, or duplicates.
            UserError: a bad file or column, ids that match too little, no positive event, an impossible split.
        """
        self._read_raw()
        self._run("events")
        self._run("contents")
        Rejecting(count=self.count, batches=self.batches, limits=self._limits, origin=self._tables.origin).write(
            rejected
        )
        self._run("histories")
        on_rows = remarks_on_rows(self.table, self._features, self._limits.max_unlisted_fraction)
        self.remarks = [*remarks_on_files(self._tables, self._features), *on_rows]
        first, last = self._bounds()
        cuts = split.cuts(first, last, self._tables.has_clock)
        self._connection.execute(
            "UPDATE settings SET validation_start_us = $1, test_start_us = $2",
            [cuts.validation_start_us, cuts.test_start_us],
        )
        self._run(cuts.sql)
        self._run("counts")
        self._run("periods")
        return cuts

    def periods(self, cuts: Cuts) -> list[Period]:
        """What `cuts` came to."""
        found = self._connection.execute("SELECT period, positives, listeners FROM periods").fetchall()
        return periods_of({name: (positives, listeners) for name, positives, listeners in found}, cuts, *self._bounds())

    def count(self, query: str) -> int:
        """The single number that `query` gives."""
        ((number,),) = self._connection.execute(query).fetchall()  # a result left half read blocks the connection
        return int(number or 0)

    def table(self, query: str) -> pa.Table:
        """The whole result, in memory."""
        return self._connection.sql(query).to_arrow_table()

    def batches(self, query: str) -> Iterator[pa.RecordBatch]:
        """The result piece by piece, in bounded memory."""
        yield from self._connection.sql(query).to_arrow_reader(BATCH_ROWS)

    def column(self, query: str) -> np.ndarray:
        """The single column of `query`."""
        return self.table(query).column(0).to_numpy()

    def _run(self, name: str) -> None:
        try:
            self._connection.execute((SQL / f"{name}.sql").read_text())
        except duckdb.Error as error:
            # What Parquet's own decoder throws has no class of its own.
            if is_full(error):
                raise
            if type(error) is not duckdb.Error and not isinstance(error, DATA_ERRORS):
                raise
            raise raw.unreadable(self._tables, " ".join(str(error).split())) from error

    def _read_raw(self) -> None:
        raw.check_user_columns(self._features)
        extra = {schema.USERS: raw.columns_to_keep(self._tables, self._features)}
        for table in schema.TABLES:
            select = raw.select_raw(self._tables, table, extra.get(table, ()))
            self._connection.execute(f"CREATE VIEW raw_{table} AS {select}")
        codes = [(action, code, action not in schema.ACTIONS_WITHOUT_CONTENT) for action, code in _ACTIONS]
        self._connection.execute("CREATE TABLE actions (action VARCHAR, action_code TINYINT, needs_content BOOLEAN)")
        self._connection.executemany("INSERT INTO actions VALUES ($1, $2, $3)", codes)
        self._connection.execute("CREATE TABLE kinds (kind VARCHAR, kind_code TINYINT)")
        self._connection.executemany("INSERT INTO kinds VALUES ($1, $2)", list(schema.KIND_CODES.items()))
        self._connection.execute(
            "CREATE TABLE settings AS SELECT CAST($1 AS DOUBLE) AS min_played_fraction, CAST($2 AS BIGINT) AS "
            "earliest_us, CAST($3 AS BIGINT) AS latest_us, CAST(NULL AS BIGINT) AS validation_start_us, "
            "CAST(NULL AS BIGINT) AS test_start_us",
            [self._features.min_played_fraction, _microseconds(EARLIEST), _microseconds(LATEST)],
        )

    def _bounds(self) -> tuple[int, int]:
        query = "SELECT MIN(timestamp_us), MAX(timestamp_us) FROM histories WHERE is_positive"
        ((first, last),) = self._connection.execute(query).fetchall()
        if first is None or last is None:
            raise UserError(
                "events/: no positive event (a play of at least features.min_played_fraction, a like or a save) is "
                "left after validation; there is nothing to learn from"
            )
        return int(first), int(last)


_ACTIONS = tuple(schema.ACTION_CODES.items())


def _microseconds(instant: datetime) -> int:
    return int(instant.timestamp()) * 1_000_000
