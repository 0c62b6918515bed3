"""Does an agent learn, in a world that is not ours, to earn more than calibrated greedy does?

    scripts/peers benchmarks/peers/sardine.txt .venv-peers-sardine
    python benchmarks/simulation/sardine_agent.py

The world is SARDINE's `SlateTopK-Bored` (Deffayet et al. 2023): ten of 1,000 items a step for 100 steps; each slot is
looked at .85 times as often as the one before; a listener with five clicks on one topic among the last ten, of the last
five steps, is bored for some steps and clicks nothing. Every listener has a taste of their own.

The agent is told what SARDINE's observation tells (the slate, its clicks, recent clicks by topic) and the items'
vectors and topics, never a taste nor whether a listener is bored. It is trained in two parts, both counted:

1. slates of random items are shown to some listeners; a model of clicks and of how tastes vary is fitted to that log
   (`sardine_belief`), its slope chosen on half of these listeners by what a belief fitted on the others foretells;
2. weights of a compact policy (`sardine_policy`) by REINFORCE, clicks as the reward; of the weights after every ten
   updates those that earn most on validation listeners are kept.

Listeners of the log, of training, of validation and of test are other ones each; the test listeners are met once, after
all is chosen. Intervals are over listeners, 95 %; policies meet the same listeners, so that differences are paired.

| policy | knows |
|---|---|
| random | nothing |
| greedy, at most two of a topic: `belief` | what the agent knows, from the same belief; the cap is not learned |
| greedy, at most two of a topic: `truth` | the taste, not the boredom |
| planner | taste, boredom, the clicks that count for it, and the rules: the one of 18 slates that has the most |
|  | expected clicks less `COST` times the chance that it bores, by draws; on fewer of the listeners |
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.measuring import add_smallest, command_line, write_result
from benchmarks.simulation.sardine_belief import Belief, ClickLog, ClickModel, fit_clicks, foretold
from benchmarks.simulation.sardine_planner import Planner
from benchmarks.simulation.sardine_policy import CONTEXT, FEATURES, SLOTS, Agent, Reinforce
from benchmarks.simulation.sardine_world import SILENT_STEPS, Listeners, Policy, Seen, has_sardine, of_most, played

LOG, TRAINING, VALIDATION, TEST = 1_000_000, 10_000_000, 2_000_000, 3_000_000
"""First seeds of listeners."""
SLOPES = (5.0, 10.0, 20.0, 40.0, 80.0)
COST = 25.0
"""Clicks that a bored listener costs a planner: five steps of five clicks."""
SATIATION = ("recent", "recent, chance", "last", "last, chance")
PLANNER = "planner, true state"


class Random:
    """Any items."""

    def __init__(self, listeners: Listeners, rng: np.random.Generator):
        self._items, self._rng = len(listeners.items), rng

    def begin(self, seen: Seen) -> None:
        """See `Policy`."""

    def act(self, seen: Seen) -> np.ndarray:
        """See `Policy`."""
        return np.argsort(self._rng.random((len(seen.slates), self._items)), axis=1)[:, :SLOTS]

    def learn(self, seen: Seen, was_since_full: np.ndarray) -> None:
        """See `Policy`."""


class Greedy:
    """The items of the greatest chance, at most some of a topic; chances are told or, with a model, believed."""

    def __init__(self, listeners: Listeners, most: int = SLOTS, model: ClickModel | None = None):
        self._listeners, self._most, self._model = listeners, most, model

    def begin(self, seen: Seen) -> None:
        """See `Policy`."""
        if self._model is not None:
            self._belief = Belief(self._model, self._listeners.items, len(seen.slates))
            self.learn(seen, np.full(len(seen.slates), SILENT_STEPS))

    def act(self, seen: Seen) -> np.ndarray:
        """See `Policy`."""
        if self._model is None:
            chance = self._listeners.truth().chances
        else:
            chance = self._belief.chances(*self._belief.relevance())
        return of_most(chance, self._listeners.topics, self._most)

    def learn(self, seen: Seen, was_since_full: np.ndarray) -> None:
        """See `Policy`."""
        if self._model is not None:
            self._belief.update(seen, was_since_full)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--logged", type=int, default=200, help="listeners of the log of random slates")
    parser.add_argument("--batch", type=int, default=80, help="episodes of an update, four of each listener")
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--trainings", type=int, default=3)
    parser.add_argument("--validated", type=int, default=200, help="listeners of validation")
    parser.add_argument("--tested", type=int, default=500, help="listeners of the test")
    parser.add_argument("--planned", type=int, default=200, help="of these, those whom the planner plans for")
    add_smallest(parser, logged=6, batch=4, updates=1, trainings=1, validated=4, tested=4, planned=4)
    arguments = parser.parse_args()
    if not has_sardine():
        print("SARDINE is not there: scripts/peers benchmarks/peers/sardine.txt .venv-peers-sardine")
        return
    with threadpool_limits(1):
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    begin = time.process_time()
    model = fitted(Listeners(arguments.logged))
    seconds = {"belief": time.process_time() - begin}
    trainings: list[tuple[str, int, tuple[str, ...]]] = [
        (f"agent {seed}", seed, ()) for seed in range(arguments.trainings)
    ]
    trainings.append(("agent without satiation", 0, SATIATION))
    curves: dict[str, Any] = {}
    policies: dict[str, Callable[[Listeners], Policy]] = {
        "random": lambda some: Random(some, np.random.default_rng(0)),
        "greedy, belief": lambda some: Greedy(some, model=model),
        "two of a topic, belief": lambda some: Greedy(some, most=2, model=model),
        "greedy, truth": Greedy,
        "two of a topic, truth": lambda some: Greedy(some, most=2),
    }
    for name, seed, without in trainings:
        begin = time.process_time()
        weights, curve = trained(arguments, model, without, seed)
        seconds[name] = time.process_time() - begin
        curves[name] = {"updates": curve, "weights": weights.tolist()}
        policies[name] = partial(Agent, model, weights, without=without)
    print("all is chosen: the test", flush=True)
    found = {name: tested(make, TEST, arguments.tested) for name, make in policies.items()}
    found[PLANNER] = tested(lambda some: Planner(some, COST, np.random.default_rng(0)), TEST, arguments.planned)
    report(arguments, found, {"seconds": seconds, "trainings": curves, "model": told(model)})


def fitted(listeners: Listeners) -> ClickModel:
    """The model of clicks by a log of random slates."""
    policy = Random(listeners, np.random.default_rng(1))
    seen, ended = listeners.reset(LOG + np.arange(len(listeners))), False
    slates, clicks, since_full = [], [], []
    while not ended:
        since_full.append(seen.since_full)
        seen, _, ended = listeners.step(policy.act(seen))
        slates.append(seen.slates)
        clicks.append(seen.clicks)
    log = ClickLog(slates=np.stack(slates, axis=1), clicks=np.stack(clicks, axis=1),
                   since_full=np.stack(since_full, axis=1))  # fmt: skip
    half = len(listeners) // 2
    first = fit_clicks(log.of(slice(half)), listeners.items)
    slope = max(SLOPES, key=lambda slope: foretold(first.with_slope(slope), log.of(slice(half, None)), listeners.items))
    return fit_clicks(log, listeners.items).with_slope(slope)


def trained(
    arguments: argparse.Namespace, model: ClickModel, without: tuple[str, ...], seed: int
) -> tuple[np.ndarray, list[dict[str, float]]]:
    """The weights that earned most on validation listeners, and how training went."""
    agent = Agent(model, beginning(), Listeners(arguments.batch), without)
    curve: list[dict[str, float]] = []
    best, kept = -np.inf, agent.weights

    def watch(update: int, clicks: float) -> None:
        nonlocal best, kept
        curve.append({"update": update, "clicks": clicks})
        if (update + 1) % 10 == 0 or update + 1 == arguments.updates:
            weights = agent.weights
            earned = tested(lambda some: Agent(model, weights, some, without), VALIDATION, arguments.validated).mean()
            curve[-1]["validation"] = float(earned)
            print(f"training {seed}, update {update + 1}: validation {earned:.1f}", flush=True)
            if earned > best:
                best, kept = earned, weights

    first_seed = TRAINING + seed * 1_000_000
    Reinforce().train(agent, first_seed, arguments.updates, np.random.default_rng([seed, 7]), watch)
    return kept, curve


def beginning() -> np.ndarray:
    """Weights before training: the chance, and a little less for another item of the same topic."""
    weights = np.zeros((len(CONTEXT), len(FEATURES)))
    weights[0, FEATURES.index("chance")], weights[0, FEATURES.index("in the slate")] = 12.0, -2.5
    return weights


def tested(make: Callable[[Listeners], Policy], first_seed: int, number: int) -> np.ndarray:
    """Clicks of an episode of each of some listeners: up to 100, or hundreds."""
    batch = min(number, 100)
    listeners = Listeners(batch)
    seeds = first_seed + np.arange(number)
    return np.concatenate([
        played(make(listeners), listeners, seeds[at : at + batch]) for at in range(0, number - batch + 1, batch)
    ])  # fmt: skip


def told(model: ClickModel) -> dict[str, Any]:
    return {"slope": model.slope, "slots": model.slots.tolist(), "hears": model.hears.tolist()}


def report(arguments: argparse.Namespace, found: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
    against = found["two of a topic, truth"]
    table = Table("policy", "clicks an episode", "more than two of a topic, truth")
    rows: dict[str, dict[str, float]] = {}
    for name, clicks in found.items():
        more = clicks - against[: len(clicks)]
        rows[name] = {"clicks": float(clicks.mean()), "half_width": half_width(clicks),
                      "more": float(more.mean()), "more_half_width": half_width(more)}  # fmt: skip
        table.add_row(name, f"{clicks.mean():.1f} ± {half_width(clicks):.1f}",
                      f"{more.mean():+.1f} ± {half_width(more):.1f}")  # fmt: skip
    Console().print(table)
    print(f"core-seconds: {', '.join(f'{name} {spent:.0f}' for name, spent in facts['seconds'].items())}")
    sizes = {
        name: getattr(arguments, name) for name in ("logged", "batch", "updates", "validated", "tested", "planned")
    }
    write_result(arguments, "sardine_agent", {"sizes": sizes, "policies": rows, **facts})


def half_width(sample: np.ndarray) -> float:
    """Returns half the width of the 95 % interval of a mean."""
    return float(1.96 * sample.std(ddof=1) / np.sqrt(len(sample))) if len(sample) > 1 else float("nan")


if __name__ == "__main__":
    main()
