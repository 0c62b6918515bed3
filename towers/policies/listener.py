"""A listener for whom lists are made: their history, their vector, and the utility of contents for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.policies.mixing import mixture_features
from towers.policies.tastes import Tastes, tastes_of
from towers.retrieval.asker import History, Id, asker_of
from towers.retrieval.export import Export
from towers.retrieval.query import Standing, standing_of
from towers.retrieval.search import listen_log_odds


@dataclass(frozen=True, kw_only=True, eq=False)
class Listener:
    """A listener of an export, or a new listener with a given history.

    Args:
        export: export that all rows here refer to.
        vector: `[dim]`, unit, in the export's space.
        standing: the listener's relation to the contents in their history.
        user_row: row of a listener of the export; null for a new one.
    """

    export: Export
    vector: Float[np.ndarray, " dim"]
    standing: Standing
    user_row: int | None = None

    @classmethod
    def of_row(cls, export: Export, user_row: int) -> "Listener":
        """Returns the listener in a row of the export."""
        vector = np.asarray(export.user_vectors[user_row])
        return cls(export=export, vector=vector, standing=standing_of(export, user_row), user_row=user_row)

    @classmethod
    def of(
        cls,
        export: Export,
        *,
        user: Id | None = None,
        history: History | None = None,
        features: Mapping[str, Any] | None = None,
    ) -> "Listener":
        """Returns a listener by id, or a new one; raises as `asker_of`."""
        asker, past = asker_of(export, user=user, history=history, features=features)
        assert past is not None  # it is null for a bare vector only
        return cls(export=export, vector=np.asarray(asker.vector), standing=past.standing, user_row=past.user_row)

    @cached_property
    def met(self) -> Int[np.ndarray, " met"]:
        """Rows of all contents that any event of theirs names, sorted."""
        rows = self.standing.events.content_row
        return np.unique(rows[rows >= 0]).astype(np.int64)

    @property
    def chosen(self) -> Int[np.ndarray, " chosen"]:
        """Rows of what they chose (positive events), in time order, with repeats."""
        return self.standing.events.chosen_rows

    def affinity(self, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """Returns the inner products with some contents."""
        return self.export.vectors[rows] @ self.vector

    @cached_property
    def tastes(self) -> Tastes:
        """The listener's tastes, one or several."""
        codes = np.zeros(self.export.user_codes.shape[1], np.int64) if self.user_row is None else self._codes
        return tastes_of(self.export, self.standing.events, self.vector, codes)

    @property
    def _codes(self) -> Int[np.ndarray, " columns"]:
        return self.export.user_codes[self.user_row].astype(np.int64)

    def utility(self, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """Returns the utility of contents for the listener: the log odds of a listen; higher is better.

        Contents that are new to the listener are scored by the learned mixture if the export has one; without any model
        of listens the inner product is the utility.

        Args:
            rows: rows of contents, each once.
        """
        model, affinity = self.export.listen_chance, self.affinity(rows)
        if model is None:
            return affinity.astype(np.float64)
        odds = listen_log_odds(self.export, model, self.standing, rows, affinity)
        if self.export.mixture is None:
            return odds
        new = np.flatnonzero(~np.isin(rows, self.chosen))
        odds[new] = self.export.mixture.odds(self.mixture_features(rows[new], affinity[new], odds[new]))
        return odds

    def mixture_features(
        self, rows: Int[np.ndarray, " rows"], affinity: Float[np.ndarray, " rows"], chance: Float[np.ndarray, " rows"]
    ) -> Float[np.ndarray, "rows features"]:
        """Returns the features that the learned mixture reads of contents; see `mixing.mixture_features`."""
        return mixture_features(self.export, self.standing.events, self.tastes, rows, affinity, chance)

    def has_met(self, rows: Int[np.ndarray, " rows"]) -> Bool[np.ndarray, " rows"]:
        """Returns whether any event of theirs names each of some contents."""
        return np.isin(rows, self.met)
