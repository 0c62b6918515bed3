"""Gymnasium environments of a world of listeners; importing this module registers them as `towers/Listening-v0`.

import gymnasium
import towers.simulation.environment.listening

one = gymnasium.make("towers/Listening-v0", simulator="simulators/listeners/current")
many = gymnasium.make_vec("towers/Listening-v0", 10_000, "vector_entry_point", simulator="simulators/listeners/current")
"""

from collections.abc import Mapping
from os import PathLike
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int

from towers.errors import UserError
from towers.extras import how_to_install
from towers.simulation.environment.making import OWN_CANDIDATES, make_world
from towers.simulation.environment.observation import MOMENT, Observation
from towers.simulation.environment.picking import OWN_PULL
from towers.simulation.environment.rewards import PARTS, total
from towers.simulation.environment.world import ListeningWorld, Step
from towers.simulation.listeners.live import Population
from towers.simulation.listeners.model import Simulator
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.listeners.state import RECENT

try:
    import gymnasium
    from gymnasium import spaces
    from gymnasium.vector import AutoresetMode, VectorEnv
    from gymnasium.vector.utils import batch_space
except ModuleNotFoundError:
    raise UserError(f"the environment needs Gymnasium: {how_to_install('simulation')}") from None

ID: Final = "towers/Listening-v0"
REWARD_WEIGHTS: Final[Mapping[str, float]] = {"streams": 1.0}

_MOST: Final = float(2**31)
_MOST_PLAYS: Final = 2**31 - 1


class _Face:
    """Shared parts of both environments: spaces, the scalar reward, and the world.

    Args:
        world: world of listeners.
        action: `slate`: rows of contents; `query`: a vector whose nearest candidates are the slate.
        reward_weights: weight of each part in the scalar reward, by the names of `rewards.PARTS`.
    """

    def __init__(self, world: ListeningWorld, action: str, reward_weights: Mapping[str, float]):
        unknown = sorted(set(reward_weights) - set(PARTS))
        if unknown:
            raise UserError(f"reward_weights: {unknown[0]} is not one of {', '.join(PARTS)}")
        self.world, self.action, self.reward_weights = world, action, dict(reward_weights)
        self.everybody = np.arange(len(world))
        (contents, dim), number = world.space.vectors.shape, world.candidates.shape[1]
        rows = (-1, contents - 1)
        low, high = np.zeros(len(MOMENT), np.float32), np.full(len(MOMENT), _MOST, np.float32)
        high[[MOMENT.index("hour"), MOMENT.index("weekday")]] = 24.0, 6.0
        self.observation_space = spaces.Dict(
            {
                "recent": spaces.Box(*rows, (RECENT,), np.int32),
                "recent_skipped": spaces.Box(0, 1, (RECENT,), np.int8),
                "taste": spaces.Box(-1.0, 1.0, (dim,), np.float32),
                "moment": spaces.Box(low, high, dtype=np.float32),
                "candidates": spaces.Box(*rows, (number,), np.int32),
                "recent_hours": spaces.Box(-1.0, _MOST, (RECENT,), np.float32),
                "candidate_plays": spaces.Box(0, _MOST_PLAYS, (number,), np.int32),
                "candidate_artist_plays": spaces.Box(0, _MOST_PLAYS, (number,), np.int32),
                "candidate_age_days": spaces.Box(0.0, _MOST, (number,), np.float32),
                "candidate_artist_days": spaces.Box(-1.0, _MOST, (number,), np.float32),
            }
        )
        if action == "slate":
            self.action_space: spaces.Space[Any] = spaces.MultiDiscrete(np.full(world.slate_size, contents))
        elif action == "query":
            self.action_space = spaces.Box(-1.0, 1.0, (dim,), np.float32)
        else:
            raise UserError(f"action={action}: must be slate or query")

    def slates(self, rows: Int[np.ndarray, " some"], actions: np.ndarray) -> Int[np.ndarray, "some slate"]:
        """Returns the slates that the actions of some listeners stand for."""
        width = self.world.slate_size if self.action == "slate" else self.world.space.vectors.shape[1]
        if actions.shape != (len(rows), width):
            raise UserError(f"an action must be an array of {width} numbers, got the shape {actions.shape[1:]}")
        if self.action == "query":
            return self.world.slates_of(rows, actions)
        return actions.astype(np.int64)

    def reward(self, step: Step) -> Float[np.ndarray, " some"]:
        """Returns the scalar reward of each listener."""
        return total(step.parts, self.reward_weights)

    def facts(self, step: Step) -> dict[str, np.ndarray]:
        """Returns the content of `info`: the parts, the played content and whether it was the listener's own choice."""
        return step.parts | {"content": step.content, "is_own": step.is_own}


class ListeningEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """Environment of one listener; each episode is another listener's.

    Args:
        simulator: see `make_world`.
        log: see `make_world`.
        population: see `make_world`.
        member: see `make_world`.
        days: see `make_world`.
        slate: number of contents of a slate.
        candidates: number of candidates of a listener.
        action: `slate`: rows of contents; `query`: a vector whose nearest candidates are the slate.
        reward_weights: weight of each part in the scalar reward, by the names of `rewards.PARTS`.
        own_pull: see `ListeningWorld`.
        own_candidates: see `make_world`.
        force: see `make_world`.
        world: world of one listener to use instead of a simulator, such as a planted one.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 Gymnasium's own declaration

    def __init__(
        self,
        simulator: Simulator | str | PathLike[str] | None = None,
        log: SessionLog | None = None,
        population: Population | None = None,
        member: int | None = None,
        days: float = 28.0,
        slate: int = 10,
        candidates: int = 200,
        action: str = "slate",
        reward_weights: Mapping[str, float] = REWARD_WEIGHTS,
        own_pull: float = OWN_PULL,
        own_candidates: int = OWN_CANDIDATES,
        force: bool = False,
        world: ListeningWorld | None = None,
    ):
        world = world or _world(
            simulator, 1, log=log, population=population, member=member, days=days, slate_size=slate,
            num_candidates=candidates, own_pull=own_pull, own_candidates=own_candidates,
            force=force,
        )  # fmt: skip
        self._face = _Face(world, action, reward_weights)
        # Gymnasium's Dict is a space of dict[str, Any], which is not one of arrays to a type checker.
        self.observation_space: spaces.Space[Any] = self._face.observation_space
        self.action_space = self._face.action_space

    @property
    def world(self) -> ListeningWorld:
        """World of the environment, with one listener."""
        return self._face.world

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Starts an episode of another listener.

        Args:
            seed: seed of all random draws from now on.
            options: not used.
        """
        super().reset(seed=seed)
        self.world.reset(self._face.everybody, self.np_random)
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Lets the listener play one content.

        Raises:
            UserError: the action has a row outside of the catalogue, or another shape; the state is unchanged.
        """
        face = self._face
        step = self.world.step(face.everybody, face.slates(face.everybody, np.asarray(action)[None]))
        info = {name: value[0].item() for name, value in face.facts(step).items()}
        over = bool(step.terminated[0]), bool(step.truncated[0])
        return self._observation(), float(face.reward(step)[0]), *over, info

    def state(self) -> dict[str, Any]:
        """Returns copies of all state; after `restore` of it the same bits follow."""
        return self.world.arrays()

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`, taken from an environment with the same arguments."""
        self.world.listeners.rng = self.np_random
        self.world.restore(state)

    def _observation(self) -> dict[str, np.ndarray]:
        return {name: value[0] for name, value in self.world.observe(self._face.everybody).items()}


class ListeningVectorEnv(VectorEnv[Observation, np.ndarray, np.ndarray]):
    """Environment of many listeners, computed together in numpy; a listener whose episode is over is replaced in the
    next step, which ignores that row's action (`AutoresetMode.NEXT_STEP`).

    Args:
        num_envs: number of listeners.
        simulator: see `make_world`.
        log: see `make_world`.
        population: see `make_world`.
        member: see `make_world`.
        days: see `make_world`.
        slate: see `ListeningEnv`.
        candidates: see `ListeningEnv`.
        action: see `ListeningEnv`.
        reward_weights: see `ListeningEnv`.
        own_pull: see `ListeningWorld`.
        own_candidates: see `make_world`.
        force: see `make_world`.
        world: world of `num_envs` listeners to use instead of a simulator.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 as above

    def __init__(
        self,
        num_envs: int = 1,
        simulator: Simulator | str | PathLike[str] | None = None,
        log: SessionLog | None = None,
        population: Population | None = None,
        member: int | None = None,
        days: float = 28.0,
        slate: int = 10,
        candidates: int = 200,
        action: str = "slate",
        reward_weights: Mapping[str, float] = REWARD_WEIGHTS,
        own_pull: float = OWN_PULL,
        own_candidates: int = OWN_CANDIDATES,
        force: bool = False,
        world: ListeningWorld | None = None,
    ):
        world = world or _world(
            simulator, num_envs, log=log, population=population, member=member, days=days, slate_size=slate,
            num_candidates=candidates, own_pull=own_pull, own_candidates=own_candidates,
            force=force,
        )  # fmt: skip
        self._face = _Face(world, action, reward_weights)
        self.num_envs = len(world)
        self.single_observation_space = self._face.observation_space
        self.single_action_space = self._face.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._is_over = np.zeros(self.num_envs, bool)

    @property
    def world(self) -> ListeningWorld:
        """World of the environment."""
        return self._face.world

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode of other listeners in every row.

        Args:
            seed: seed of all random draws from now on.
            options: not used.
        """
        super().reset(seed=seed)
        self.world.reset(self._face.everybody, self.np_random)
        self._is_over[:] = False
        return self.world.observe(self._face.everybody), {}

    def step(self, actions: np.ndarray) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Lets each listener play one content; rows whose episode was over get a new listener instead.

        Raises:
            UserError: an action has a row outside of the catalogue, or another shape; the state is unchanged.
        """
        face, over = self._face, self._is_over
        rows, ended = np.flatnonzero(~over), np.flatnonzero(over)
        step = self.world.step(rows, face.slates(rows, np.asarray(actions)[rows]))
        if len(ended):
            self.world.reset(ended)
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        rewards[rows], terminated[rows], truncated[rows] = face.reward(step), step.terminated, step.truncated
        infos: dict[str, Any] = {}
        for name, value in face.facts(step).items():
            infos[name] = np.zeros(self.num_envs, value.dtype)
            infos[name][rows], infos[f"_{name}"] = value, ~over
        self._is_over = terminated | truncated
        return self.world.observe(face.everybody), rewards, terminated, truncated, infos

    def state(self) -> dict[str, Any]:
        """Returns copies of all state; after `restore` of it the same bits follow."""
        return self.world.arrays() | {"is_over": self._is_over.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`, taken from an environment with the same arguments."""
        self.world.listeners.rng = self.np_random
        self.world.restore(state)
        self._is_over = state["is_over"].copy()


def _world(simulator: Simulator | str | PathLike[str] | None, number: int, **settings: Any) -> ListeningWorld:
    if simulator is None:
        raise UserError(f"{ID} needs simulator=, the folder that `towers simulate action=fit` wrote")
    return make_world(simulator, number, **settings)


gymnasium.register(ID, entry_point=f"{__name__}:ListeningEnv", vector_entry_point=f"{__name__}:ListeningVectorEnv")
