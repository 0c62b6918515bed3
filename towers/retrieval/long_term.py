"""What a listen is worth later: on how many of the days after they discovered it by way of a content listeners come
back. Knows no torch."""

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
"""What listeners come back to: anything by the content's first artist (the content itself where none is known), or the
content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LongTerm:
    """The expected return of contents: beliefs about the mean over those who discover something by way of them.

    Times the chance that somebody listens at all it is what a recommendation is worth; whoever uses it multiplies.

    Args:
        expected: by row, in weighted days of coming back, 0 or more, float32; of an artist over all their contents.
        deviation: standard deviation of the belief, float32.
        days: after the discovery that are looked at.
        returns_to: what it is that is discovered, and come back to.
        intercept: expected return of a content of vector 0 that nobody discovered yet.
        slope: how it depends on the vector.
        prior_deviation: standard deviation of the belief about such a content.
        fitted: on what it was fitted.
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
        """The expected return of contents that nobody discovered yet, by their vectors; float64."""
        return np.maximum(self.intercept + vectors.astype(np.float64) @ self.slope, 0.0)

    def write(self, folder: Path, space_id: str) -> None:
        """Makes `folder`, with a file of facts and one of each array, and the space whose vectors `slope` reads."""
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
        """Memory-mapped, from the folder that `write` made.

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
