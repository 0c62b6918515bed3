"""Set-up of an agent's evaluation: listeners that its training has not seen, baselines, mis-specified worlds."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from towers.errors import UserError
from towers.lifecycle.agent.evaluating import AS_FITTED, Trial, TrialWorld
from towers.lifecycle.agent.opponents import OPPONENTS, Practice, required
from towers.lifecycle.agent.versions import AgentVersion
from towers.lifecycle.agent.worlds import Audience, Episodes, drawn_seed, require_members, world_of
from towers.lifecycle.simulator.versions import SimulatorVersion
from towers.simulation.environment.chance_fitting import fit_click_chance
from towers.simulation.environment.mis_specified import NAMES, mis_specified_simulator
from towers.training.agent.serving import Served

WORDS: Final[Mapping[str, str]] = {
    AS_FITTED: "a model of the ensemble, as it was fitted",
    "satiation_half": "satiation half as strong",
    "satiation_double": "satiation twice as strong",
    "weibull": "gaps between sessions of Weibull distributions, independent of the hour and the skips",
    "satisfaction": "listeners who skip much come back later",
    "drift": "tastes follow plays faster",
}
"""Description of each world by name."""
CHANCE_LISTENERS: Final = 300
"""Most listeners whose slates calibrate the baselines' chance of a pick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluating:
    """Settings of an agent's evaluation among simulated listeners.

    Args:
        member: number of the model that it is judged in.
        listeners: number of listeners.
        seeds: seeds, each for one episode of every listener.
        worlds: names of further, mis-specified worlds; null: all.
        baselines: names of policies that it is compared with; null: all.
        in_worlds: names of baselines that serve in the mis-specified worlds, too; null: all.
        workers: number of processes; null: one for each core.

    Raises:
        UserError: an invalid value; the message names the key.
    """

    member: int
    listeners: int
    seeds: tuple[int, ...]
    worlds: tuple[str, ...] | None
    baselines: tuple[str, ...] | None
    in_worlds: tuple[str, ...] | None
    workers: int | None

    def __post_init__(self) -> None:
        for key, number in (("listeners", self.listeners), ("seeds", len(self.seeds)), ("workers", self.workers)):
            if number is not None and number < 1:
                raise UserError(f"evaluate.{key}={getattr(self, key)}: must be at least one")
        if min(self.seeds) < 0:
            raise UserError(f"evaluate.seeds={list(self.seeds)}: must be 0 or more")
        unknown = [name for name in self.worlds or () if name not in NAMES]
        if unknown:
            raise UserError(f"evaluate.worlds: no {unknown[0]!r}; there are {', '.join(NAMES)}")
        required("evaluate.baselines", self.baselines)
        required("evaluate.in_worlds", self.in_worlds)


def trial_of(
    version: AgentVersion,
    simulator: SimulatorVersion,
    audience: Audience,
    settings: Evaluating,
    weights: Mapping[str, float],
) -> Trial:
    """Sets up an agent's evaluation. Its episodes have the settings of the training.

    Args:
        version: version of the agent.
        simulator: simulator whose listeners it serves.
        audience: audience of a store, with the listeners that the fit has left out; or new listeners.
        settings: settings of the evaluation.
        weights: weights of the return's parts by which all are judged, even if the agent was trained for others.

    Raises:
        UserError: the simulator lacks a model.
    """
    require_members(simulator, "evaluate.member", [settings.member])
    trained, fitted = version.trained, simulator.simulator
    require_members(simulator, "members", trained.members)
    episodes = Episodes(
        days=trained.days, slate=trained.slate, candidates=trained.candidates, own_pull=trained.own_pull,
        weights=trained.weights,
    )  # fmt: skip
    first, space = trained.members[0], fitted.space
    number, seed = min(trained.listeners, CHANCE_LISTENERS), drawn_seed(trained.seed, first)
    world = world_of(fitted, audience.fitted, episodes, first, number, seed)
    chance = fit_click_chance(world, (trained.seed,), trained.slate)
    practice = Practice(world=world, chance=chance, slate=trained.slate, seed=trained.seed)
    names = required("evaluate.baselines", settings.baselines)
    made = {name: OPPONENTS[name](practice) for name in names}
    beside = [name for name in names if name in required("evaluate.in_worlds", settings.in_worlds)]
    worlds = {}
    for name in (AS_FITTED, *(NAMES if settings.worlds is None else settings.worlds)):
        changed = fitted if name == AS_FITTED else mis_specified_simulator(fitted, name)
        # The same seed gives the same new listeners in all worlds.
        world = world_of(
            changed, audience.left_out, episodes, settings.member, settings.listeners,
            drawn_seed(settings.seeds[0], settings.member),
        )  # fmt: skip
        against = [made[one] for one in (names if name == AS_FITTED else beside)]
        worlds[name] = TrialWorld(world=world, words=WORDS[name], baselines=against)
    return Trial(
        agent=Served(version.policy(space)), worlds=worlds, weights=weights, days=trained.days,
        seeds=settings.seeds, processes=settings.workers or os.cpu_count() or 1, learning=version.curve,
    )  # fmt: skip
