"""Contents that the same listeners choose: what is near by listening, beside what is near by vector."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from towers.retrieval import files
from towers.retrieval.files import mapped_array


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """The nearest of each content by who chose it; those of an artist are artists, those of a content that can be
    played can be played, and playlists have none.

    Args:
        rows: content rows, the nearest first, -1 where there are fewer.
        weights: damped cosine of the two, above 0 and below 1; 0 where there is no neighbour.
    """

    rows: Int[np.ndarray, "contents neighbours"]
    weights: Float[np.ndarray, "contents neighbours"]

    @classmethod
    def read(cls, folder: Path) -> "Neighbours":
        """Memory-mapped, from the folder that `write` made; raises `UserError` for a damaged file."""
        names = (files.CO_LISTENING_ROWS, files.CO_LISTENING_WEIGHTS)
        rows, weights = (mapped_array(folder / name) for name in names)
        return cls(rows=rows, weights=weights)

    def among(
        self, chosen: Int[np.ndarray, " chosen"], rows: Int[np.ndarray, " rows"]
    ) -> tuple[Int[np.ndarray, " found"], Int[np.ndarray, " found"], Float[np.ndarray, " found"]]:
        """Which of some contents are neighbours of others.

        Args:
            chosen: rows of the contents whose neighbours are meant.
            rows: of the contents that are looked for, each once.

        Returns:
            Of each neighbour that is found its place in `rows`, that in `chosen` of the content whose neighbour it is,
            and its weight; by the latter place, the nearest first.
        """
        if not len(rows):
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
        near, in_order = self.rows[chosen].ravel(), np.argsort(rows)
        places = in_order[np.minimum(np.searchsorted(rows, near, sorter=in_order), len(rows) - 1)]
        found = np.flatnonzero(rows[places] == near)
        return places[found], found // self.rows.shape[1], self.weights[chosen].ravel()[found]

    def write(self, folder: Path) -> None:
        """Makes `folder`, with a file of rows and one of weights."""
        folder.mkdir()
        np.save(folder / files.CO_LISTENING_ROWS, self.rows)
        np.save(folder / files.CO_LISTENING_WEIGHTS, self.weights)
