"""Does a fit find what was planted, and does its simulator rank policies as the true world does?

Worlds made of pieces of the demo's world, each with something planted: satiation of several strengths and recoveries,
tastes that stay or move, other laws of coming back. Each is listened in for its period, a simulator is fitted to the
log, and held against the truth: by how much the log-odds of a skip rise for each unit of satiation (the mean over
plays, with the least and the greatest of the ensemble), in how many hours satiation falls to 1/e, how much less keen
to come back a listener is after a session of skips than after one without, and what is read from the fast and from the
slow taste. Then five policies serve slates to the listeners as they are after the log, once among the true ones and
once among the simulator's: Kendall's tau of the two orders by streams, and the mean of each.

    OMP_NUM_THREADS=1 python benchmarks/simulation/planted_worlds.py  # three to five processor minutes a world
    OMP_NUM_THREADS=1 python benchmarks/simulation/planted_worlds.py --worlds none moving
"""

import argparse
import time
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from benchmarks.measuring import add_smallest, command_line, write_result
from towers.simulation.environment.making import make_world
from towers.simulation.environment.policies import five_policies
from towers.simulation.environment.value import PolicyValue, value_of
from towers.simulation.environment.world import ListeningWorld
from towers.simulation.listeners.fitting import FitSettings, fit
from towers.simulation.listeners.model import Simulator
from towers.simulation.listeners.replay import record
from towers.simulation.listeners.session_log import SKIP, SessionLog
from towers.simulation.planted.listeners import PlantedListeners, planted_log
from towers.simulation.planted.world import Plant, PlantedWorld

WORLDS: Final[dict[str, dict[str, Any]]] = {
    "none": {},
    "weak": {"satiation": 0.15},
    "middle": {"satiation": 0.3},
    "strong": {"satiation": 0.6},
    "a day long": {"satiation": 0.3, "recovery_hours": 24.0},
    "moving": {"satiation": 0.3, "drift": 3.0},
    "weibull": {"satiation": 0.3, "returns": "weibull"},
    "satisfaction": {"satiation": 0.3, "returns": "satisfaction"},
}
EFFECTS: Final = ("satiation", "fast_affinity", "slow_affinity")


def effects(simulator: Simulator, log: SessionLog) -> dict[str, dict[str, float]]:
    """Mean slopes of the log-odds of a skip, with the least and the greatest of the ensemble."""
    found: dict[str, list[float]] = {name: [] for name in EFFECTS}
    seen = record(log, simulator.space, simulator.central.drift)
    for model in (simulator.central, *simulator.members):
        read = model.response.design(seen.of_content, seen.of_moment, log.context)
        for name in EFFECTS:
            found[name].append(model.response.effect(name, read))
    return {name: {"central": values[0], "low": min(values), "high": max(values)} for name, values in found.items()}


def order(world: ListeningWorld, seeds: range) -> list[PolicyValue]:
    """Returns what each of the five policies is worth in a world."""
    return [value_of(policy, world, seeds) for policy in five_policies(world.space)]


def compared(true: list[PolicyValue], simulated: list[PolicyValue], part: str) -> dict[str, Any]:
    """The means of two worlds, and Kendall's tau of their orders."""
    means = {
        kind: {value.name: value.mean()[part] for value in values}
        for kind, values in (("true", true), ("simulated", simulated))
    }
    columns = [[mean[0] for mean in means[kind].values()] for kind in means]
    return {"tau": float(np.asarray(kendalltau(*columns))[0]), **means}


