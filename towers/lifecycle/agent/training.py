"""Trains an agent among simulated listeners, and writes a version of it. The same request continues after a kill."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from towers.data.store import Store
from towers.lifecycle.agent.versions import (
    ABOUT,
    CHECKPOINT,
    CURRENT,
    POLICY,
    AgentVersion,
    Trained,
    name_of,
    open_agent,
)
from towers.lifecycle.agent.worlds import Audience, Episodes, audience_of, require_members, training_worlds
from towers.lifecycle.simulator.versions import SimulatorVersion
from towers.manifest import atomic_directory, environment, point_to, read_json, write_json
from towers.policies.agent.policy_file import write_agent
from towers.simulation.environment.world import ListeningWorld
from towers.training.agent.long_term import long_term_of
from towers.training.agent.starting import Learner, Watch
from towers.training.run_folder import alone_in

Progress = Callable[[str, int, int, str], None]
"""Function called with the stage, how far it is, of how much (0: unknown), and a remark."""
STAGE = "train"
_CLOCK = "clock.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """Settings of a training.

    Args:
        folder: folder of the agent, with its versions.
        simulator: opened simulator, whose check was read.
        passed: whether it has passed its check.
        store: folder of the prepared store of the listeners; null: new listeners.
        members: numbers of the models.
        listeners: number of listeners of each world.
        episodes: settings of an episode.
        seed: seed of all random draws.
        learner: builds the learner, which finds the weights.
        decides: settings as plain values, for the version's name.
        save_config: writes the configuration into a given folder.
        curve: opens the writer of the training's curve in a given folder.
    """

    folder: Path
    simulator: SimulatorVersion
    passed: bool
    store: Path | None
    members: tuple[int, ...]
    listeners: int
    episodes: Episodes
    seed: int
    learner: Callable[[], Learner]
    decides: Mapping[str, Any]
    save_config: Callable[[Path], None]
    curve: Callable[[Path], AbstractContextManager[Watch]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Result of a request.

    Args:
        version: version of the agent.
        is_new: whether it was trained now; else the same one existed before.
    """

    version: AgentVersion
    is_new: bool


def train_version(request: TrainRequest, progress: Progress) -> Made:
    """Trains an agent, unless the same one exists, and lets `current` point to it.

    Args:
        request: settings of the training.
        progress: called with the progress of the stages.

    Raises:
        UserError: the simulator lacks a model, the store cannot be read or has no listener that the simulator was
            fitted to, or another process trains the same agent.
    """
    require_members(request.simulator, "members", request.members)
    store = None if request.store is None else Store.open(request.store).fingerprint
    simulator = request.simulator.folder.name
    target = request.folder / name_of({"simulator": simulator, "store": store, **request.decides})
    is_new = not (target / ABOUT).exists()
    if is_new:
        learner = request.learner()
        audience = audience_of(request.simulator, request.store, needs=("fitted",))
        worlds = training_worlds(
            request.simulator, audience, request.episodes, request.members, request.listeners, request.seed,
            lambda done, total: progress("worlds", done, total, ""),
        )  # fmt: skip
        target.mkdir(parents=True, exist_ok=True)
        with alone_in(target):
            _train(request, target, audience, worlds, learner, progress)
    point_to(request.folder / CURRENT, target)
    return Made(version=open_agent(target), is_new=is_new)


def _train(
    request: TrainRequest,
    target: Path,
    audience: Audience,
    worlds: Sequence[ListeningWorld],
    learner: Learner,
    progress: Progress,
) -> None:
    """Trains, and writes all files of a version; `ABOUT` last."""
    request.save_config(target)
    episodes, origin, fitted = request.episodes, request.simulator.origin, request.simulator.simulator
    long_term = None
    if audience.fitted is not None:
        progress("long_term", 0, 0, "the long-term worth of a stream")
        long_term = long_term_of(audience.fitted, fitted.space, fitted.until_us, request.seed)
    clock = _Clock(target / CHECKPOINT, progress)
    with request.curve(target) as curve:

        def watch(step: int, steps: int, figures: Mapping[str, float]) -> None:
            curve(step, steps, figures)
            clock.tell(step, steps)

        policy = learner.train(
            worlds, weights=episodes.weights, folder=target / CHECKPOINT, seed=request.seed, watch=watch,
            long_term=long_term,
        )  # fmt: skip
    shutil.rmtree(target / POLICY, ignore_errors=True)
    with atomic_directory(target / POLICY) as temporary:
        write_agent(temporary, policy, space_id=fitted.space.space_id, content_ids=fitted.space.content_ids)
    trained = Trained(
        simulator=request.simulator.folder.name, simulator_passed=request.passed, space_id=origin.space_id,
        export=origin.export, store=audience.fingerprint, members=request.members, listeners=request.listeners,
        days=episodes.days, slate=episodes.slate, candidates=episodes.candidates, own_pull=episodes.own_pull,
        weights=episodes.weights, seed=request.seed, learner=type(learner).__name__, seconds=clock.seconds,
        environment=environment(),
    )  # fmt: skip
    write_json(target / ABOUT, trained.to_json())
    shutil.rmtree(target / CHECKPOINT, ignore_errors=True)


class _Clock:
    """Reports the progress of a training and its remaining time, and counts its seconds over all starts.

    Args:
        folder: folder of the checkpoint, which also keeps the seconds of earlier starts.
        progress: called with the progress in steps.
    """

    def __init__(self, folder: Path, progress: Progress):
        self._path, self._progress = folder / _CLOCK, progress
        self._before = float(read_json(self._path)["seconds"]) if self._path.exists() else 0.0
        self._began, self._first = time.monotonic(), None

    @property
    def seconds(self) -> float:
        """Seconds that the training has taken so far, over all starts."""
        return round(self._before + time.monotonic() - self._began, 1)

    def tell(self, step: int, steps: int) -> None:
        """Reports that one more step is done."""
        if self._first is None:
            self._first = step - 1
        done = step - self._first
        left_s = (time.monotonic() - self._began) / done * (steps - step)
        self._progress(STAGE, step, steps, f"about {left_s / 60:.1f} minutes left" if step < steps else "")
        write_json(self._path, {"seconds": self.seconds})
