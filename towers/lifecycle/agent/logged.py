"""An agent's log as steps of listeners: what another policy would have done in each, and the outcomes.

Listening is replayed play by play. Before each slate a policy is given what it would have seen then, as in the
simulated world; plays until the next slate are counted by the same parts as there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int, Integer

from towers.contract.durations import DAY_US
from towers.errors import UserError
from towers.evaluation.off_policy.sequential.log import SequentialLog
from towers.lifecycle.agent.requests import Requests
from towers.lifecycle.agent.walk import Walk
from towers.lifecycle.home.slates import NEW_DAYS
from towers.simulation.environment.observation import Observation
from towers.simulation.environment.rewards import RETURN_WEIGHTS
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.listeners.space import Space

CLICKS, NEW_CARDS = "clicks", "new_cards"
"""Parts beside those of the simulated world, which are never rewarded: slots that were opened, and contents shown that
were released in the last `NEW_DAYS` days."""


@runtime_checkable
class Drawn(Protocol):
    """Slates drawn by a policy."""

    @property
    def slates(self) -> Int[np.ndarray, "listeners slots"]:
        """Rows of contents."""
        ...


@runtime_checkable
class LoggedChoice(Protocol):
    """A policy that can be judged by a log; `AgentPolicy` is one."""

    def chances(
        self, seen: Observation, slates: Int[np.ndarray, "listeners slots"]
    ) -> Float[np.ndarray, "listeners slots"]:
        """Returns the chance of each content of given slates for its slot, given the slots before; 0 where it is
        impossible."""
        ...

    def draw(self, seen: Observation, rng: np.random.Generator) -> Drawn:
        """Draws slates of the policy."""
        ...


Described = tuple[Float[np.ndarray, "listeners states"], Float[np.ndarray, "listeners candidates features"]]
Describe = Callable[[Observation], Described]
"""Features of listeners' states, and of each of their candidates, for a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Settings for reading a log.

    Args:
        days: days for which returns are counted, from midnight (UTC) before the first slate on.
        reward_weights: weight of each part (`rewards.PARTS`, `CLICKS`, `NEW_CARDS`).
        shelf: row of the page; null: pages have one.
        draws: number of slates of the new policy over which its mean features are taken, in each step.
        seed: seed of these draws.
    """

    days: float = 28.0
    reward_weights: Mapping[str, float] = field(default_factory=lambda: dict(RETURN_WEIGHTS))
    shelf: str | None = None
    draws: int = 8
    seed: int = 0

    def __post_init__(self):
        if not self.days > 0:
            raise ValueError(f"days must be above 0, got {self.days}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedSteps:
    """A log, ready to be judged.

    Args:
        log: log of the listeners who were shown a slate in the period.
        user_ids: ids of the listeners that `log.listeners` numbers.
        begin_us: begin of the period, in microseconds since 1970, UTC.
        end_us: end of the period.
        policy_ids: policies that chose.
        unknown: number of slates with a content that the export lacks; the new policy never shows them.
    """

    log: SequentialLog
    user_ids: tuple[str, ...]
    begin_us: int
    end_us: int
    policy_ids: tuple[str, ...]
    unknown: int

    def lines(self) -> list[str]:
        """Returns lines for people."""
        begin, end = (np.datetime64(each // DAY_US, "D") for each in (self.begin_us, self.end_us))
        lines = [f"slates of {', '.join(self.policy_ids)} from {begin} to before {end}"]
        if self.unknown:
            lines.append(f"{self.unknown:,} slates hold a content that the export lacks: the policy never shows them")
        return lines


def logged_steps(
    impressions: pa.Table,
    listening: SessionLog,
    space: Space,
    policy: LoggedChoice,
    describe: Describe,
    settings: LogSettings | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> LoggedSteps:
    """Reads a log.

    Args:
        impressions: slates with candidates and propensities, as `read_log` returns them.
        listening: plays of the same listeners, before and after the slates.
        space: contents as the policy knows them.
        policy: policy to judge; not changed.
        describe: see `Describe`.
        settings: settings; null: defaults.
        on_progress: called with the progress in slates.

    Raises:
        UserError: the log is too short for the days, has no slate, or does not say what could have been shown.
    """
    settings = settings or LogSettings()
    requests = Requests.of(impressions, space, listening.user_ids, settings.shelf)
    begin_us, end_us = _period(requests, listening, settings.days)
    requests = requests.taken(np.flatnonzero(requests.time_us < end_us))
    listening = replace(listening, user_ids=requests.user_ids)
    walk = Walk(requests, listening, space, begin_us, end_us)
    asked = _Asked(policy, describe, space, settings)
    for done in walk.run(asked.ask):
        if on_progress:
            on_progress("slates", done, len(requests))
    names, listener = np.unique(requests.listener, return_inverse=True)
    parts = walk.parts | {CLICKS: requests.clicks, NEW_CARDS: _new(requests, space)}
    first = np.flatnonzero(np.diff(requests.listener, prepend=-1))
    steps = np.arange(len(requests)) - np.repeat(first, np.diff(first, append=len(requests)))
    found = asked.columns(len(requests))
    log = SequentialLog(
        listeners=listener, steps=steps, propensities=requests.propensities,
        parts={name: part.astype(float) for name, part in parts.items()}, reward_weights=dict(settings.reward_weights),
        exposures=_exposures(requests, space), new_propensities=found["new_propensities"], states=found["states"],
        actions=found["actions"], new_actions=found["new_actions"],
    )  # fmt: skip
    return LoggedSteps(
        log=log, user_ids=tuple(requests.user_ids[name] for name in names.tolist()), begin_us=begin_us, end_us=end_us,
        policy_ids=requests.policy_ids, unknown=int((~requests.is_known).sum()),
    )  # fmt: skip


def _period(requests: Requests, listening: SessionLog, days: float) -> tuple[int, int]:
    """Returns begin and end of the counted period.

    Raises:
        UserError: the days are not over at the log's end.
    """
    first_us = int(requests.time_us.min())
    last_us = max(int(requests.time_us.max()), int(listening.start_us.max(initial=0)))
    begin_us = first_us // DAY_US * DAY_US
    # The log's last day counts as a whole one: it is unknown how much of it is logged.
    until_us = (last_us // DAY_US + 1) * DAY_US
    end_us = begin_us + int(days * DAY_US)
    if end_us > until_us:
        raise UserError(
            f"the log is too short for its delayed outcomes: {days:g} days are counted from the first slate on, and it "
            f"has {(until_us - begin_us) / DAY_US:g}; log longer, or train an agent of fewer days"
        )
    return begin_us, end_us


def _new(requests: Requests, space: Space) -> Int[np.ndarray, " requests"]:
    released_us = space.released_us[requests.slates]
    is_new = released_us > requests.time_us[:, None] - NEW_DAYS * DAY_US
    return (is_new & (requests.slates >= 0)).sum(axis=1)


def _exposures(requests: Requests, space: Space) -> Float[np.ndarray, "requests regions"]:
    """Counts the contents of each region in a slate; the last column is for those in none."""
    request, slot = np.nonzero(requests.slates >= 0)
    found = np.zeros((len(requests), len(space.region_names) + 1))
    np.add.at(found, (request, space.region[requests.slates[request, slot]]), 1.0)
    return found


class _Asked:
    """Collects propensities and features of slates from a policy and a model.

    Args:
        policy: policy to judge.
        describe: see `Describe`.
        space: contents of the policy.
        settings: settings with the number of drawn slates.
    """

    def __init__(self, policy: LoggedChoice, describe: Describe, space: Space, settings: LogSettings):
        self._policy, self._describe, self._space, self._draws = policy, describe, space, settings.draws
        self._rng = np.random.default_rng([settings.seed, 23])
        self._pieces: list[tuple[np.ndarray, ...]] = []

    def ask(self, requests: Requests, rows: Int[np.ndarray, " some"], seen: Observation) -> None:
        """Computes propensities and features of some requests.

        Args:
            requests: requests of the log.
            rows: rows of some of them.
            seen: what a policy would have seen before each.
        """
        slates = requests.slates[rows]
        chances = np.zeros(len(rows))
        lengths = np.where(requests.is_known[rows], (slates >= 0).sum(axis=1), 0)
        for length in np.unique(lengths[lengths > 0]).tolist():
            at = np.flatnonzero(lengths == length)
            some = {name: column[at] for name, column in seen.items()}
            chances[at] = self._policy.chances(some, slates[at, :length]).prod(axis=1)
        states, features = self._describe(seen)
        shown = _mean_of(features, seen["candidates"], slates)
        drawn = [self._policy.draw(seen, self._rng).slates for _ in range(self._draws)]
        new = np.mean([_mean_of(features, seen["candidates"], slate) for slate in drawn], axis=0)
        self._pieces.append((rows, np.minimum(chances, 1.0), states, shown, new))

    def columns(self, number: int) -> dict[str, np.ndarray]:
        """Returns columns of a `SequentialLog`, in the order of the requests."""
        order = np.concatenate([piece[0] for piece in self._pieces])
        names = ("new_propensities", "states", "actions", "new_actions")
        found = {}
        for place, name in enumerate(names, 1):
            column = np.concatenate([piece[place] for piece in self._pieces]).astype(np.float64)
            found[name] = np.empty((number, *column.shape[1:]))
            found[name][order] = column
        return found


def _mean_of(
    features: Float[np.ndarray, "some candidates features"],
    candidates: Integer[np.ndarray, "some candidates"],
    slates: Integer[np.ndarray, "some slots"],
) -> Float[np.ndarray, "some features"]:
    """Returns the mean features of a slate's contents; 0 where it has none."""
    is_shown = ((candidates[:, :, None] == slates[:, None]) & (slates >= 0)[:, None]).any(axis=2)
    weights = is_shown / np.maximum(is_shown.sum(axis=1, keepdims=True), 1)
    return np.einsum("sc,scf->sf", weights, features)
