"""Milvus: a collection a version, behind an alias. Lite in a local file and a cluster take the same calls."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
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

TEXT_BYTES, LIST_LENGTH = 65_535, 4_096
"""Largest VARCHAR, in bytes, and largest ARRAY of Milvus."""
INDEXED = ("kind", "language", "explicit", "is_cold")
"""Columns with an index, those that filters use most. Lists, which Lite does not index, are scanned."""
CONNECT_S = 10.0
POLL_S = 0.5
RATE_LIMIT = 8
"""Code of Milvus' errors for exceeding its rate limit."""
PROPERTY = "towers."
STRONG = {"consistency_level": "Strong"}
"""Consistency level with which rows inserted a moment ago are read, too."""


class MilvusSink(EngineSink):
    """Fills Milvus.

    Args:
        uri: a local file that ends in .db (Milvus Lite), or http(s)://HOST:PORT.
        token: `user:password` or an API key; empty for none.
        prefix: start of all names: aliases `<prefix>_contents` and `<prefix>_users`, collections
            `<prefix>_contents_<version>` and `<prefix>_users_<version>`.
        batch_size: number of rows sent at a time.
        keep: number of versions that are kept, including the one that is served and the one before it.
        dim: number of leading dimensions of the vectors that are written, normalised; null: all.

    Raises:
        UserError: pymilvus is not installed, or a setting is out of range.
    """

    def __init__(self, uri: str, token: str, prefix: str, batch_size: int, keep: int, dim: int | None):
        super().__init__(uri=uri, prefix=prefix, batch_size=batch_size, keep=keep, dim=dim)
        try:
            import grpc
            import pymilvus
        except ImportError:
            raise UserError(f"sink=milvus: Milvus' client is not installed; {how_to_install('milvus')}") from None
        self._pymilvus, self._grpc, self._token = pymilvus, grpc, token

    @property
    def _shown(self) -> str:
        return re.sub("//[^/@]*@", "//", self._uri)  # without a password

    def _led(self, served: str) -> str:
        return f"{self._shown}: aliases {self._prefix}_{CONTENTS} and {self._prefix}_{USERS} lead to {served}"

    @property
    def _folder(self) -> Path:
        return Path(self._uri).parent

    @contextmanager
    def _engine(self) -> Iterator["_Collections"]:
        with _quiet(), self._one_line(self._shown), self._client(self._shown) as client:
            yield _Collections(self._pymilvus, client, self._prefix, self._batch_size)

    @contextmanager
    def _client(self, shown: str) -> Iterator[Any]:
        if self._is_local:
            self._folder.mkdir(parents=True, exist_ok=True)
        try:
            client = self._pymilvus.MilvusClient(self._uri, token=self._token, timeout=CONNECT_S)
        except self._pymilvus.MilvusException as error:
            hint = "; a file is open in one process at a time" if self._is_local else ""
            raise self._kind(error)(f"sink.uri={shown}: cannot be opened ({_told(error)}){hint}") from error
        try:
            yield client
        finally:
            client.close()

    @contextmanager
    def _one_line(self, shown: str) -> Iterator[None]:
        try:
            yield
        except (self._pymilvus.MilvusException, self._grpc.RpcError) as error:
            kind = self._kind(error)
            told = "does not answer" if kind is Unreachable else "refuses"
            raise kind(f"sink.uri={shown}: Milvus {told} ({_told(error)}); the same command goes on") from error

    def _kind(self, error: Exception) -> type[UserError]:
        """Returns `Unreachable` where a server has not answered, or has said that it may later."""
        is_later = getattr(error, "retriable", False) or getattr(error, "code", None) == RATE_LIMIT
        return Unreachable if not self._is_local and (is_later or does_not_answer(error)) else UserError


