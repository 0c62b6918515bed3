"""From the vectors that the model makes to those that are exported: truncated, and turned into an earlier space."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from towers.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """The leading dimensions, normalised (Matryoshka representations, Kusupati et al. 2022), then an orthogonal map.

    Inner products between exported vectors are those between truncated ones: the map changes none of them.

    Args:
        model_dim: of the model's vectors.
        dim: of the exported ones, at most `model_dim`.
        rotation: `[dim, dim]`, orthogonal; null: none.

    Raises:
        UserError: more dimensions than there are, or none.
    """

    model_dim: int
    dim: int
    rotation: Float[np.ndarray, "dim dim"] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.dim <= self.model_dim:
            raise UserError(
                f"export.dim={self.dim}: the model's vectors have {self.model_dim}; give 1 to {self.model_dim}"
            )

    @property
    def is_identity(self) -> bool:
        """Whether exported vectors are the model's own."""
        return self.rotation is None and self.dim == self.model_dim

    @property
    def is_truncated(self) -> bool:
        """Whether dimensions were cut off."""
        return self.dim < self.model_dim

    @property
    def writes(self) -> Float[np.ndarray, "dim model_dim"] | None:
        """The matrix whose product with a model's vector is, normalised, the exported one; null: the vector itself."""
        if self.is_identity:
            return None
        leading = np.eye(self.dim, self.model_dim, dtype=np.float32)
        return leading if self.rotation is None else (self.rotation @ leading).astype(np.float32)

    @property
    def reads(self) -> Float[np.ndarray, "model_dim dim"] | None:
        """The matrix from an exported vector back to the model's, where nothing was cut off and all can be undone."""
        if self.rotation is None or self.is_truncated:
            return None
        return self.rotation.T.astype(np.float32)

    def apply(self, vectors: Float[np.ndarray, "rows model_dim"]) -> Float[np.ndarray, "rows dim"]:
        """Unit vectors of the model to unit vectors as they are exported, float32."""
        if self.is_identity:
            return np.asarray(vectors, np.float32)
        leading = np.asarray(vectors[:, : self.dim], np.float32)
        if self.is_truncated:
            # What lies in the other dimensions alone has no direction left: it stays zero-safe and is found by verify.
            leading = leading / np.maximum(np.linalg.norm(leading, axis=1, keepdims=True), 1e-12)
        return leading if self.rotation is None else leading @ self.rotation.T.astype(np.float32)
