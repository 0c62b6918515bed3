"""LanceDB: a table a version, and a table of one row that says which is served."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from towers.answering import does_not_answer
from towers.errors import Unreachable, UserError
from towers.extras import how_to_install
from towers.publishing.sinks.engine_sink import EngineSink
from towers.publishing.sinks.filling import Labels
from towers.publishing.sinks.rows import CONTENTS, TABLES, USERS, VECTOR, Rows

PREFIX = "towers."
"""Prefix of the keys in a table's schema metadata."""
COMPLETE = "complete"
"""Tag of the version of a table that has all rows and its index."""
INDEXED = {
    "kind": "Bitmap", "language": "Bitmap", "explicit": "Bitmap", "is_cold": "Bitmap",
    "artist_ids": "LabelList", "genres": "LabelList",
}  # fmt: skip
"""Columns with an index, those that filters use most, and its kind."""
MANY = 1_000_000
"""Limit on listed tables that never applies."""
UNFINISHED = Labels(version="", space_id="", written="")


class LanceSink(EngineSink):
    """Fills LanceDB, embedded: a folder or an object store, without a server.

    Args:
        uri: a folder, or s3://BUCKET/PATH, gs://..., az://... with the environment's own credentials.
        prefix: start of all names: tables `<prefix>_contents_<version>`, `<prefix>_users_<version>` and
            `<prefix>_current`.
        batch_size: number of rows written at a time.
        min_indexed: number of rows from which an inverted file is built; below, every vector is compared.
        keep: number of versions that are kept, including the one that is served and the one before it.
        dim: number of leading dimensions of the vectors that are written, normalised; null: all.

    Raises:
        UserError: LanceDB is not installed, or a setting is out of range.
    """

    def __init__(self, uri: str, prefix: str, batch_size: int, min_indexed: int, keep: int, dim: int | None):
        super().__init__(uri=uri, prefix=prefix, batch_size=batch_size, keep=keep, dim=dim)
        try:
            import lancedb
            import lancedb.index
        except ImportError:
            raise UserError(f"sink=lancedb: LanceDB is not installed; {how_to_install('lancedb')}") from None
        self._lancedb, self._min_indexed = lancedb, min_indexed

    def _led(self, served: str) -> str:
        return f"{self._uri}: {self._prefix}_current leads to {served}"

    @contextmanager
    def _engine(self) -> Iterator["_Tables"]:
        try:
            database = self._lancedb.connect(self._uri)
            yield _Tables(database, self._lancedb.index, self._prefix, self._batch_size, self._min_indexed)
        except (OSError, RuntimeError, ValueError) as error:  # LanceDB has no errors of its own
            told = (str(error).splitlines() or [type(error).__name__])[0]
            if not self._is_local and does_not_answer(error):
                raise Unreachable(
                    f"sink.uri={self._uri}: the store does not answer ({told}); the same command goes on"
                ) from error
            if isinstance(error, ValueError):
                raise
            raise UserError(f"sink.uri={self._uri}: LanceDB refuses ({told}); the same command goes on") from error


