"""Judges an agent among simulated listeners: beside baselines, in a model that it was not trained in and in worlds that
are not as the simulator has them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from towers.lifecycle.agent.figures import AgentEvaluation, told_of, world_figures
from towers.manifest import write_json
from towers.simulation.environment.judging import Judged, judge
from towers.simulation.environment.policies import ServingPolicy
from towers.simulation.environment.world import ListeningWorld

EVALUATION: Final = "evaluation.json"
PAGE: Final = "report.html"
AS_FITTED: Final = "as fitted"
"""Name of the world that the agent is judged in."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What an agent is judged by.

    Args:
        agent: serves.
        baselines: serve the same listeners; the first is the one that the agent is held beside in detail.
        worlds: by name, `AS_FITTED` first.
        words: by name, what each world is.
        weights: of the return's parts.
        days: of an episode.
        seeds: a round of episodes each.
        processes: that share the episodes.
        learning: columns of the training's curve.
    """

    agent: ServingPolicy
    baselines: Sequence[ServingPolicy]
    worlds: Mapping[str, ListeningWorld]
    words: Mapping[str, str]
    weights: Mapping[str, float]
    days: float
    seeds: Sequence[int]
    processes: int
    learning: Mapping[str, Sequence[float]]


def evaluated(trial: Trial, progress: Callable[[int, int], None]) -> AgentEvaluation:
    """Lets all policies serve in all worlds.

    Args:
        trial: what the agent is judged by.
        progress: told of episodes of all listeners.
    """
    policies = [trial.agent, *trial.baselines]
    found = judge(policies, trial.worlds, trial.seeds, progress, trial.processes)
    by_world: dict[str, list[Judged]] = {name: [one for one in found if one.world == name] for name in trial.worlds}
    first = by_world[next(iter(trial.worlds))]
    space = next(iter(trial.worlds.values())).space
    return AgentEvaluation(
        agent=trial.agent.name,
        weights=trial.weights,
        days=trial.days,
        worlds=tuple(
            world_figures(ones, trial.agent.name, trial.words[name], trial.weights) for name, ones in by_world.items()
        ),
        told=tuple(told_of(one, space) for one in first[:2]),
        learning=trial.learning,
    )


def write_evaluation(found: AgentEvaluation, about: Mapping[str, Any], folder: Path) -> Path:
    """Writes the figures; the page is written beside them.

    Args:
        found: what an evaluation found.
        about: what was judged on what.
        folder: of the agent's version.
    """
    path = folder / EVALUATION
    write_json(path, {"about": about, **found.to_json()})
    return path
