"""An export, measured on a prepared store: the vectors that serving would have had, at any of the store's cuts.

Contents are those of the store, found in the export by id; listeners are encoded from their histories in the store
by the export's own ONNX user tower and vocabularies. So the store may be a later one than the export was made from;
whether it is an earlier one, whose periods were trained on, is checked in `future.trained_before`.
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
"""Padded events that the network reads at a time."""


@dataclass(frozen=True)
class ExportOnStore:
    """Says of an export what a training run says of itself: its vectors, and what they were trained on.

    Args:
        export: whose vectors are measured.
        store: whose listeners they are measured on.
    """

    export: Export
    store: Store

    @property
    def provenance(self) -> Provenance:
        """What the export was trained on."""
        return self.export.provenance

    @cached_property
    def _export_rows(self) -> Int[np.ndarray, " contents"]:
        """By content row of the store; -1 where the export lacks it."""
        rows = self.export.content_ids.rows(self.store.contents["content_id"])
        if not (rows >= 0).any():
            raise UserError(
                f"export={self.export.folder}: shares no content with the store {self.store.folder}; name the "
                "data that it was made for (data, data.name)"
            )
        return rows

    @property
    def missing(self) -> Int[np.ndarray, " missing"]:
        """Content rows of the store that the export does not hold: they came after it was made.

        Raises:
            UserError: it holds none of them.
        """
        return np.flatnonzero((self._export_rows < 0) & self.store.has_content)

    def notes(self) -> list[str]:
        """What the export and the store do not share, a line each for people; empty where they share everything.

        Raises:
            UserError: they share no content.
        """
        notes, missing, total = [], len(self.missing), int(self.store.has_content.sum())
        if missing:
            notes.append(
                f"{self.export.folder}: lacks {missing:,} of the {total:,} contents ({missing / total:.1%}) of "
                f"{self.store.folder}; they stand in no list, and are missed where they are targets"
            )
        held = self.store.features.user_columns
        columns = [name for name in self.export.features.user_columns if name not in held]
        if columns:
            notes.append(
                f"{self.export.folder}: reads {', '.join(columns)} of listeners, which {self.store.folder} does not "
                "hold; for everybody unknown"
            )
        return notes

    def content_vectors(self) -> Float[np.ndarray, "contents dim"]:
        """By content row of the store, float32: unit, or zero for what is `missing`, which a ranker then leaves out.

        Raises:
            UserError: the export holds none of them.
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
        """Unit vectors of the store's listeners from their histories up to the start of a period, or to the end.

        Args:
            user_rows: of the store.
            content_vectors: as `content_vectors` gives them.
            until: the period that is not seen any more.
        """
        histories = self.store.histories
        begin, end = (np.asarray(column)[user_rows] for column in (histories.offsets, histories.known_until(until)))
        is_truncated = self.export.tower_inputs is not self.export.vectors  # then its tower reads more than is exported
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
        """Over the store's content rows. Elapsed times count only where training and the store both know times."""
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
        """The export's codes of the store's listeners."""
        held, names = self.store.features.user_columns, self.export.features.user_columns
        codes = np.zeros((self.store.histories.num_users, len(names)), np.int64)
        for column, name in enumerate(names):
            if name in held:
                codes[:, column] = self.codes_of(name)[self.store.user_codes[:, held.index(name)]]
        return codes

    def codes_of(self, vocabulary: str) -> Int[np.ndarray, " codes"]:
        """The export's code by the store's code of the same text; 0 for what the export does not know."""
        texts = self.store.vocabulary(vocabulary).values
        return np.concatenate([[0], self.export.vocabulary(vocabulary).encode(texts)]).astype(np.int64)
