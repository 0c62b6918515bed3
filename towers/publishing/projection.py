"""The map from the model's vectors to exported ones: onto the axes of a space, and rotated into another."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Components along some axes, normalised.

    With as many axes as dimensions no inner product changes. With fewer, inner products between exported vectors are
    those between truncated ones.

    Args:
        axes: `[dim, model_dim]`, float64, orthonormal; at most as many as the model's vectors have dimensions.
    """

    axes: Float[np.ndarray, "dim model_dim"]

    def then(self, rotation: Float[np.ndarray, "dim dim"]) -> "Projection":
        """Returns this projection followed by an orthogonal map."""
        return Projection(axes=rotation @ self.axes)

    @property
    def dim(self) -> int:
        """Number of dimensions of the exported vectors."""
        return self.axes.shape[0]

    @property
    def model_dim(self) -> int:
        """Number of dimensions of the model's vectors."""
        return self.axes.shape[1]

    @property
    def is_truncated(self) -> bool:
        """Whether dimensions are cut off."""
        return self.dim < self.model_dim

    @property
    def writes(self) -> Float[np.ndarray, "dim model_dim"]:
        """Matrix whose product with a model's vector is, normalised, the exported one; float32."""
        return self.axes.astype(np.float32)

    @property
    def reads(self) -> Float[np.ndarray, "model_dim dim"] | None:
        """Matrix from an exported vector back to the model's, float32; null where dimensions are cut off."""
        return None if self.is_truncated else self.writes.T

    def apply(self, vectors: Float[np.ndarray, "rows model_dim"]) -> Float[np.ndarray, "rows dim"]:
        """Maps unit vectors of the model to exported unit vectors, float32; zero vectors stay zero."""
        written = np.asarray(vectors, np.float32) @ self.writes.T
        # A vector that lies only in the other dimensions has no direction left: it stays near zero, and verify finds
        # it.
        return written / np.maximum(np.linalg.norm(written, axis=1, keepdims=True), 1e-12)
