"""The model of the probability of a listen that belongs to an export."""

from pathlib import Path
from typing import Any

from towers.errors import DataLacks
from towers.evaluation.chance_fit import fit_chance
from towers.publishing.judged_space import JudgedSpace
from towers.retrieval.listen_chance import ListenChance


def write_chance(path: Path, space: JudgedSpace | str, space_id: str) -> tuple[ListenChance | None, dict[str, Any]]:
    """Fits the model on inner products as they are exported, and writes it.

    Args:
        path: path of the file, which is not written where there is nothing to fit on.
        space: space that the model is fitted in, or the reason why there is none.
        space_id: id of the exported space.

    Returns:
        The model; and for the manifest its window and calibration, or the `reason` why there is no model.
    """
    if isinstance(space, str):
        return None, {"reason": space}
    try:
        model = fit_chance(space.judged.store, space.contents, space.users)
    except DataLacks as error:
        return None, {"reason": str(error)}
    model.write(path, space_id)
    reliability = {
        name: {key: figure for key, figure in found.items() if key != "bins"}
        for name, found in model.fitted["reliability"].items()
    }
    facts = {name: model.fitted[name] for name in ("listeners", "held_out_listeners", "listens")}
    facts |= {"reliability": reliability, "fitted_with": space.judged.fingerprint}
    return model, {"window": model.window, **facts}