class _Tables:
    """`Engine` by LanceDB's client."""

    def __init__(self, database: Any, kinds: Any, prefix: str, batch_size: int, min_indexed: int):
        self._database = database
        self._kinds = kinds
        self._prefix = prefix
        self._batch_size = batch_size
        self._min_indexed = min_indexed

    @property
    def _pointer(self) -> str:
        return f"{self._prefix}_current"

    def tables(self) -> dict[str, Labels]:
        starts = tuple(f"{self._prefix}_{table}_" for table in TABLES)
        found = {name: self._labels(name) for name in self._names() if name.startswith(starts)}
        return {name: labels for name, labels in found.items() if labels is not None}

    def _names(self) -> list[str]:
        return list(self._database.list_tables(limit=MANY).tables)

    def _labels(self, name: str) -> Labels | None:
        """Returns null for tables that no sink made; a killed run leaves a folder that is not a table yet."""
        try:
            table = self._database.open_table(name)
        except ValueError as error:
            if does_not_answer(error):  # then it is not known what is there
                raise
            return UNFINISHED
        told = {key.decode(): text.decode() for key, text in (table.schema.metadata or {}).items()}
        if PREFIX + "version" not in told:
            return None
        return Labels.read(
            {key.removeprefix(PREFIX): text for key, text in told.items()}, COMPLETE in table.tags.list()
        )

    def in_use(self) -> set[str]:
        row = self._led_to()
        return set() if row is None else {row[CONTENTS], row[USERS]}

    def serving(self) -> str | None:
        row = self._led_to()
        return None if row is None else row[CONTENTS]

    def _led_to(self) -> dict[str, str] | None:
        try:
            pointer = self._database.open_table(self._pointer)
        except ValueError as error:
            if does_not_answer(error):  # then it is not known what is there
                raise
            return None
        (row,) = pointer.to_arrow().to_pylist()
        return row

    def create(self, name: str, rows: Rows, labels: Labels, on_rows: Callable[[int], None]) -> None:
        schema = rows.schema.with_metadata({PREFIX + key: text for key, text in labels.facts().items()})
        with _own_errors() as raised:
            reader = pa.RecordBatchReader.from_batches(schema, self._batches(rows, schema, on_rows, raised))
            self._database.create_table(name, data=reader, schema=schema)

    def finish(self, name: str, rows: Rows) -> None:
        table = self._database.open_table(name)
        if rows.count >= self._min_indexed:
            self._index(table, rows)
        table.tags.create(COMPLETE, table.version)

    def _index(self, table: Any, rows: Rows) -> None:
        kinds = self._kinds
        table.create_index(VECTOR, config=kinds.IvfFlat(distance_type="dot"))
        table.create_index(rows.id_column, config=kinds.BTree())
        for column, kind in INDEXED.items():
            if column in rows.schema.names:
                table.create_index(column, config=getattr(kinds, kind)())

    def _batches(
        self, rows: Rows, schema: pa.Schema, on_rows: Callable[[int], None], raised: list[BaseException]
    ) -> Iterator[pa.RecordBatch]:
        done = 0
        try:
            for batch in rows.batches(self._batch_size):
                yield batch.cast(schema)
                done += len(batch)
                on_rows(done)
        except BaseException as error:
            raised.append(error)
            raise

    def count(self, name: str) -> int:
        return self._database.open_table(name).count_rows()

    def vectors(self, name: str, id_column: str, ids: Sequence[str]) -> dict[str, Float[np.ndarray, " dim"]]:
        if not ids:
            return {}
        listed = ", ".join("'" + one.replace("'", "''") + "'" for one in ids)
        query = self._database.open_table(name).search().where(f"{id_column} IN ({listed})")
        found = query.select([id_column, VECTOR]).limit(len(ids)).to_list()
        return {row[id_column]: np.array(row[VECTOR], np.float32) for row in found}

    def best_score(self, name: str, vector: Float[np.ndarray, " dim"]) -> float:
        query = self._database.open_table(name).search(vector, vector_column_name=VECTOR).distance_type("dot")
        hits = query.select(["_distance"]).limit(1).to_list()
        return 1 - hits[0]["_distance"] if hits else -np.inf

    def switch(self, contents: str, users: str, labels: Labels) -> None:
        """Switches both tables in one commit."""
        row = {CONTENTS: contents, USERS: users, "version": labels.version, "space_id": labels.space_id}
        mode = "overwrite" if self._pointer in self._names() else "create"
        self._database.create_table(self._pointer, data=pa.Table.from_pylist([row]), mode=mode)

    def drop(self, name: str) -> None:
        self._database.drop_table(name, ignore_missing=True)


@contextmanager
def _own_errors() -> Iterator[list[BaseException]]:
    """Restores our rows' own error, which LanceDB raises as a RuntimeError whose text is a traceback."""
    raised: list[BaseException] = []
    try:
        yield raised
    except RuntimeError:
        if raised:
            raise raised[0] from None
        raise
