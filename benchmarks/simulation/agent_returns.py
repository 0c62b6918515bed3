"""Is an agent that was trained among simulated listeners worth more than the best of the short term?

Planted worlds (pieces of the demo's world whose truth is known). `tired`: listeners tire of a region, their tastes
move, and who skips much comes back later. `none`: nothing of that is planted, so there is nothing to be found. In each,
a simulator is fitted to the log of some of the listeners (`--fitted`), agents are trained in its members 0 to 3 and
judged among the others, whom neither has seen: in member 4, in member 4 with one thing changed (satiation half and
twice as strong, another law of coming back, faster tastes), and in the planted world itself. Baselines serve the same
listeners: greedy by a learned chance of a listen, at most two of a region, calibrated to regions, and in member 4 the
planner with the true state. An episode is 28 days; its return is active days, plus new artists who are kept, less
a twentieth of the skips; clicks count nothing.

    OMP_NUM_THREADS=1 python benchmarks/simulation/agent_returns.py                        # some hours of one core
    OMP_NUM_THREADS=1 python benchmarks/simulation/agent_returns.py --worlds tired --trainings 1 --listeners 300
    OMP_NUM_THREADS=1 python benchmarks/simulation/agent_returns.py --worlds tired --ablations --trainings 1
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from towers.lifecycle.agent.evaluating import AS_FITTED
from towers.lifecycle.agent.figures import FEWEST
from towers.lifecycle.agent.opponents import OPPONENTS, Practice
from towers.simulation.environment.chance_fitting import fit_click_chance
from towers.simulation.environment.comparing import against, segments
from towers.simulation.environment.judging import Judged, judge
from towers.simulation.environment.making import make_world
from towers.simulation.environment.mis_specified import mis_specified_simulator
from towers.simulation.environment.rewards import RETURN_WEIGHTS
from towers.simulation.environment.world import ListeningWorld
from towers.simulation.listeners.fitting import FitSettings, fit
from towers.simulation.listeners.model import Simulator
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.planted.listeners import PlantedListeners, planted_log
from towers.simulation.planted.world import Plant, PlantedWorld
from towers.training.agent.credit import TopK, WholeSlate
from towers.training.agent.long_term import long_term_of
from towers.training.agent.ppo import Ppo
from towers.training.agent.reinforce import Reinforce
from towers.training.agent.serving import Served
from towers.training.agent.starting import Learner, Start

PLANTS: Final[dict[str, dict[str, Any]]] = {
    "tired": {"satiation": 0.6, "drift": 1.0, "returns": "satisfaction"},
    "none": {},
}
CHANGES: Final = ("satiation_half", "satiation_double", "weibull", "drift")
TRUE: Final = "planted"
BESIDE: Final = ("greedy", "capped", "calibrated")
CLICKS: Final[dict[str, float]] = {"streams": 1.0}


@dataclass(frozen=True, kw_only=True)
class Place:
    """A planted world, its log, and a simulator fitted to some of its listeners."""

    there: PlantedListeners
    seen: SessionLog
    unseen: SessionLog
    simulator: Simulator

    def world(
        self, arguments: argparse.Namespace, member: int, log: SessionLog, change: str | None = None
    ) -> ListeningWorld:
        """A member of the simulator in which some listeners go on."""
        simulator = self.simulator if change is None else mis_specified_simulator(self.simulator, change)
        return make_world(
            simulator, arguments.listeners, log=log, member=member, days=arguments.length, own_pull=arguments.own_pull
        )


def place_of(name: str, arguments: argparse.Namespace) -> Place:
    """Plants a world, lets it be listened in, and fits a simulator."""
    plant = Plant(
        seed=arguments.seed, num_listeners=arguments.fitted + arguments.unseen, num_days=arguments.days,
        num_tracks=arguments.tracks, **PLANTS[name],
    )  # fmt: skip
    world = PlantedWorld(plant)
    log, there = planted_log(world, arguments.seed)
    is_seen = np.arange(plant.num_listeners) < arguments.fitted
    settings = FitSettings(members=5, min_listeners=10, seed=arguments.seed)
    simulator = fit(log.of_listeners(is_seen), world.space, settings, world.end_us)
    return Place(there=there, seen=log.of_listeners(is_seen), unseen=log.of_listeners(~is_seen), simulator=simulator)


LEARNERS: Final[dict[str, Callable[[argparse.Namespace], Learner]]] = {
    "top-K": lambda given: Reinforce(Start(), TopK(), steps=given.steps),
    "whole slate": lambda given: Reinforce(Start(), WholeSlate(), steps=given.steps),
    "ppo": lambda given: Ppo(Start(), steps=given.steps),
    "without long-term worth": lambda given: Reinforce(Start(without=("long_term",)), TopK(), steps=given.steps),
    "without satiation": lambda given: Reinforce(Start(without=("satiation",)), TopK(), steps=given.steps),
    "streams rewarded": lambda given: Reinforce(Start(), TopK(), steps=given.steps),
}


def trained(
    place: Place, name: str, seed: int, arguments: argparse.Namespace, console: Console
) -> tuple[Served, dict[str, Any]]:
    """An agent, and what its training took."""
    worlds = [place.world(arguments, member, place.seen) for member in range(4)]
    long_term = long_term_of(place.seen, place.simulator.space, place.simulator.until_us, seed)
    curve: list[float] = []

    def watch(step: int, steps: int, figures: Mapping[str, float]) -> None:
        curve.append(figures["return"])
        console.print(f"  {name}, training {seed}: step {step} of {steps}, return {figures['return']:.2f}")

    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        policy = LEARNERS[name](arguments).train(
            worlds, weights=CLICKS if name == "streams rewarded" else RETURN_WEIGHTS, folder=Path(folder), seed=seed,
            watch=watch, long_term=long_term,
        )  # fmt: skip
    took = {"curve": curve, "processor_seconds": time.process_time() - began, "weights": policy.weights[0].tolist()}
    return Served(policy, f"{name}, training {seed}"), took


def judged(place: Place, agents: Sequence[Served], arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measures what agents and baselines are worth in all worlds."""
    practice_world = place.world(arguments, 0, place.seen)
    chance = fit_click_chance(practice_world, (arguments.seed,))
    practice = Practice(world=practice_world, chance=chance, slate=practice_world.slate_size, seed=arguments.seed)
    beside = [OPPONENTS[name](practice) for name in BESIDE]
    planner = [OPPONENTS["planner"](practice)] if arguments.planner else []
    worlds = {AS_FITTED: place.world(arguments, 4, place.unseen)}
    worlds |= {change: place.world(arguments, 4, place.unseen, change) for change in arguments.changes}
    if arguments.true:
        unseen = np.arange(arguments.fitted, arguments.fitted + arguments.unseen)
        listeners = PlantedListeners.drawn(
            place.there, arguments.listeners, arguments.seed, place.simulator.space, unseen
        )
        worlds[TRUE] = ListeningWorld(
            listeners, place.simulator.until_us, arguments.length, own_pull=arguments.own_pull
        )
    found: dict[str, Any] = {}
    for name, world in worlds.items():
        policies = [*agents, *beside, *(planner if name == AS_FITTED else [])]
        seeds = range(100, 100 + arguments.seeds)
        served = {one.policy: one for one in judge(policies, {name: world}, seeds, processes=arguments.processes)}
        agent_names = [agent.name for agent in agents]
        found[name] = {
            "policies": {policy: {measure: float(values.mean()) for measure, values in one.figures.items()}
                         | {"return": float(one.returns().mean())} for policy, one in served.items()},
            "against": {agent: {policy: told(served[agent], one) for policy, one in served.items()
                                if policy not in agent_names} for agent in agent_names},
        }  # fmt: skip
        console.print(table(name, found[name]))
    return found