def measured(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures of one world."""
    plant = Plant(
        seed=arguments.seed, num_listeners=arguments.listeners, num_days=arguments.days, num_tracks=arguments.tracks,
        **WORLDS[name],
    )  # fmt: skip
    world, began = PlantedWorld(plant), time.process_time()
    log, there = planted_log(world, arguments.seed)
    logged, began = time.process_time() - began, time.process_time()
    settings = FitSettings(members=arguments.members, min_listeners=10, seed=arguments.seed)
    simulator = fit(log, world.space, settings, world.end_us)
    fitted, began = time.process_time() - began, time.process_time()
    facts: dict[str, Any] = {
        "planted": WORLDS[name], "plays": len(log), "skip_rate": float((log.outcome == SKIP).mean()),
        "effects": effects(simulator, log), "recovery_hours": simulator.central.drift.recovery_hours,
        "slow_rate": simulator.central.drift.slow_rate, "fast_rate": simulator.central.drift.fast_rate,
        "satisfaction": simulator.central.returning.satisfaction,
    }  # fmt: skip
    number, days, seeds = arguments.served, arguments.served_days, range(arguments.seeds)
    listeners = PlantedListeners.drawn(there, number, arguments.seed, simulator.space)
    true = order(ListeningWorld(listeners, world.end_us, days), seeds)
    simulated = order(make_world(simulator, number, log=log, days=days), seeds)
    for part in ("streams", "active_days", "adopted_artists"):
        facts[part] = compared(true, simulated, part)
    seconds = {"log": logged, "fit": fitted, "order": time.process_time() - began}
    return facts | {"processor_seconds": seconds}


def table(found: dict[str, dict[str, Any]]) -> Table:
    """The figures of all worlds."""
    columns = ("world", "planted", "found (ensemble)", "hours", "found", "keenness after skips", "fast taste", "tau")
    rows = Table(*columns, title="What was planted and what was found")
    for name, facts in found.items():
        satiation, fast = facts["effects"]["satiation"], facts["effects"]["fast_affinity"]
        keenness = facts["satisfaction"][-1] / facts["satisfaction"][0]
        planted = Plant(**facts["planted"])
        rows.add_row(
            name, f"{planted.satiation:.2f}",
            f"{satiation['central']:.3f} ({satiation['low']:.3f} to {satiation['high']:.3f})",
            f"{planted.recovery_hours:.0f}" if planted.satiation else "-", f"{facts['recovery_hours']:.1f}",
            f"{keenness:.2f}", f"{fast['central']:.2f} ({fast['low']:.2f} to {fast['high']:.2f})",
            f"{facts['streams']['tau']:.2f}",
        )  # fmt: skip
    return rows


def order_table(found: dict[str, dict[str, Any]]) -> Table:
    """Streams of a listener under each policy, in the true world and in the simulated one."""
    policies = list(next(iter(found.values()))["streams"]["true"])
    rows = Table("world", "tau", *policies, title="Streams of a listener: true / simulated")
    for name, facts in found.items():
        streams = facts["streams"]
        pairs = [f"{streams['true'][policy][0]:.1f} / {streams['simulated'][policy][0]:.1f}" for policy in policies]
        rows.add_row(name, f"{streams['tau']:.2f}", *pairs)
    return rows


def main() -> None:
    """Prints and writes the figures."""
    parser = command_line(__doc__)
    parser.add_argument("--worlds", nargs="+", choices=tuple(WORLDS), default=list(WORLDS))
    parser.add_argument("--listeners", type=int, default=600)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--tracks", type=int, default=440)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--served", type=int, default=300, help="listeners of the check of order")
    parser.add_argument("--served-days", type=float, default=14.0)
    parser.add_argument("--seeds", type=int, default=1, help="of the check of order")
    parser.add_argument("--seed", type=int, default=0)
    add_smallest(
        parser, worlds=["middle"], listeners=30, days=3, tracks=60, members=1, served=10, served_days=1.0, seeds=1
    )
    arguments = parser.parse_args()
    console, found = Console(), {}
    for name in arguments.worlds:
        found[name] = measured(name, arguments)
        console.print(table({name: found[name]}))
    console.print(table(found))
    console.print(order_table(found))
    sizes = {
        name: getattr(arguments, name) for name in ("listeners", "days", "members", "served", "served_days", "seed")
    }
    found = {name: facts | {"satisfaction": facts["satisfaction"].tolist()} for name, facts in found.items()}
    some = (
        "" if arguments.worlds == list(WORLDS) else "-" + "-".join(name.replace(" ", "_") for name in arguments.worlds)
    )
    write_result(arguments, f"planted_worlds{some}", {"sizes": sizes, "worlds": found})


if __name__ == "__main__":
    main()
