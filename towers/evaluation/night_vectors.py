"""Vectors of a model on one night, kept by id, and their evaluation on the days that followed."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float

from towers.contract.provenance import Provenance
from towers.data.store import Store
from towers.errors import UserError
from towers.evaluation.checks.future import trained_before
from towers.evaluation.exports import Until
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.result import Evaluation
from towers.manifest import atomic_file
from towers.retrieval.ids import Ids

CONTENTS, USERS, PROVENANCE = "contents", "users", "provenance"
COLUMNS = pa.schema([("table", pa.string()), ("id", pa.string()), ("vector", pa.list_(pa.float32()))])


@runtime_checkable  # for the tests, which check annotations at run time
class Vectors(Protocol):
    """A source of vectors for the rows of a store: a run, an export (`ExportOnStore`), or kept vectors of a night."""

    @property
    def store(self) -> Store:
        """Store with the listeners and contents."""
        ...

    @property
    def provenance(self) -> Provenance:
        """Data on which the network was trained."""
        ...

    def content_vectors(self) -> Float[np.ndarray, "contents dim"]:
        """Returns vectors by content row of the store."""
        ...

    def user_vectors(
        self, user_rows: np.ndarray, content_vectors: Float[np.ndarray, "contents dim"], until: Until
    ) -> Float[np.ndarray, "users dim"]:
        """Returns the vectors of some listeners from their histories up to the start of a period."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NightVectors:
    """Vectors of the contents and listeners that were known on a night, by id.

    Args:
        content_ids: ids of the listed contents.
        contents: vectors of these contents.
        user_ids: ids of the listeners.
        users: vectors of these listeners, from all their events up to that night.
        provenance: data on which the network was trained.
    """

    content_ids: pa.ChunkedArray
    contents: Float[np.ndarray, "contents dim"]
    user_ids: pa.ChunkedArray
    users: Float[np.ndarray, "users dim"]
    provenance: Provenance

    @classmethod
    def of(cls, vectors: Vectors) -> "NightVectors":
        """Collects the vectors of a source on the store of the night."""
        store, contents = vectors.store, vectors.content_vectors()
        listed, users = np.flatnonzero(store.is_listed), np.flatnonzero(store.has_user)
        return cls(
            content_ids=store.contents["content_id"].take(pa.array(listed)),
            contents=contents[listed],
            user_ids=store.users["user_id"].take(pa.array(users)),
            users=vectors.user_vectors(users, contents, "end"),
            provenance=vectors.provenance,
        )

    def write(self, path: Path) -> None:
        """Writes a Parquet file atomically, with a row per vector and the columns `table`, `id` and `vector`."""
        parts = [(CONTENTS, self.content_ids, self.contents), (USERS, self.user_ids, self.users)]
        rows = pa.concat_tables(
            pa.table([[name] * len(ids), ids, [*vectors.astype(np.float32)]], schema=COLUMNS)
            for name, ids, vectors in parts
        )
        described = rows.replace_schema_metadata({PROVENANCE: json.dumps(asdict(self.provenance))})
        with atomic_file(path) as temporary:
            pq.write_table(described, temporary, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> "NightVectors":
        """Reads what `write` wrote."""
        rows = pq.ParquetFile(path).read()
        ids, vectors = {}, {}
        for name in (CONTENTS, USERS):
            part = rows.filter(pc.field("table") == name)
            ids[name] = part["id"]
            vectors[name] = pc.call_function("list_flatten", [part["vector"]]).to_numpy().reshape(len(part), -1)
        return cls(
            content_ids=ids[CONTENTS], contents=vectors[CONTENTS], user_ids=ids[USERS], users=vectors[USERS],
            provenance=Provenance(**json.loads((rows.schema.metadata or {})[PROVENANCE.encode()])),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NightOnStore:
    """Vectors of a night on a later store of the same ids.

    Args:
        kept: vectors of the night.
        store: store of the evaluation.
    """

    kept: NightVectors
    store: Store

    @property
    def provenance(self) -> Provenance:
        """Data on which the network was trained."""
        return self.kept.provenance

    def content_vectors(self) -> Float[np.ndarray, "contents dim"]:
        """Returns vectors by content row of the store, float32; zeros, which rankers exclude, for later contents."""
        rows = Ids.of(self.kept.content_ids).rows(self.store.contents["content_id"])
        return np.where((rows >= 0)[:, None], self.kept.contents[rows], np.float32(0))

    def user_vectors(
        self, user_rows: np.ndarray, content_vectors: Float[np.ndarray, "contents dim"], until: Until
    ) -> Float[np.ndarray, "users dim"]:
        """Returns listeners' vectors of the night, for any period; a listener who came later gets the normalised mean
        of all."""
        mean = self.kept.users.mean(axis=0)
        rows = Ids.of(self.kept.user_ids).rows(self.store.users["user_id"].take(pa.array(user_rows)))
        return np.where((rows >= 0)[:, None], self.kept.users[rows], mean / max(float(np.linalg.norm(mean)), 1e-12))


def judged_tomorrow(protocol: EvaluationProtocol, name: str, vectors: Vectors) -> Evaluation:
    """Evaluates vectors on the days after the night on which they were made.

    Args:
        protocol: protocol on the test period of a store from `tomorrow_of`; the same for all compared vectors.
        name: name of the evaluated vectors.
        vectors: vectors on the store of the protocol.

    Raises:
        UserError: the network was trained on the evaluated days.
    """
    check = trained_before(protocol.store, "test", vectors.provenance)
    if check.passed is False:
        raise UserError(f"{name}: was trained on the days on which it would be evaluated ({check.detail})")
    contents = vectors.content_vectors()
    return protocol.evaluate_vectors(name, vectors.user_vectors(protocol.task.user_rows, contents, "test"), contents)
