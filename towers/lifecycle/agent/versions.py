"""Trained agents on disk: a folder of versions, and a link to the newest.

```
agents/NAME/<digest>/config.yaml     the settings of the training
agents/NAME/<digest>/metrics.csv     the training's curve
agents/NAME/<digest>/checkpoint/     while it is trained: where the training stands
agents/NAME/<digest>/policy/         the policy: what it weighs, and the space that it is of
agents/NAME/<digest>/train.json      what it was trained on; written last, its presence marks completion
agents/NAME/<digest>/evaluation.json, report.html   once it was evaluated
agents/NAME/current -> <digest>      swapped behind it
```
The name of a version is a digest of all that decides it, so the same training is found and not done again.
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
"""Rooms whose code decides what a training comes to; that of the listeners decides the simulator's own version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What an agent was trained on.

    Args:
        simulator: name of the simulator's version.
        simulator_passed: whether that had passed its check.
        space_id: of its vectors.
        export: version of the export that the simulator was fitted in.
        store: fingerprint of the prepared store of the listeners; null: they were new ones.
        members: numbers of the models.
        listeners: of each world.
        days: of an episode.
        slate: contents of a slate.
        candidates: of a listener.
        own_pull: see `picking.picked`.
        weights: of the return's parts.
        seed: of all that was drawn.
        learner: class that found the weights.
        seconds: of the training, by the clock, over all starts.
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
        """All of it as JSON values."""
        return {"format": FORMAT, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class AgentVersion:
    """A version, opened.

    Args:
        folder: of the version.
        trained: what it was trained on.
    """

    folder: Path
    trained: Trained

    def policy(self, space: Space) -> AgentPolicy:
        """Reads what it weighs.

        Args:
            space: contents of the simulator that it was trained in, or of another one in the same space.

        Raises:
            UserError: the file is damaged, or of other contents.
        """
        return read_agent(self.folder / POLICY, space, space.content_ids).policy

    @cached_property
    def curve(self) -> dict[str, list[float]]:
        """The training's curve by column; a figure that was not taken at a step is NaN."""
        path = self.folder / CURVE
        if not path.exists():
            return {}
        with path.open(newline="") as file:
            rows = [*csv.DictReader(file)]
        names = rows[0] if rows else {}
        return {name: [float(row[name]) if row[name] else math.nan for row in rows] for name in names}


def name_of(decides: Mapping[str, Any]) -> str:
    """The name of a version.

    Args:
        decides: all that decides the training, as JSON values; the code that it rests on is added.
    """
    root = Path(towers.__path__[0])
    files = [path for room in DECIDING_ROOMS for path in sorted((root / room).glob("*.py"))]
    code = {str(path.relative_to(root)): digest_of_file(path) for path in files}
    return digest_of({"format": FORMAT, "code": code, **decides})[:NAME_LENGTH]


def open_agent(folder: Path, version: str | None = None) -> AgentVersion:
    """Opens a version.

    Args:
        folder: of all versions, or of one.
        version: its name; null: the current one.

    Raises:
        UserError: there is none, or it is of another format.
    """
    places = (folder, folder / CURRENT) if version is None else (folder / version,)
    found = next((path for path in places if (path / ABOUT).exists()), None)
    if found is None:
        named = "no agent" if version is None else f"no version {version}"
        raise UserError(f"folder={folder}: {named} here; train one with `towers agent action=train`")
    about = read_json(found / ABOUT)
    if about.pop("format", None) != FORMAT:
        raise UserError(f"{found / ABOUT}: of another format than {FORMAT}; train the agent again")
    try:
        trained = Trained(**{**about, "members": tuple(about["members"])})
    except (TypeError, KeyError):
        raise UserError(f"{found / ABOUT}: changed since it was written; train the agent again") from None
    return AgentVersion(folder=found.resolve(), trained=trained)
