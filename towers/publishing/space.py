"""The space of an export's vectors: its id, the map from the model's vectors, and the recall of its leading
dimensions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from towers.manifest import digest_of
from towers.publishing.axes import fitting_listeners, principal_axes
from towers.publishing.held_out import RECALL, recall_by_dimension
from towers.publishing.leading import dimensions_up_to, nearest, share_kept, spread
from towers.publishing.projection import Projection
from towers.publishing.trained import ExportSettings, Trained
from towers.retrieval.export import Export
from towers.retrieval.rotation import SpaceVersion

SPACE_ID_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Space of the exported vectors.

    Args:
        space_id: id of the space; vectors with the same id may be compared.
        projection: map from the model's vectors to the space.
        facts: figures for the manifest.
    """

    space_id: str
    projection: Projection
    facts: dict[str, Any]


def own_space(
    version: str,
    trained: Trained,
    settings: ExportSettings,
    earlier: Export | None,
    inputs: Float[np.ndarray, "contents model_dim"],
) -> tuple[SpaceVersion, Projection]:
    """Returns the space of a network's vectors by themselves, and the map to it: onto their principal axes.

    If the earlier version is of the same network, with other listeners and events, its space and axes are kept.

    Args:
        version: name of the new version.
        trained: the network.
        settings: settings of the export.
        earlier: version that serves; null: none.
        inputs: the network's own vectors of contents.
    """
    dim = settings.dim_of(inputs.shape[1])
    if earlier is not None and earlier.manifest.get("weights") == trained.weights:
        axes = earlier.axes
        if axes is not None and len(axes) == dim:
            return SpaceVersion(version=version, space_id=earlier.space_id), Projection(axes=axes)
    listeners = trained.user_vectors(fitting_listeners(trained.store), inputs, "test")
    facts = ["principal axes", trained.weights, trained.store.fingerprint, dim]
    facts += [] if trained.store.as_of_us is None else [trained.store.as_of_us]  # axes are fitted on what is before
    own = SpaceVersion(version=version, space_id=digest_of(facts)[:SPACE_ID_DIGITS])
    return own, Projection(axes=principal_axes(inputs, listeners)[:dim])


def by_dimension(
    trained: Trained,
    inputs: Float[np.ndarray, "contents model_dim"],
    users: Float[np.ndarray, "listeners model_dim"],
    projection: Projection,
    contents: Float[np.ndarray, "contents dim"],
) -> dict[str, Any]:
    """Measures what the leading dimensions reach, for listeners of the test period that the axes are not fitted on.

    Args:
        trained: network with the listeners.
        inputs: the network's own vectors of contents.
        users: the network's own vectors of the listeners in `trained.held_out`.
        projection: map from these to the exported vectors.
        contents: exported vectors of contents.

    Returns:
        By number of dimensions, powers of two from 8, recall@20 (empty with too few listeners for a figure) and the
        share of the nearest 20 by all of the model's dimensions that is kept (empty without listeners).
    """
    held_out, model_dim = trained.held_out, projection.model_dim
    judged = np.flatnonzero(~np.isin(held_out.user_rows, fitting_listeners(trained.store)))
    users = users[judged]
    recall = recall_by_dimension(held_out, contents, projection.apply(users), judged)
    if recall and projection.is_truncated:
        recall[model_dim] = held_out.evaluate("all dimensions", users, inputs, judged).means()[RECALL]
    some, allowed, kept = spread(users), held_out.is_candidate, {}
    if len(some):
        whole = nearest(some, inputs, allowed, model_dim)
        kept = share_kept(whole, projection.apply(some), contents, allowed, dimensions_up_to(projection.dim))
    return {"recall@20 by dimension": recall, "share of the nearest 20 by dimension": kept}
