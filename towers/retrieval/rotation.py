"""Orthogonal maps between spaces: they bring the vectors of one version to where those of another can be asked."""

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
"""How far products of the matrix's rows may be from 0 and 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceVersion:
    """A version of an export, and the space that its vectors are in."""

    version: str
    space_id: str

    def __str__(self) -> str:
        return f"{self.space_id} (version {self.version})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceRotation:
    """Turns (and perhaps mirrors) the vectors of one space into another; every inner product stays what it was.

    Args:
        source: whose vectors it takes.
        target: among whose vectors it puts them.
        matrix: `[dim, dim]`, float64, orthogonal; a column vector is multiplied from the left.
        shared: contents that it was fitted on; of a chain, in its weakest link.
        residual: root mean square distance of these contents from where they should be, 0 to 2; of a chain the sum,
            which it cannot exceed on the same contents.

    Raises:
        ValueError: a matrix that is not orthogonal.
    """

    source: SpaceVersion
    target: SpaceVersion
    matrix: Float[np.ndarray, "dim dim"]
    shared: int
    residual: float

    def __post_init__(self) -> None:
        products = self.matrix.T @ self.matrix
        is_square = self.matrix.shape == products.shape
        if not is_square or not np.abs(products - np.eye(len(products))).max() <= ORTHOGONAL_TO:  # NaN is not, either
            raise ValueError("the matrix of a map between spaces is not orthogonal")

    def apply(self, vectors: Float[np.ndarray, "... dim"]) -> Float[np.ndarray, "... dim"]:
        """Vectors of the source's space to the target's, in the precision that they came in."""
        return (vectors @ self.matrix.T).astype(vectors.dtype)

    def then(self, other: "SpaceRotation") -> "SpaceRotation":
        """This map, then `other`, as one.

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
        """The way back."""
        return SpaceRotation(
            source=self.target, target=self.source, matrix=self.matrix.T, shared=self.shared, residual=self.residual
        )

    @staticmethod
    def chain(maps: Sequence["SpaceRotation"]) -> "SpaceRotation":
        """The maps one after the other, at least one, as one; raises as `then`."""
        return reduce(SpaceRotation.then, maps)

    def save(self, folder: Path) -> None:
        """Writes `space_map.npy` and `space_map.json` into `folder`."""
        with atomic_file(folder / ROTATION) as temporary, temporary.open("wb") as file:
            np.save(file, self.matrix, allow_pickle=False)
        facts = {"source": asdict(self.source), "target": asdict(self.target)}
        write_json(folder / ROTATION_FACTS, facts | {"shared": self.shared, "residual": self.residual})

    @classmethod
    def load(cls, folder: Path) -> "SpaceRotation":
        """What `save` wrote.

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
