"""Vectors of the judged network as they would be exported; both models of listening are fitted on them."""

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
    """A network that was not trained on its validation period, with the map to its exported vectors.

    Args:
        judged: the network.
        inputs: the network's own vectors of its contents.
        projection: map from these to exported vectors.
        is_exported: whether the network is the one that is exported.
    """

    judged: Judged
    inputs: Float[np.ndarray, "contents model_dim"]
    projection: Projection
    is_exported: bool

    @classmethod
    def of(
        cls, trained: Trained, inputs: Float[np.ndarray, "contents model_dim"], projection: Projection
    ) -> "JudgedSpace | str":
        """Returns the space of the judged network, or the reason why there is none.

        Args:
            trained: what is exported.
            inputs: the exported model's vectors of its contents.
            projection: map from these to the exported vectors.
        """
        judged = trained.judged
        if isinstance(judged, str):
            return judged
        is_exported = judged.fingerprint == trained.weights
        has_inputs = is_exported and judged.store.fingerprint == trained.store.fingerprint
        own = np.asarray(inputs) if has_inputs else judged.content_vectors()
        if not is_exported:  # another network has leading directions of its own
            listeners = judged.user_vectors(fitting_listeners(judged.store), own, "validation")
            projection = Projection(axes=principal_axes(own, listeners)[: projection.dim])
        return cls(judged=judged, inputs=own, projection=projection, is_exported=is_exported)

    @cached_property
    def contents(self) -> Float[np.ndarray, "contents dim"]:
        """Vectors of contents, by row of the judged network's store."""
        return self.projection.apply(self.inputs)

    def users(self, rows: Int[np.ndarray, " users"], until: Until = "validation") -> Float[np.ndarray, "users dim"]:
        """Returns vectors of listeners from their histories up to the start of a period."""
        return self.projection.apply(self.judged.user_vectors(rows, self.inputs, until))

    def write_user_tower(self, path: Path, space_id: str) -> None:
        """Writes the network's user tower as ONNX, with projected vectors as inputs and outputs."""
        two_tower, projection = self.judged.two_tower, self.projection
        export_user_tower(
            two_tower.user_tower, two_tower.dim, self.judged.store.user_codes.shape[1], path, space_id,
            reads=projection.reads, writes=projection.writes,
        )  # fmt: skip
