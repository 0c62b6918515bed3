"""Neighbours of contents by shared listeners, as opposed to neighbours by vector."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from towers.retrieval import files
from towers.retrieval.files import mapped_array


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """Nearest contents of each content by shared listeners.

    Neighbours of an artist are artists, those of a playable content are playable, and playlists have none.

    Args:
        rows: content rows, nearest first; -1 if there are fewer.
        weights: damped cosine of content and neighbour, above 0 and below 1; 0 without a neighbour.
    """

    rows: Int[np.ndarray, "contents neighbours"]
    weights: Float[np.ndarray, "contents neighbours"]

    @classmethod
    def read(cls, folder: Path) -> "Neighbours":
        """Opens the folder of `write`, memory-mapped; raises `UserError` for a damaged file."""
        names = (files.CO_LISTENING_ROWS, files.CO_LISTENING_WEIGHTS)
        rows, weights = (mapped_array(folder / name) for name in names)
        return cls(rows=rows, weights=weights)

    def among(
        self, chosen: Int[np.ndarray, " chosen"], rows: Int[np.ndarray, " rows"]
    ) -> tuple[Int[np.ndarray, " found"], Int[np.ndarray, " found"], Float[np.ndarray, " found"]]:
        """Finds which of the contents `rows` are neighbours of the contents `chosen`.

        Args:
            chosen: rows of the contents whose neighbours are searched.
            rows: rows of the possible neighbours, each once.

        Returns:
            For each match: the neighbour's index in `rows`, the content's index in `chosen`, and the weight. Matches
            are in the order of `chosen`, for each content the nearest first.
        """
        if not len(rows):
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
        near, in_order = self.rows[chosen].ravel(), np.argsort(rows)
        places = in_order[np.minimum(np.searchsorted(rows, near, sorter=in_order), len(rows) - 1)]
        found = np.flatnonzero(rows[places] == near)
        return places[found], found // self.rows.shape[1], self.weights[chosen].ravel()[found]

    def write(self, folder: Path) -> None:
        """Creates `folder`, with a file of rows and one of weights."""
        folder.mkdir()
        np.save(folder / files.CO_LISTENING_ROWS, self.rows)
        np.save(folder / files.CO_LISTENING_WEIGHTS, self.weights)
