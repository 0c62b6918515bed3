"""What an evaluation of an agent found, as plain figures: what a page draws and a file keeps."""

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
"""By its name in the file, what each measure is called for people. All are of a listener's episode."""
EVERYBODY: Final = "all listeners"
NOWHERE: Final = "in no region"
FEWEST: Final = 20
"""A segment of fewer listeners has no figures of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFigures:
    """The long-term return of some of the listeners.

    Args:
        name: of the segment.
        listeners: episodes in it.
        against: by baseline, the agent's return beside the baseline's.
    """

    name: str
    listeners: int
    against: Mapping[str, Comparison]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldFigures:
    """What policies were worth in one world.

    Args:
        name: of the world.
        words: what it is, for people.
        listeners: episodes of each policy.
        policies: by policy and measure, the mean over listeners.
        against: by baseline and measure, the agent beside it.
        segments: of the listeners.
    """

    name: str
    words: str
    listeners: int
    policies: Mapping[str, Mapping[str, Interval]]
    against: Mapping[str, Mapping[str, Comparison]]
    segments: tuple[SegmentFigures, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a policy showed some of the listeners.

    Args:
        segment: name of who they are.
        listeners: episodes of theirs.
        regions: by name, share of the slots.
        streamed: by name, share of the streams.
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
        policy: name of it.
        shown: by segment, all listeners first.
        days: by the names of `judging.BY_DAY`, the mean over listeners on each day of the episode.
    """

    policy: str
    shown: tuple[Shown, ...]
    days: Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEvaluation:
    """All of an evaluation among simulated listeners.

    Args:
        agent: name of the agent among the policies.
        weights: of the return's parts.
        days: of an episode.
        worlds: the one that it is judged in first.
        told: the agent first, then the policy that it is held beside; empty where none is.
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
        """The world that the agent is judged in."""
        return self.worlds[0]

    @property
    def baselines(self) -> tuple[str, ...]:
        """Names of the other policies."""
        return tuple(self.judged.against)

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values; a number that is not finite is null."""
        return json_numbers(asdict(self))


def world_figures(found: Sequence[Judged], agent: str, words: str, weights: Mapping[str, float]) -> WorldFigures:
    """The figures of one world.

    Args:
        found: all policies in it, the agent among them.
        agent: name of the agent.
        words: what the world is.
        weights: of the return's parts.
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
    """What one policy showed and what became of it.

    Args:
        judged: what its listeners did.
        space: whose regions have the names.
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
    """One policy beside another by measure, of the same listeners."""
    if not np.array_equal(own.who, other.who):
        raise ValueError(f"{own.policy} and {other.policy} have other listeners")
    mine, theirs = ({RETURN: one.returns(weights), **one.figures} for one in (own, other))
    return {name: compared(mine[name], theirs[name], own.who) for name in MEASURES}


def _means(judged: Judged, weights: Mapping[str, float]) -> dict[str, Interval]:
    """The mean of each measure, with an interval over people."""
    columns = {RETURN: judged.returns(weights), **judged.figures}
    nothing, found = np.zeros(len(judged)), {}
    for name in MEASURES:
        beside_nothing = compared(columns[name], nothing, judged.who)
        found[name] = Interval(
            mean=beside_nothing.mean, low=beside_nothing.difference_low, high=beside_nothing.difference_high
        )
    return found
