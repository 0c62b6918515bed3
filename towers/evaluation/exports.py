"""Evaluation of an export on a prepared store, with the vectors that serving would have had at any cut of the store.

Contents of the store are looked up in the export by id; listeners are encoded from their histories in the store by the
export's own ONNX user tower and vocabularies. So the store may be newer than the one from which the export was made;
`future.trained_before` checks that it is not an older one, on whose periods the network was trained.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from towers.contract.provenance import Provenance
from towers.data.batches import fill_batches
from towers.data.histories import Until
from towers.data.store import Store
from towers.errors import UserError
from towers.retrieval.encoders import EVENT_COLUMNS, Events, UserEncoder
from towers.retrieval.export import Export
from towers.retrieval.files import USER_TOWER

MAX_TOKENS = 4_096
"""Number of padded events per batch of the network."""


@dataclass(frozen=True)
class ExportOnStore:
    """An export opened on a store, with the same interface as a training run: vectors, and what they were trained on.

    Args:
        export: export that is evaluated.
        store: store with the contents and listeners of the evaluation.
    """

    export: Export
    store: Store

    @property
    def provenance(self) -> Provenance:
        """Data on which the export's network was trained."""
        return self.export.provenance

    @cached_property
    def _export_rows(self) -> Int[np.ndarray, " contents"]:
        """Row in the export of each content row of the store; -1 if the export does not have the content."""
        rows = self.export.content_ids.rows(self.store.contents["content_id"])
        if not (rows >= 0).any():
            raise UserError(
                f"export={self.export.folder}: shares no content with the store {self.store.folder}; name the "
                "data that it was made for (data, data.name)"
            )
        return rows

    @property
    def missing(self) -> Int[np.ndarray, " missing"]:
        """Content rows of the store that the export does not have, because they were added later.

        Raises:
            UserError: the export has none of the store's contents.
        """
        return np.flatnonzero((self._export_rows < 0) & self.store.has_content)

    def notes(self) -> list[str]:
        """Returns a message for each thing that the export and the store do not share; empty if they share everything.

        Raises:
            UserError: they share no content.
        """
        notes, missing, total = [], len(self.missing), int(self.store.has_content.sum())
        if missing:
            notes.append(
                f"{self.export.folder}: lacks {missing:,} of the {total:,} contents ({missing / total:.1%}) of "
                f"{self.store.folder}; they are in no list, and count as misses where they are targets"
            )
        held = self.store.features.user_columns
        columns = [name for name in self.export.features.user_columns if name not in held]
        if columns:
            notes.append(
                f"{self.export.folder}: reads {', '.join(columns)} of listeners, which {self.store.folder} does not "
                "hold; unknown for all listeners"
            )
        return notes

    def content_vectors(self) -> Float[np.ndarray, "contents dim"]:
        """Returns vectors by content row of the store, float32: unit vectors, or zeros for `missing` contents.

        Rankers exclude contents with a vector of zeros.

        Raises:
            UserError: the export has none of the store's contents.
        """
        return self._by_store_row(self.export.vectors)

    def _by_store_row(self, matrix: Float[np.ndarray, "exported dim"]) -> Float[np.ndarray, "contents dim"]:
        rows = self._export_rows
        found = np.zeros((len(rows), matrix.shape[1]), np.float32)
        found[rows >= 0] = matrix[rows[rows >= 0]]
        return found

    def user_vectors(
        self,
        user_rows: Int[np.ndarray, " users"],
        content_vectors: Float[np.ndarray, "contents dim"],
        until: Until,
    ) -> Float[np.ndarray, "users dim"]:
        """Returns unit vectors of the store's listeners from their histories up to the start of a period, or the end.

        Args:
            user_rows: listeners' rows in the store.
            content_vectors: the result of `content_vectors`.
            until: first period that is not read any more, or the end.
        """
        histories = self.store.histories
        begin, end = (np.asarray(column)[user_rows] for column in (histories.offsets, histories.known_until(until)))
        is_truncated = self.export.tower_inputs is not self.export.vectors  # the tower reads full vectors
        encoder = self._encoder(self._by_store_row(self.export.tower_inputs) if is_truncated else content_vectors)
        codes, contexts = self.user_codes[user_rows], self.codes_of("context")
        lengths = np.minimum(end - begin, self.export.manifest["max_length"])
        by_length = np.argsort(lengths, kind="stable")
        vectors = np.zeros((len(user_rows), self.export.manifest["dim"]), np.float32)
        for batch in fill_batches(lengths[by_length] + 1, MAX_TOKENS):
            places = by_length[batch]
            events = [self._events(slice(begin[place], end[place]), contexts) for place in places.tolist()]
            vectors[places] = encoder.encode_batch(events, codes[places])
        return vectors

    def _encoder(self, content_vectors: Float[np.ndarray, "contents dim"]) -> UserEncoder:
        """Opens the user tower over the store's content rows; it reads times if training and the store have them."""
        manifest = self.export.manifest
        has_clock = manifest["has_clock"] and self.store.has_clock
        path = self.export.folder / USER_TOWER
        return UserEncoder(path, content_vectors, self.export.space_id, manifest["max_length"], has_clock)

    def _events(self, window: slice, contexts: Int[np.ndarray, " codes"]) -> Events:
        histories = self.store.histories
        columns = {name: np.asarray(getattr(histories, name)[window]) for name in EVENT_COLUMNS}
        return Events(**columns | {"context": contexts[columns["context"]]})

    @cached_property
    def user_codes(self) -> Int[np.ndarray, "users columns"]:
        """Feature codes of the store's listeners in the export's vocabularies."""
        held, names = self.store.features.user_columns, self.export.features.user_columns
        codes = np.zeros((self.store.histories.num_users, len(names)), np.int64)
        for column, name in enumerate(names):
            if name in held:
                codes[:, column] = self.codes_of(name)[self.store.user_codes[:, held.index(name)]]
        return codes

    def codes_of(self, vocabulary: str) -> Int[np.ndarray, " codes"]:
        """Returns the export's code for each code of the store's vocabulary; 0 for text unknown to the export."""
        texts = self.store.vocabulary(vocabulary).values
        return np.concatenate([[0], self.export.vocabulary(vocabulary).encode(texts)]).astype(np.int64)
