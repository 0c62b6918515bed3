"""A fitted simulator: the parameters of all modules for each member of an ensemble, and the contents."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from towers.errors import UserError
from towers.manifest import read_json, write_json
from towers.simulation.listeners.choice_features import OF_KNOWN, OF_NEW
from towers.simulation.listeners.choosing import Choosing
from towers.simulation.listeners.features import OF_CONTENT, OF_MOMENT
from towers.simulation.listeners.response import Response
from towers.simulation.listeners.returning import Returning
from towers.simulation.listeners.sessions import Sessions
from towers.simulation.listeners.space import Space
from towers.simulation.listeners.state import Drift

FORMAT: Final = 1
_READS: Final = [*OF_CONTENT, *OF_MOMENT, *OF_KNOWN, *OF_NEW]
MODEL: Final = "model"
"""Name of the folder within a version's folder that `write` makes."""
_FACTS, _SPACE, _MODEL = "simulator.json", "space.npz", "model-{}.npz"
_SPACE_ARRAYS: Final = (
    "vectors", "region", "artist", "duration_ms", "released_us", "kind", "is_playable", "plays", "days",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerModel:
    """Model of listeners' behaviour: the parameters of every module.

    Args:
        drift: model of how tastes move and satiation fades.
        response: model of reactions to a content that plays.
        choosing: model of own choice.
        sessions: model of the course of a session.
        returning: model of the time to the next session.
    """

    drift: Drift
    response: Response
    choosing: Choosing
    sessions: Sessions
    returning: Returning

    def facts(self) -> dict[str, Any]:
        """Returns all parameters by name, for a file."""
        return {
            "drift": asdict(self.drift), "response": self.response.facts(), "choosing": self.choosing.facts(),
            "sessions": self.sessions.facts(), "returning": self.returning.facts(),
        }  # fmt: skip

    @classmethod
    def of_facts(cls, facts: dict[str, Any]) -> "ListenerModel":
        """Rebuilds the model from the result of `facts`."""
        return cls(
            drift=Drift(**facts["drift"]), response=Response.of_facts(facts["response"]),
            choosing=Choosing.of_facts(facts["choosing"]), sessions=Sessions.of_facts(facts["sessions"]),
            returning=Returning(**facts["returning"]),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulator:
    """Result of a fit.

    Args:
        central: model fitted to all listeners.
        members: models fitted to as many listeners drawn with replacement; their differences show the uncertainty.
        space: space of the contents, with their plays in the fit's log.
        contexts: names of the codes of contexts.
        devices: names of the codes of devices.
        until_us: end of the fit's log.
    """

    central: ListenerModel
    members: tuple[ListenerModel, ...]
    space: Space
    contexts: tuple[str, ...]
    devices: tuple[str, ...]
    until_us: int

    def write(self, folder: Path) -> None:
        """Creates `folder` with a file of facts, one of the space, and one of each model."""
        folder.mkdir(parents=True)
        facts = {
            "format": FORMAT, "space_id": self.space.space_id, "members": len(self.members), "contexts": self.contexts,
            "devices": self.devices, "until_us": self.until_us, "kinds": self.space.kinds,
            "region_names": self.space.region_names, "content_ids": list(self.space.content_ids), "reads": _READS,
        }  # fmt: skip
        write_json(folder / _FACTS, facts)
        np.savez_compressed(folder / _SPACE, **{name: getattr(self.space, name) for name in _SPACE_ARRAYS})
        for place, model in enumerate((self.central, *self.members)):
            arrays: dict[str, Any] = dict(_flat(model.facts()))
            np.savez_compressed(folder / _MODEL.format(place), **arrays)

    @classmethod
    def read(cls, folder: Path) -> "Simulator":
        """Reads a simulator that `write` wrote.

        Raises:
            UserError: there is no simulator, or it has another format.
        """
        if not (folder / _FACTS).exists():
            raise UserError(f"{folder} holds no simulator; `towers simulate action=fit` makes one")
        facts = read_json(folder / _FACTS)
        if facts.get("format") != FORMAT:
            raise UserError(f"{folder} is of format {facts.get('format')}, and only {FORMAT} can be read; fit it again")
        if facts.get("reads") != _READS:
            raise UserError(f"{folder} was fitted by a version of Towers that reads other features; fit it again")
        with np.load(folder / _SPACE) as arrays:
            space = Space(
                space_id=facts["space_id"], content_ids=facts["content_ids"], kinds=tuple(facts["kinds"]),
                region_names=tuple(facts["region_names"]), **{name: arrays[name] for name in _SPACE_ARRAYS},
            )  # fmt: skip
        models = [_read_model(folder / _MODEL.format(place)) for place in range(facts["members"] + 1)]
        return cls(
            central=models[0], members=tuple(models[1:]), space=space, contexts=tuple(facts["contexts"]),
            devices=tuple(facts["devices"]), until_us=facts["until_us"],
        )  # fmt: skip


def _read_model(path: Path) -> ListenerModel:
    facts: dict[str, Any] = {}
    with np.load(path) as arrays:
        for name in arrays.files:
            *parents, leaf = name.split(".")
            inner = facts
            for parent in parents:
                inner = inner.setdefault(parent, {})
            value = arrays[name]
            inner[leaf] = value if value.ndim else value.item()
    return ListenerModel.of_facts(facts)


def _flat(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, np.asarray(value)
