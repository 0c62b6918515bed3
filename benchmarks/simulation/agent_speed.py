"""How many slates does one core draw a second?

An agent's policy reads 200 candidates of each listener, scores them, and draws slates of ten, slot by slot, with the
chance of every choice; listeners come in batches, as a service or a world asks. Beside it in the same run: `greedy`, by
the learned chance of a listen, which the agent is held against, on the same observations. A second is one of processor
time on one thread; the best of the turns counts.

    OMP_NUM_THREADS=1 python benchmarks/simulation/agent_speed.py
"""

import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.measuring import add_smallest, command_line, write_result
from benchmarks.simulation.listening_speed import UNTIL_US, invented_log, invented_space
from towers.policies.agent.features import CONTEXT, FEATURES
from towers.policies.agent.policy import READ, AgentPolicy, Chance
from towers.policies.agent.slates import Penalties
from towers.simulation.environment.baselines import Greedy
from towers.simulation.environment.chance_fitting import fit_click_chance
from towers.simulation.environment.making import make_world
from towers.simulation.listeners.fitting import FitSettings, fit
from towers.training.agent.serving import seen_of


def main() -> None:
    """Prints and writes the figures."""
    parser = command_line(__doc__)
    parser.add_argument("--listeners", type=int, default=1_000, help="of a batch")
    parser.add_argument("--contents", type=int, default=3_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--fitted", type=int, default=300, help="listeners of the invented log")
    parser.add_argument("--sessions", type=int, default=8, help="of each of them")
    parser.add_argument("--turns", type=int, default=5)
    add_smallest(parser, listeners=10, contents=250, dim=8, fitted=30, sessions=6, turns=1)
    arguments = parser.parse_args()
    with threadpool_limits(1):
        space = invented_space(arguments.contents, arguments.dim)
        log = invented_log(space, arguments.fitted, arguments.sessions)
        simulator = fit(log, space, FitSettings(members=0, min_listeners=10, drift_listeners=100), UNTIL_US)
        world = make_world(simulator, arguments.listeners, log=log)
        everybody, rng = np.arange(arguments.listeners), np.random.default_rng(0)
        world.reset(everybody, rng)
        for _ in range(5):
            rows = np.flatnonzero(world.now_us < world.end_us)
            world.step(rows, world.candidates[rows, : world.slate_size].astype(np.int64))
        observation = world.observe(everybody)
        chance = Chance(weights=rng.normal(size=len(READ)), of_context=rng.normal(size=len(CONTEXT)))
        agent = AgentPolicy(
            contents=simulator.space, weights=rng.normal(size=(len(CONTEXT), len(FEATURES))), chance=chance,
            long_term=rng.normal(size=len(space)), penalties=Penalties(artist=0.5, region=0.3),
        )  # fmt: skip
        small = make_world(simulator, min(arguments.listeners, 100), log=log, days=2.0)
        greedy = Greedy(simulator.space, fit_click_chance(small))
        kinds: dict[str, Callable[[], object]] = {
            "agent, drawn with propensities": lambda: agent.draw(seen_of(observation), rng),
            "agent, the best slate": lambda: agent.act(seen_of(observation)),
            "greedy": lambda: greedy.act(observation),
        }
        found = {name: arguments.listeners / best_of(act, arguments.turns) for name, act in kinds.items()}
    table = Table("slates of", "a second")
    for name, rate in found.items():
        table.add_row(name, f"{rate:,.0f}")
    Console().print(table)
    write_result(arguments, "agent_speed", {"arguments": vars(arguments), "slates_per_second": found})


def best_of(act: Callable[[], object], turns: int) -> float:
    """Least processor seconds of some turns."""
    seconds = []
    for _ in range(turns):
        began = time.process_time()
        act()
        seconds.append(time.process_time() - began)
    return max(min(seconds), 1e-9)


if __name__ == "__main__":
    main()
