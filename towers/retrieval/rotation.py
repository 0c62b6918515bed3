"""Orthogonal maps between vector spaces, which make vectors of one version comparable with those of another."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path

import numpy as np
from jaxtyping import Float

from towers.errors import UserError
from towers.manifest import atomic_file, read_json, write_json
from towers.retrieval.files import ROTATION, ROTATION_FACTS, reading

ORTHOGONAL_TO = 1e-9
"""Tolerance of the orthogonality check: largest deviation of a product of two columns from 0 or 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceVersion:
    """A version of an export, and the id of its vector space."""

    version: str
    space_id: str

    def __str__(self) -> str:
        return f"{self.space_id} (version {self.version})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceRotation:
    """Rotation (possibly with a reflection) of one vector space into another, which preserves all inner products.

    Args:
        source: version whose vectors the map takes.
        target: version into whose space it maps them.
        matrix: `[dim, dim]`, float64, orthogonal; it multiplies a column vector from the left.
        shared: number of contents on which it was fitted; for a chain, the smallest number of its maps.
        residual: root mean square distance between the mapped and the target vectors of these contents, 0 to 2; for a
            chain the sum, an upper bound if all maps were fitted on the same contents.

    Raises:
        ValueError: the matrix is not orthogonal.
    """

    source: SpaceVersion
    target: SpaceVersion
    matrix: Float[np.ndarray, "dim dim"]
    shared: int
    residual: float

    def __post_init__(self) -> None:
        products = self.matrix.T @ self.matrix
        is_square = self.matrix.shape == products.shape
        if not is_square or not np.abs(products - np.eye(len(products))).max() <= ORTHOGONAL_TO:  # true for NaN, too
            raise ValueError("the matrix of a map between spaces is not orthogonal")

    def apply(self, vectors: Float[np.ndarray, "... dim"]) -> Float[np.ndarray, "... dim"]:
        """Maps vectors of the source's space to the target's, in their own precision."""
        return (vectors @ self.matrix.T).astype(vectors.dtype)

    def then(self, other: "SpaceRotation") -> "SpaceRotation":
        """Returns the composition of this map and then `other`.

        Raises:
            UserError: `other` does not start in the space where this one ends.
        """
        if self.target.space_id != other.source.space_id:
            raise UserError(
                f"a map into space {self.target} cannot be followed by one from {other.source}; chain the maps of "
                "versions that follow each other"
            )
        return SpaceRotation(
            source=self.source,
            target=other.target,
            matrix=other.matrix @ self.matrix,
            shared=min(self.shared, other.shared),
            residual=self.residual + other.residual,
        )

    def inverse(self) -> "SpaceRotation":
        """Returns the inverse map."""
        return SpaceRotation(
            source=self.target, target=self.source, matrix=self.matrix.T, shared=self.shared, residual=self.residual
        )

    @staticmethod
    def chain(maps: Sequence["SpaceRotation"]) -> "SpaceRotation":
        """Composes one or more maps in their order; raises what `then` raises."""
        return reduce(SpaceRotation.then, maps)

    def save(self, folder: Path) -> None:
        """Writes `space_map.npy` and `space_map.json` into `folder`."""
        with atomic_file(folder / ROTATION) as temporary, temporary.open("wb") as file:
            np.save(file, self.matrix, allow_pickle=False)
        facts = {"source": asdict(self.source), "target": asdict(self.target)}
        write_json(folder / ROTATION_FACTS, facts | {"shared": self.shared, "residual": self.residual})

    @classmethod
    def load(cls, folder: Path) -> "SpaceRotation":
        """Reads the files of `save`.

        Raises:
            UserError: a file is missing or damaged.
        """
        facts = read_json(folder / ROTATION_FACTS)
        with reading(folder / ROTATION) as path:
            return cls(
                source=SpaceVersion(**facts["source"]),
                target=SpaceVersion(**facts["target"]),
                matrix=np.load(path, allow_pickle=False),
                shared=facts["shared"],
                residual=facts["residual"],
            )
