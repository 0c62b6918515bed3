"""Styles of contents: the categories by which lists are calibrated."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Integer

from towers.features.ragged import Ragged
from towers.manifest import read_json, write_json
from towers.retrieval import files
from towers.retrieval.files import mapped_array, reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Styles:
    """Shares of styles in contents. A style is a kind and a genre, or a kind alone if it has no genres.

    Args:
        names: names of the styles by code, such as "track: folk" or "playlist".
        codes: codes of each content's styles, ascending.
        shares: share of each of `codes.values`, above 0; those of a content sum to 1.
        is_given: whether each content's genres are known; if not, they are imputed from its neighbours.
    """

    names: tuple[str, ...]
    codes: Ragged
    shares: Float[np.ndarray, " total"]
    is_given: Bool[np.ndarray, " contents"]

    def of(self, rows: Integer[np.ndarray, " rows"]) -> Float[np.ndarray, "rows styles"]:
        """Returns the shares of the contents `rows` as a dense float32 matrix, in time independent of the catalogue."""
        starts = self.codes.offsets[rows]
        lengths = self.codes.offsets[np.asarray(rows) + 1] - starts
        which = np.repeat(np.arange(len(rows)), lengths)
        places = np.arange(len(which)) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
        dense = np.zeros((len(rows), len(self.names)), np.float32)
        dense[which, self.codes.values[places]] = self.shares[places]
        return dense

    @classmethod
    def read(cls, folder: Path) -> "Styles":
        """Opens the folder of `write`, memory-mapped; raises `UserError` for a damaged file."""
        with reading(folder / files.STYLE_NAMES) as path:
            names = tuple(read_json(path)["names"])
        offsets, codes, shares, is_given = (mapped_array(folder / name) for name in files.STYLE_ARRAYS)
        return cls(names=names, codes=Ragged(offsets, codes), shares=shares, is_given=is_given)

    def write(self, folder: Path) -> None:
        """Creates `folder`, with a file of names and one for each array."""
        folder.mkdir()
        write_json(folder / files.STYLE_NAMES, {"names": list(self.names)})
        arrays = (self.codes.offsets, self.codes.values, self.shares, self.is_given)
        for name, array in zip(files.STYLE_ARRAYS, arrays, strict=True):
            np.save(folder / name, array)