def told(agent: Judged, other: Judged) -> dict[str, Any]:
    """The agent beside another policy: all listeners, and the return by segment."""
    by_segment = {
        segment: against(agent, other, among=among)["return"].to_json()
        for segment, among in segments(other).items()
        if among.sum() >= FEWEST
    }
    return {measure: one.to_json() for measure, one in against(agent, other).items()} | {"segments": by_segment}


def table(name: str, found: Mapping[str, Any]) -> Table:
    """The agents' returns and clicks beside each baseline's."""
    rows = Table("agent", "beside", "return", "of it", "ratio (95 %)", "clicks", "adopted", "entropy", title=name)
    for agent, others in found["against"].items():
        for policy, measures in others.items():
            kept = measures["return"]
            rows.add_row(
                agent, policy, f"{kept['mean']:.2f}", f"{kept['other_mean']:.2f}",
                f"{number(kept['ratio'])} ({number(kept['ratio_low'])} to {number(kept['ratio_high'])})",
                *(number(measures[measure]["ratio"]) for measure in ("clicks", "adopted_artists", "region_entropy")),
            )  # fmt: skip
    return rows


def number(ratio: float | None) -> str:
    """A ratio, where there is one."""
    return "-" if ratio is None or not np.isfinite(ratio) else f"{ratio:.3f}"


def main() -> None:
    """Prints and writes the figures."""
    parser = command_line(__doc__)
    parser.add_argument("--worlds", nargs="+", choices=tuple(PLANTS), default=list(PLANTS))
    parser.add_argument("--fitted", type=int, default=600, help="listeners of the fit and of the trainings")
    parser.add_argument("--unseen", type=int, default=1000, help="listeners of the judgement")
    parser.add_argument("--days", type=int, default=60, help="of the log")
    parser.add_argument("--tracks", type=int, default=440)
    parser.add_argument("--length", type=float, default=28.0, help="days of an episode")
    parser.add_argument("--listeners", type=int, default=1000, help="of each world")
    parser.add_argument("--own-pull", type=float, default=5.0, help="how much own choice weighs beside a slate")
    parser.add_argument("--learner", choices=tuple(LEARNERS), default="top-K")
    parser.add_argument("--ablations", action="store_true", help="all learners, rather than one")
    parser.add_argument("--steps", type=int, default=24, help="of a training")
    parser.add_argument("--trainings", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=10, help="rounds of episodes of a judgement")
    parser.add_argument("--changes", nargs="*", choices=CHANGES, default=list(CHANGES))
    parser.add_argument("--planner", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--true", action=argparse.BooleanOptionalAction, default=True, help="the planted world, too")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    add_smallest(
        parser, worlds=["tired"], fitted=20, unseen=10, days=4, tracks=60, length=1.0, listeners=5, steps=1,
        trainings=1, seeds=1, changes=["drift"],
    )  # fmt: skip
    arguments = parser.parse_args()
    console, found = Console(), {}
    for name in arguments.worlds:
        place = place_of(name, arguments)
        learners = tuple(LEARNERS) if arguments.ablations else (arguments.learner,)
        agents, trainings = [], {}
        for learner in learners:
            for seed in range(arguments.trainings):
                agent, took = trained(place, learner, seed, arguments, console)
                agents.append(agent)
                trainings[agent.name] = took
        found[name] = {"trainings": trainings, "judged": judged(place, agents, arguments, console)}
    write_result(arguments, "agent_returns", {"arguments": vars(arguments), "worlds": found})


if __name__ == "__main__":
    main()