class _Collections:
    """`Engine` by Milvus' client."""

    def __init__(self, pymilvus: Any, client: Any, prefix: str, batch_size: int):
        self._pymilvus = pymilvus
        self._client = client
        self._prefix = prefix
        self._batch_size = batch_size

    def tables(self) -> dict[str, Labels]:
        starts = tuple(f"{self._prefix}_{table}_" for table in TABLES)
        described = {
            name: self._properties(name) for name in self._client.list_collections() if name.startswith(starts)
        }
        return {
            name: Labels.read(
                {key.removeprefix(PROPERTY): text for key, text in properties.items()},
                is_complete=PROPERTY + "complete" in properties,
            )
            for name, properties in described.items()
            if PROPERTY + "version" in properties  # others may have the same prefix
        }

    def _properties(self, name: str) -> dict[str, str]:
        return self._client.describe_collection(name).get("properties", {})

    def in_use(self) -> set[str]:
        """Returns the collections that any alias points to, of a sink or not."""
        return {self._target(alias) for alias in self._aliases()}

    def serving(self) -> str | None:
        alias = f"{self._prefix}_{CONTENTS}"
        return self._target(alias) if alias in self._aliases() else None

    def _target(self, alias: str) -> str:
        return self._client.describe_alias(alias)["collection_name"]

    def _aliases(self) -> list[str]:
        return self._client.list_aliases()["aliases"]

    def create(self, name: str, rows: Rows, labels: Labels, on_rows: Callable[[int], None]) -> None:
        self._client.create_collection(
            name,
            schema=self._schema(rows, labels),
            properties={PROPERTY + key: text for key, text in labels.facts().items()},
        )
        done = 0
        for batch in rows.batches(self._batch_size):
            self._client.insert(name, _records(batch))
            done += len(batch)
            on_rows(done)

    def finish(self, name: str, rows: Rows) -> None:
        self._client.flush(name)
        self._client.create_index(name, self._indexes(rows), sync=False)
        self._wait_for_index(name)
        self._client.load_collection(name)
        self._client.alter_collection_properties(name, {PROPERTY + "complete": "true"})

    def _schema(self, rows: Rows, labels: Labels) -> Any:
        told = f"Towers {rows.name}, version {labels.version}, space_id {labels.space_id}"
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False, description=told)
        for field in rows.schema:
            schema.add_field(field.name, **self._field(field, is_id=field.name == rows.id_column))
        return schema

    def _field(self, field: pa.Field, is_id: bool) -> dict[str, Any]:
        """Returns a field's type; dates and times become ISO 8601 text, which sorts as they do."""
        types, kind = self._pymilvus.DataType, field.type
        if is_id:
            return {"datatype": types.VARCHAR, "is_primary": True, "max_length": TEXT_BYTES}
        if pa.types.is_fixed_size_list(kind):
            return {"datatype": types.FLOAT_VECTOR, "dim": kind.list_size}
        if pa.types.is_list(kind):
            sizes = {"max_capacity": LIST_LENGTH, "max_length": TEXT_BYTES}
            return {"datatype": types.ARRAY, "element_type": types.VARCHAR, **sizes}
        if pa.types.is_boolean(kind):
            return {"datatype": types.BOOL, "nullable": True}
        if pa.types.is_integer(kind):
            return {"datatype": types.INT64, "nullable": True}
        return {"datatype": types.VARCHAR, "max_length": TEXT_BYTES, "nullable": True}

    def _indexes(self, rows: Rows) -> Any:
        indexes = self._client.prepare_index_params()
        indexes.add_index(VECTOR, index_type="AUTOINDEX", metric_type="IP")
        for name in INDEXED:
            if name in rows.schema.names:
                indexes.add_index(name, index_type="INVERTED")
        return indexes

    def _wait_for_index(self, name: str) -> None:
        """Waits for the index. The client's own wait sleeps before its first check, and asks Lite for an unknown
        method."""
        while (told := self._client.describe_index(name, VECTOR))["state"] != "Finished":
            if told["state"] == "Failed":
                raise self._pymilvus.MilvusException(message=f"index of {name}: {told.get('index_state_fail_reason')}")
            time.sleep(POLL_S)

    def count(self, name: str) -> int:
        self._client.load_collection(name)  # a file of Lite that is opened anew has nothing loaded
        return self._client.query(name, filter="", output_fields=["count(*)"], **STRONG)[0]["count(*)"]

    def vectors(self, name: str, id_column: str, ids: Sequence[str]) -> dict[str, Float[np.ndarray, " dim"]]:
        listed = json.dumps(list(ids), ensure_ascii=False)  # the client's `get` does not escape quotes
        found = self._client.query(name, filter=f"{id_column} in {listed}", output_fields=[id_column, VECTOR], **STRONG)
        return {row[id_column]: np.array(row[VECTOR], np.float32) for row in found}

    def best_score(self, name: str, vector: Float[np.ndarray, " dim"]) -> float:
        (hits,) = self._client.search(name, data=[vector], limit=1, **STRONG)
        return hits[0]["distance"] if hits else -np.inf

    def switch(self, contents: str, users: str, labels: Labels) -> None:
        """Switches both aliases, that of contents last, as it tells which version is served."""
        for table, name in ((USERS, users), (CONTENTS, contents)):
            alias = f"{self._prefix}_{table}"
            change = self._client.alter_alias if alias in self._aliases() else self._client.create_alias
            change(name, alias)

    def drop(self, name: str) -> None:
        self._client.drop_collection(name)


def _records(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    columns = {name: _values(batch[name]) for name in batch.schema.names}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _values(column: pa.Array) -> Sequence[Any] | np.ndarray:
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy().reshape(len(column), -1)
    if pa.types.is_list(column.type):
        return [value or [] for value in column.to_pylist()]
    if pa.types.is_temporal(column.type):
        return [value and value.isoformat() for value in column.to_pylist()]
    return column.to_pylist()


def _told(error: Any) -> str:
    """Returns the message of an error of the client, or of gRPC below it."""
    said = error.message if hasattr(error, "message") else error.details() if hasattr(error, "details") else error
    return " ".join(str(said).split())


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences both libraries, which log a traceback for every refusal; it is reported in one line instead."""
    loggers = [logging.getLogger(name) for name in ("pymilvus", "milvus_lite")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
