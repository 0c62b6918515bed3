"""By whom and where an agent is judged: listeners whom its training has not seen, baselines, mis-specified worlds."""

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
    "weibull": "gaps between sessions of Weibull distributions, whatever the hour and the skips",
    "satisfaction": "who skips much comes back later",
    "drift": "tastes follow plays faster",
}
"""By name, what each world is."""
CHANCE_LISTENERS: Final = 300
"""Listeners, at most, whose slates the baselines' chance of a pick is calibrated by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluating:
    """How an agent is judged among simulated listeners.

    Args:
        member: number of the model that it is judged in.
        listeners: number of them.
        seeds: a round of episodes each.
        worlds: names of mis-specified worlds beside it; null: all.
        baselines: names of policies that it is held beside; null: all.
        in_worlds: names of those who serve in the mis-specified worlds, too; null: all.
        workers: processes; null: one a core.

    Raises:
        UserError: a value that cannot be; names the key.
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
    """Makes what an agent is judged by. Its episodes are those of its training.

    Args:
        version: of the agent.
        simulator: whose listeners it serves.
        audience: of a store, whose listeners the fit has left out; or new listeners.
        settings: how.
        weights: of the parts of the return that all are judged by, whatever the agent was trained for.

    Raises:
        UserError: a model that the simulator does not have.
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
        # The same seed: the same new listeners in all worlds.
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
