"""Trained agents on disk: a folder of versions, and a link to the newest.

```
agents/NAME/<digest>/config.yaml     the settings of the training
agents/NAME/<digest>/metrics.csv     the training's curve
agents/NAME/<digest>/checkpoint/     during training: its state
agents/NAME/<digest>/policy/         the policy: its weights, and its space
agents/NAME/<digest>/train.json      what it was trained on; written last, its presence marks completion
agents/NAME/<digest>/evaluation.json, report.html   once it was evaluated
agents/NAME/current -> <digest>      moved after that
```
The name of a version is a digest of all that decides it, so the same training is found and not repeated.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import towers
from towers.errors import UserError
from towers.manifest import digest_of, digest_of_file, read_json
from towers.policies.agent.policy import AgentPolicy
from towers.policies.agent.policy_file import read_agent
from towers.simulation.listeners.space import Space

FORMAT: Final = 1
CURRENT, ABOUT, POLICY, CURVE, CHECKPOINT = "current", "train.json", "policy", "metrics.csv", "checkpoint"
NAME_LENGTH: Final = 12
DECIDING_ROOMS: Final = ("policies/agent", "policies/long_term", "training/agent", "simulation/environment")
"""Rooms whose code decides the result of a training; that of the listeners decides the simulator's own version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What an agent was trained on.

    Args:
        simulator: name of the simulator's version.
        simulator_passed: whether that version had passed its check.
        space_id: space of its vectors.
        export: version of the export that the simulator was fitted in.
        store: fingerprint of the prepared store of the listeners; null: they were new ones.
        members: numbers of the models.
        listeners: number of listeners of each world.
        days: days of an episode.
        slate: number of contents of a slate.
        candidates: number of candidates of a listener.
        own_pull: see `picking.picked`.
        weights: weights of the return's parts.
        seed: seed of all random draws.
        learner: class that found the weights.
        seconds: duration of the training by the clock, over all starts.
        environment: libraries and machine.
    """

    simulator: str
    simulator_passed: bool
    space_id: str
    export: str
    store: str | None
    members: tuple[int, ...]
    listeners: int
    days: float
    slate: int
    candidates: int
    own_pull: float
    weights: Mapping[str, float]
    seed: int
    learner: str
    seconds: float
    environment: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Returns all values as JSON values."""
        return {"format": FORMAT, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class AgentVersion:
    """A version, opened.

    Args:
        folder: folder of the version.
        trained: what it was trained on.
    """

    folder: Path
    trained: Trained

    def policy(self, space: Space) -> AgentPolicy:
        """Reads the policy with its weights.

        Args:
            space: contents of the simulator that it was trained in, or of another one in the same space.

        Raises:
            UserError: the file is damaged, or has other contents.
        """
        return read_agent(self.folder / POLICY, space, space.content_ids).policy

    @cached_property
    def curve(self) -> dict[str, list[float]]:
        """Curve of the training by column; a value that was not measured at a step is NaN."""
        path = self.folder / CURVE
        if not path.exists():
            return {}
        with path.open(newline="") as file:
            rows = [*csv.DictReader(file)]
        names = rows[0] if rows else {}
        return {name: [float(row[name]) if row[name] else math.nan for row in rows] for name in names}


def name_of(decides: Mapping[str, Any]) -> str:
    """Returns the name of a version.

    Args:
        decides: all that decides the training, as JSON values; a digest of the relevant code is added.
    """
    root = Path(towers.__path__[0])
    files = [path for room in DECIDING_ROOMS for path in sorted((root / room).glob("*.py"))]
    code = {str(path.relative_to(root)): digest_of_file(path) for path in files}
    return digest_of({"format": FORMAT, "code": code, **decides})[:NAME_LENGTH]


def open_agent(folder: Path, version: str | None = None) -> AgentVersion:
    """Opens a version.

    Args:
        folder: folder of all versions, or of one.
        version: name of the version; null: the current one.

    Raises:
        UserError: there is none, or it has another format.
    """
    places = (folder, folder / CURRENT) if version is None else (folder / version,)
    found = next((path for path in places if (path / ABOUT).exists()), None)
    if found is None:
        named = "no agent" if version is None else f"no version {version}"
        raise UserError(f"folder={folder}: {named} here; train one with `towers agent action=train`")
    about = read_json(found / ABOUT)
    if about.pop("format", None) != FORMAT:
        raise UserError(f"{found / ABOUT}: has another format than {FORMAT}; train the agent again")
    try:
        trained = Trained(**{**about, "members": tuple(about["members"])})
    except (TypeError, KeyError):
        raise UserError(f"{found / ABOUT}: changed since it was written; train the agent again") from None
    return AgentVersion(folder=found.resolve(), trained=trained)
