"""The vectors that somebody had on a night, kept by id, and how they did on the days that followed."""

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
    """The interface of whatever gives vectors for the rows of a store: a run, an export (`ExportOnStore`), or the
    vectors that were kept of a night."""

    @property
    def store(self) -> Store:
        """Whose listeners and contents they are of."""
        ...

    @property
    def provenance(self) -> Provenance:
        """What they were trained on."""
        ...

    def content_vectors(self) -> Float[np.ndarray, "contents dim"]:
        """By content row of the store."""
        ...

    def user_vectors(
        self, user_rows: np.ndarray, content_vectors: Float[np.ndarray, "contents dim"], until: Until
    ) -> Float[np.ndarray, "users dim"]:
        """Returns the vectors of some listeners, made of their histories up to the start of a period."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NightVectors:
    """Vectors of the contents and listeners that were known on a night, by id.

    Args:
        content_ids: of the listed contents.
        contents: their vectors.
        user_ids: of the listeners.
        users: their vectors, from all that they had done by then.
        provenance: what the network was trained on.
    """

    content_ids: pa.ChunkedArray
    contents: Float[np.ndarray, "contents dim"]
    user_ids: pa.ChunkedArray
    users: Float[np.ndarray, "users dim"]
    provenance: Provenance

    @classmethod
    def of(cls, vectors: Vectors) -> "NightVectors":
        """Takes those of somebody on the store of the night."""
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
        """Writes a Parquet file, whole or not at all: a row each, with `table`, `id` and `vector`."""
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
        kept: the vectors.
        store: that is judged on.
    """

    kept: NightVectors
    store: Store

    @property
    def provenance(self) -> Provenance:
        """What the network was trained on."""
        return self.kept.provenance

    def content_vectors(self) -> Float[np.ndarray, "contents dim"]:
        """By content row of the store, float32; zero for what came after the night, which a ranker leaves out."""
        rows = Ids.of(self.kept.content_ids).rows(self.store.contents["content_id"])
        return np.where((rows >= 0)[:, None], self.kept.contents[rows], np.float32(0))

    def user_vectors(
        self, user_rows: np.ndarray, content_vectors: Float[np.ndarray, "contents dim"], until: Until
    ) -> Float[np.ndarray, "users dim"]:
        """Returns listeners' vectors as they were on the night, whatever period is asked for; a listener who came
        later gets the normalised mean of all."""
        mean = self.kept.users.mean(axis=0)
        rows = Ids.of(self.kept.user_ids).rows(self.store.users["user_id"].take(pa.array(user_rows)))
        return np.where((rows >= 0)[:, None], self.kept.users[rows], mean / max(float(np.linalg.norm(mean)), 1e-12))


def judged_tomorrow(protocol: EvaluationProtocol, name: str, vectors: Vectors) -> Evaluation:
    """How somebody's vectors do on what followed the night that they were made on.

    Args:
        protocol: of the test of a view as `tomorrow_of` gives it; the same for everybody who is compared.
        name: of who is judged.
        vectors: on the store of the protocol.

    Raises:
        UserError: they were trained on what they are judged by.
    """
    check = trained_before(protocol.store, "test", vectors.provenance)
    if check.passed is False:
        raise UserError(f"{name}: has been trained on the days that it is to be judged by ({check.detail})")
    contents = vectors.content_vectors()
    return protocol.evaluate_vectors(name, vectors.user_vectors(protocol.task.user_rows, contents, "test"), contents)
