"""The judged network's vectors as they would be exported: what both models of listening are fitted with."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from towers.data.histories import Until
from towers.publishing.axes import fitting_listeners, principal_axes
from towers.publishing.onnx.towers import export_user_tower
from towers.publishing.projection import Projection
from towers.publishing.trained import Judged, Trained


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedSpace:
    """A network whose validation period nobody has trained on, and how its vectors are turned.

    Args:
        judged: the network.
        inputs: what it makes of its contents, as it is.
        projection: from these to exported vectors.
        is_exported: whether it is the network that is exported.
    """

    judged: Judged
    inputs: Float[np.ndarray, "contents model_dim"]
    projection: Projection
    is_exported: bool

    @classmethod
    def of(
        cls, trained: Trained, inputs: Float[np.ndarray, "contents model_dim"], projection: Projection
    ) -> "JudgedSpace | str":
        """That of what is exported, or the reason why there is none.

        Args:
            trained: what is exported.
            inputs: the model's vectors of its contents.
            projection: from these to the exported ones.
        """
        judged = trained.judged
        if isinstance(judged, str):
            return judged
        is_exported = judged.fingerprint == trained.weights
        has_inputs = is_exported and judged.store.fingerprint == trained.store.fingerprint
        own = np.asarray(inputs) if has_inputs else judged.content_vectors()
        if not is_exported:  # another network's leading directions are its own
            listeners = judged.user_vectors(fitting_listeners(judged.store), own, "validation")
            projection = Projection(axes=principal_axes(own, listeners)[: projection.dim])
        return cls(judged=judged, inputs=own, projection=projection, is_exported=is_exported)

    @cached_property
    def contents(self) -> Float[np.ndarray, "contents dim"]:
        """Vectors of contents by row of the judged network's store."""
        return self.projection.apply(self.inputs)

    def users(self, rows: Int[np.ndarray, " users"], until: Until = "validation") -> Float[np.ndarray, "users dim"]:
        """Vectors of listeners from their histories up to the start of a period."""
        return self.projection.apply(self.judged.user_vectors(rows, self.inputs, until))

    def write_user_tower(self, path: Path, space_id: str) -> None:
        """Writes its user tower as ONNX, with turned vectors in and out."""
        two_tower, projection = self.judged.two_tower, self.projection
        export_user_tower(
            two_tower.user_tower, two_tower.dim, self.judged.store.user_codes.shape[1], path, space_id,
            reads=projection.reads, writes=projection.writes,
        )  # fmt: skip
