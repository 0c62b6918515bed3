"""Figures of an agent's evaluation, which a page draws and a file keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool

from towers.evaluation.intervals import Interval
from towers.manifest import json_numbers
from towers.simulation.environment.comparing import RETURN, Comparison, compared, segments
from towers.simulation.environment.judging import Judged
from towers.simulation.listeners.space import Space

MEASURES: Final[Mapping[str, str]] = {
    RETURN: "long-term return",
    "active_days": "active days",
    "kept_artists": "artists kept",
    "skips": "skips",
    "streams": "streams",
    "clicks": "picked from the slate",
    "region_entropy": "entropy of regions, bits",
    "tried_artists": "new artists tried",
    "adopted_artists": "new artists adopted",
}
"""Names of the measures for people, by their name in the file. All are of one listener's episode."""
EVERYBODY: Final = "all listeners"
NOWHERE: Final = "in no region"
FEWEST: Final = 20
"""Fewest listeners of a segment that gets figures of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFigures:
    """The long-term return of a segment of the listeners.

    Args:
        name: name of the segment.
        listeners: number of its episodes.
        against: comparison of the agent's return with each baseline's.
    """

    name: str
    listeners: int
    against: Mapping[str, Comparison]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldFigures:
    """Figures of the policies in one world.

    Args:
        name: name of the world.
        words: description for people.
        listeners: number of episodes of each policy.
        policies: mean over listeners, by policy and measure.
        against: comparison with the agent, by baseline and measure.
        segments: figures of the segments of listeners.
    """

    name: str
    words: str
    listeners: int
    policies: Mapping[str, Mapping[str, Interval]]
    against: Mapping[str, Mapping[str, Comparison]]
    segments: tuple[SegmentFigures, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a policy showed a segment of the listeners.

    Args:
        segment: name of the segment.
        listeners: number of its episodes.
        regions: share of the slots by region.
        streamed: share of the streams by region.
        new_artists: share of the slots with an artist who was unknown before the episode.
        popularity: mean logarithm of the popularity of what was shown; 0 is an average content.
        visited: mean number of regions of which something was streamed.
    """

    segment: str
    listeners: int
    regions: Mapping[str, float]
    streamed: Mapping[str, float]
    new_artists: float
    popularity: float
    visited: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTold:
    """What a policy did in the judged world.

    Args:
        policy: name of the policy.
        shown: what it showed each segment, all listeners first.
        days: mean over listeners on each day of the episode, by the names of `judging.BY_DAY`.
    """

    policy: str
    shown: tuple[Shown, ...]
    days: Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEvaluation:
    """All results of an evaluation among simulated listeners.

    Args:
        agent: name of the agent among the policies.
        weights: weights of the return's parts.
        days: days of an episode.
        worlds: figures of the worlds, the one that it is judged in first.
        told: details on the agent, then on the policy that it is compared with; empty where there is none.
        learning: columns of the training's curve, `step` among them; empty where there is none.
    """

    agent: str
    weights: Mapping[str, float]
    days: float
    worlds: tuple[WorldFigures, ...]
    told: tuple[PolicyTold, ...]
    learning: Mapping[str, Sequence[float]]

    @property
    def judged(self) -> WorldFigures:
        """Figures of the world that the agent is judged in."""
        return self.worlds[0]

    @property
    def baselines(self) -> tuple[str, ...]:
        """Names of the other policies."""
        return tuple(self.judged.against)

    def to_json(self) -> dict[str, Any]:
        """Returns all values as JSON values; a number that is not finite becomes null."""
        return json_numbers(asdict(self))


def world_figures(found: Sequence[Judged], agent: str, words: str, weights: Mapping[str, float]) -> WorldFigures:
    """Computes the figures of one world.

    Args:
        found: results of all policies in it, the agent's among them.
        agent: name of the agent.
        words: description of the world.
        weights: weights of the return's parts.
    """
    by_name = {one.policy: one for one in found}
    own, others = by_name[agent], {name: one for name, one in by_name.items() if name != agent}
    parts = []
    for name, among in segments(own).items():
        if among.sum() >= FEWEST:
            beside = {
                other: compared(own.returns(weights), one.returns(weights), own.who, among)
                for other, one in others.items()
            }
            parts.append(SegmentFigures(name=name, listeners=int(among.sum()), against=beside))
    return WorldFigures(
        name=own.world, words=words, listeners=len(own),
        policies={name: _means(one, weights) for name, one in by_name.items()},
        against={name: _beside(own, other, weights) for name, other in others.items()},
        segments=tuple(parts),
    )  # fmt: skip


def told_of(judged: Judged, space: Space) -> PolicyTold:
    """Collects what one policy showed, and the outcomes.

    Args:
        judged: results of its listeners.
        space: space with the names of the regions.
    """
    names = (*space.region_names, NOWHERE)
    groups = {EVERYBODY: np.ones(len(judged), bool), **segments(judged)}
    return PolicyTold(
        policy=judged.policy,
        shown=tuple(
            _shown(judged, names, name, among)
            for name, among in groups.items()
            if name == EVERYBODY or FEWEST <= among.sum() < len(judged)
        ),
        days={name: column.mean(axis=0).tolist() for name, column in judged.by_day.items()},
    )


def _shown(judged: Judged, names: Sequence[str], segment: str, among: Bool[np.ndarray, " listeners"]) -> Shown:
    shares = [counts[among].sum(axis=0) / max(counts[among].sum(), 1.0) for counts in (judged.shown, judged.streamed)]
    by_name = [dict(zip(names, share.tolist(), strict=True)) for share in shares]
    slots = judged.figures["slots"][among]
    means = {
        name: float((judged.figures[name][among] * slots).sum() / max(slots.sum(), 1.0))
        for name in ("shown_new_artists", "shown_popularity")
    }
    return Shown(
        segment=segment, listeners=int(among.sum()), regions=by_name[0], streamed=by_name[1],
        new_artists=means["shown_new_artists"], popularity=means["shown_popularity"],
        visited=float((judged.streamed[among, :-1] > 0).sum(axis=1).mean()),
    )  # fmt: skip


def _beside(own: Judged, other: Judged, weights: Mapping[str, float]) -> dict[str, Comparison]:
    """Compares one policy with another by measure, on the same listeners."""
    if not np.array_equal(own.who, other.who):
        raise ValueError(f"{own.policy} and {other.policy} have other listeners")
    mine, theirs = ({RETURN: one.returns(weights), **one.figures} for one in (own, other))
    return {name: compared(mine[name], theirs[name], own.who) for name in MEASURES}


def _means(judged: Judged, weights: Mapping[str, float]) -> dict[str, Interval]:
    """Returns the mean of each measure, with an interval over listeners."""
    columns = {RETURN: judged.returns(weights), **judged.figures}
    nothing, found = np.zeros(len(judged)), {}
    for name in MEASURES:
        beside_nothing = compared(columns[name], nothing, judged.who)
        found[name] = Interval(
            mean=beside_nothing.mean, low=beside_nothing.difference_low, high=beside_nothing.difference_high
        )
    return found
