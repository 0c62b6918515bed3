"""Today's listeners, events and contents in the codes of a network that was trained on an earlier store."""

from dataclasses import replace
from functools import cached_property

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Int

from towers.contract import schema
from towers.data.histories import Histories, Until
from towers.data.store import Store
from towers.errors import UserError
from towers.features.metadata import content_values, encode_values
from towers.features.ragged import Ragged
from towers.features.text import category_text
from towers.features.vocabulary import Vocabulary
from towers.manifest import digest_of


def refreshed_fingerprint(trained: str, today: str) -> str:
    """Returns a fingerprint that changes with the store that was trained on and with the one that is read."""
    return digest_of([trained, today])[:16]


def rows_before(before: Store, now: Store) -> Int[np.ndarray, " contents"]:
    """Returns the row in `before` of each content of `now`, found by id; -1 if it had none."""
    known = before.contents["content_id"].combine_chunks()
    options = pc.SetLookupOptions(value_set=known, skip_nulls=True)
    rows = pc.call_function("index_in", [now.contents["content_id"].cast(known.type)], options)
    return rows.fill_null(-1).to_numpy().astype(np.int64)


class RefreshedStore(Store):
    """A store of today, read with the vocabularies of the store that a network was trained on.

    Rows are today's. Counts of training are given by today's rows, and are 0 for contents that training did not know;
    the vectors of these come from their sound and metadata alone.

    Args:
        today: the store that is read.
        trained: the store that the network was trained on, as training saw it.

    Raises:
        UserError: the two were prepared with other features.
    """

    def __init__(self, today: Store, trained: Store):
        super().__init__(today.folder)
        before, now = trained.features.to_dict(), today.features.to_dict()
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                raise UserError(
                    f"refresh=true: {today.folder} was prepared with features.{key}={now.get(key)}, the network was "
                    f"trained with {before.get(key)}; prepare with the same features, or train again"
                )
        self._trained = trained
        self.manifest = {
            **self.manifest,
            "fingerprint": refreshed_fingerprint(trained.fingerprint, today.fingerprint),
            "validation_start_us": trained.manifest["validation_start_us"],
            "test_start_us": trained.manifest["test_start_us"],
            "gap_us": trained.gap_us,
        }

    @cached_property
    def trained_rows(self) -> Int[np.ndarray, " contents"]:
        """The row that each content had in training, -1 where it had none.

        They are found by id, so that any two stores may meet; of two versions of one store, whose rows last, each
        content that is still there has its own.
        """
        return rows_before(self._trained, self)

    @cached_property
    def train_positives(self) -> Int[np.ndarray, " contents"]:
        """Number of each content's positive events in the store that was trained on."""
        counts = np.append(self._trained.train_positives, 0)
        return counts[self.trained_rows]

    def trained_until(self, until: Until) -> Store:
        """Returns the store itself, as `trained` was given as training saw it."""
        return self

    def vocabulary(self, name: str) -> Vocabulary:
        """Returns the vocabulary of training."""
        return self._trained.vocabulary(name)

    @cached_property
    def content_codes(self) -> dict[str, Ragged]:
        """Today's metadata in the codes of training."""
        parts = self.features.content_parts
        return {part: encode_values(*content_values(part, self.contents), self.vocabulary(part)) for part in parts}

    @cached_property
    def user_codes(self) -> Int[np.ndarray, "users columns"]:
        """Today's listeners' features in the codes of training."""
        columns = [
            self.vocabulary(name).encode([category_text(value) for value in self.users[name].to_pylist()])
            for name in self.features.user_columns
        ]
        return np.stack(columns, axis=1) if columns else np.zeros((len(self.users), 0), np.int32)

    @cached_property
    def histories(self) -> Histories:
        """Today's events, their contexts and devices in the codes of training."""
        histories = super().histories
        columns = {}
        for name in schema.EVENT_VOCABULARIES:
            own = super().vocabulary(name)
            code_of = np.append([0], self.vocabulary(name).encode(own.values)).astype(np.int32)
            columns[name] = code_of[np.asarray(getattr(histories, name))]
        return replace(histories, **columns)
