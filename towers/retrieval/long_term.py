"""Long-term value of a listen: on how many days listeners return to an artist or a content after they discovered it
through a content. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from towers.errors import UserError
from towers.manifest import read_json, write_json
from towers.retrieval import files
from towers.retrieval.files import mapped_array, reading

ReturnsTo = Literal["artist", "content"]
"""The object of a return: any content by the content's first artist (the content itself if no artist is known), or only
the content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LongTerm:
    """Expected return of contents: posterior beliefs about its mean over listeners who discover something through them.

    The value of a recommendation is this expected return times the chance of a listen; the caller multiplies them.

    Args:
        expected: posterior mean by row, in weighted days with a return, 0 or more, float32; for an artist it is over
            all their contents.
        deviation: posterior standard deviation by row, float32.
        days: number of days after the discovery in which returns are counted.
        returns_to: object that is discovered and returned to.
        intercept: prior mean of a content without discoveries whose vector is 0.
        slope: coefficients of the vector in the prior mean.
        prior_deviation: prior standard deviation for a content without discoveries.
        fitted: facts about the data of the fit.
    """

    expected: Float[np.ndarray, " contents"]
    deviation: Float[np.ndarray, " contents"]
    days: int
    returns_to: ReturnsTo
    intercept: float
    slope: Float[np.ndarray, " dim"]
    prior_deviation: float
    fitted: dict[str, Any]

    def of_new(self, vectors: Float[np.ndarray, "some dim"]) -> Float[np.ndarray, " some"]:
        """Returns the prior expected return, float64, of contents without discoveries, from their vectors."""
        return np.maximum(self.intercept + vectors.astype(np.float64) @ self.slope, 0.0)

    def write(self, folder: Path, space_id: str) -> None:
        """Creates `folder`, with a file of facts (among them the space of `slope`) and one for each array."""
        folder.mkdir()
        facts = {
            "space_id": space_id, "days": self.days, "returns_to": self.returns_to, "intercept": self.intercept,
            "slope": self.slope.tolist(), "prior_deviation": self.prior_deviation, "fitted": self.fitted,
        }  # fmt: skip
        write_json(folder / files.LONG_TERM_FACTS, facts)
        for name, array in zip(files.LONG_TERM_ARRAYS, (self.expected, self.deviation), strict=True):
            np.save(folder / name, array)

    @classmethod
    def read(cls, folder: Path, space_id: str) -> "LongTerm":
        """Opens the folder of `write`, memory-mapped.

        Raises:
            UserError: a file is missing or damaged, or belongs to another space.
        """
        with reading(folder / files.LONG_TERM_FACTS) as path:
            facts = read_json(path)
        expected, deviation = (mapped_array(folder / name) for name in files.LONG_TERM_ARRAYS)
        try:
            if facts["space_id"] != space_id:
                found = facts["space_id"]
                raise UserError(f"{path}: space_id {found} is not the export's {space_id}; copy the export again")
            return cls(
                expected=expected, deviation=deviation, days=facts["days"], returns_to=facts["returns_to"],
                intercept=facts["intercept"], slope=np.array(facts["slope"], np.float64),
                prior_deviation=facts["prior_deviation"], fitted=facts["fitted"],
            )  # fmt: skip
        except KeyError as error:
            raise UserError(f"{path}: {error} is missing; make or copy the export again") from error
