"""Evaluation of an agent among simulated listeners: beside baselines, in a model that it was not trained in, and in
worlds that deviate from the simulator."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from towers.lifecycle.agent.figures import AgentEvaluation, told_of, world_figures
from towers.manifest import write_json
from towers.simulation.environment.judging import judge
from towers.simulation.environment.policies import ServingPolicy
from towers.simulation.environment.world import ListeningWorld

EVALUATION: Final = "evaluation.json"
PAGE: Final = "report.html"
AS_FITTED: Final = "as fitted"
"""Name of the world that the agent is judged in."""


@dataclass(frozen=True, kw_only=True)
class TrialWorld:
    """A world of a trial.

    Args:
        world: world of listeners.
        words: description for people.
        baselines: policies that serve its listeners beside the agent.
    """

    world: ListeningWorld
    words: str
    baselines: Sequence[ServingPolicy]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Settings and worlds by which an agent is judged.

    Args:
        agent: policy of the agent.
        worlds: worlds by name; the agent is judged in the first one, and compared in detail with its first baseline
            there.
        weights: weights of the return's parts.
        days: days of an episode.
        seeds: seeds, each for one episode of every listener.
        processes: number of processes that share the episodes.
        learning: columns of the training's curve.
    """

    agent: ServingPolicy
    worlds: Mapping[str, TrialWorld]
    weights: Mapping[str, float]
    days: float
    seeds: Sequence[int]
    processes: int
    learning: Mapping[str, Sequence[float]]


def evaluated(trial: Trial, progress: Callable[[str, int, int], None]) -> AgentEvaluation:
    """Lets the agent and all baselines serve, and collects the figures.

    Args:
        trial: what the agent is judged by.
        progress: called with each world's progress in episodes of all listeners.
    """
    name = trial.agent.name
    found = {
        world: judge(
            [trial.agent, *one.baselines], {world: one.world}, trial.seeds, partial(progress, world), trial.processes
        )
        for world, one in trial.worlds.items()
    }
    first = next(iter(trial.worlds))
    space = trial.worlds[first].world.space
    return AgentEvaluation(
        agent=name,
        weights=trial.weights,
        days=trial.days,
        worlds=tuple(
            world_figures(ones, name, trial.worlds[world].words, trial.weights) for world, ones in found.items()
        ),
        told=tuple(told_of(one, space) for one in found[first][:2]),
        learning=trial.learning,
    )


def write_evaluation(found: AgentEvaluation, about: Mapping[str, Any], folder: Path) -> Path:
    """Writes the figures; the page is written beside them.

    Args:
        found: result of an evaluation.
        about: inputs of the evaluation.
        folder: folder of the agent's version.
    """
    path = folder / EVALUATION
    write_json(path, {"about": about, **found.to_json()})
    return path
