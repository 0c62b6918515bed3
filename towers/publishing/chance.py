"""The model of the chance of a listen that goes with an export."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from towers.errors import DataLacks
from towers.evaluation.chance_fit import fit_chance
from towers.publishing.axes import fitting_listeners, principal_axes
from towers.publishing.projection import Projection
from towers.publishing.trained import Trained


def write_chance(
    path: Path, trained: Trained, inputs: Float[np.ndarray, "contents model_dim"], projection: Projection, space_id: str
) -> dict[str, Any]:
    """Fits the model on inner products as they are exported, and writes it.

    Args:
        path: of the file, which is not written where there is nothing to fit on.
        trained: what is exported.
        inputs: the model's vectors of its contents.
        projection: from these to the exported ones.
        space_id: of the exported ones.

    Returns:
        For the manifest: the window, and how far chances agree with what came; or the `reason` why there is no model.
    """
    judged = trained.judged
    if isinstance(judged, str):
        return {"reason": judged}
    is_own = judged.fingerprint == trained.weights
    has_inputs = is_own and judged.store.fingerprint == trained.store.fingerprint
    contents = np.asarray(inputs) if has_inputs else judged.content_vectors()
    if not is_own:  # another network's leading directions are its own
        listeners = judged.user_vectors(fitting_listeners(judged.store), contents, "validation")
        projection = Projection(axes=principal_axes(contents, listeners)[: projection.dim])

    def users(rows: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users dim"]:
        return projection.apply(judged.user_vectors(rows, contents, "validation"))

    try:
        model = fit_chance(judged.store, projection.apply(contents), users)
    except DataLacks as error:
        return {"reason": str(error)}
    model.write(path, space_id)
    reliability = {
        name: {key: figure for key, figure in found.items() if key != "bins"}
        for name, found in model.fitted["reliability"].items()
    }
    facts = {name: model.fitted[name] for name in ("listeners", "held_out_listeners", "listens")}
    return {"window": model.window, **facts, "reliability": reliability, "fitted_with": judged.fingerprint}
