"""Explanation of an agent: the slate of a listener's next session, with a reason for each pick."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from rich.table import Table
from rich.text import Text

from towers.errors import UserError
from towers.lifecycle.agent.worlds import Audience, Episodes
from towers.lifecycle.home_report.tables import text
from towers.lifecycle.simulator.versions import SimulatorVersion
from towers.policies.agent.features import Seen
from towers.policies.agent.policy import AgentPolicy
from towers.policies.agent.policy_file import AgentFile
from towers.policies.agent.served import ServedAgent
from towers.policies.agent.words import Pick, picks_of
from towers.policies.journey.plan import Plan, PlanSettings, plan
from towers.policies.listener import Listener
from towers.retrieval.export import Export
from towers.simulation.environment.making import make_world
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.listeners.space import Space
from towers.training.agent.serving import seen_of

NEW: Final = "a new listener"
MOST_SHARES = 3
"""Most shares of a score in a row of the table."""


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A slate with its reasons.

    Args:
        user_id: id of the listener; null: a new listener.
        plays: number of the listener's earlier plays.
        recent: ids of the listener's last plays, the last one first.
        picks: picks in the order of the slate.
        space: contents of the simulator.
    """

    user_id: str | None
    plays: int
    recent: tuple[str, ...]
    picks: tuple[Pick, ...]
    space: Space

    def to_json(self) -> dict[str, Any]:
        """Returns all values as JSON values."""
        return {
            "user_id": self.user_id, "plays": self.plays, "recent": list(self.recent),
            "slate": [
                {"slot": slot, "content_id": self.space.content_ids[pick.content_row],
                 "region": region_of(self.space, pick.content_row), "why": pick.reason.words, "score": pick.score,
                 "propensity": pick.propensity, "shares": pick.reason.shares}
                for slot, pick in enumerate(self.picks, start=1)
            ],
        }  # fmt: skip

    def table(self, named: Callable[[str], str]) -> Table:
        """Makes a table with a row for each pick; scores are relative to a mean candidate's.

        Args:
            named: returns a content's name for people, by its id.
        """
        rows = []
        for slot, pick in enumerate(self.picks, start=1):
            content_id = self.space.content_ids[pick.content_row]
            shares = sorted(pick.reason.shares.items(), key=lambda one: -abs(one[1]))[:MOST_SHARES]
            told = ", ".join(f"{name} {text(share, '+.2f')}" for name, share in shares)
            rows.append((str(slot), named(content_id), region_of(self.space, pick.content_row), pick.reason.words,
                         text(pick.score, "+.2f"), told))  # fmt: skip
        table = Table()
        for heading in ("slot", "content", "region", "why this", "score", "most of it from"):
            table.add_column(heading, justify="right" if heading in ("slot", "score") else "left")
        for row in rows:
            table.add_row(*map(Text, row))
        return table


def explained(
    policy: AgentPolicy,
    simulator: SimulatorVersion,
    audience: Audience,
    episodes: Episodes,
    user_id: str | None,
    seed: int,
) -> Explained:
    """Explains the slate of a listener's next session, by the plays of a store.

    Args:
        policy: policy that chooses.
        simulator: simulator with the space to choose from; its central model decides only when the listener comes.
        audience: audience of the store.
        episodes: settings of an episode.
        user_id: id of the listener; null: a new listener.
        seed: seed of the time when they come.

    Raises:
        UserError: the listener is not in the store, or there is no store.
    """
    log = None if user_id is None else _plays_of(audience, user_id)
    world = make_world(
        simulator.simulator, 1, log=log, days=episodes.days, slate_size=episodes.slate,
        num_candidates=episodes.candidates, own_pull=episodes.own_pull, seed=seed,
    )  # fmt: skip
    world.reset(np.arange(1), np.random.default_rng([seed, 32]))
    seen = seen_of(world.observe(np.arange(1)))
    return _explained(policy, simulator.simulator.space, seen, user_id, 0 if log is None else len(log))


def explained_by_export(policy: AgentPolicy, space: Space, export: Export, user_id: str, candidates: int) -> Explained:
    """Explains the slate of a listener by what an export knows of them.

    Args:
        policy: policy that chooses.
        space: contents of the policy.
        export: export of the same space.
        user_id: id of the listener.
        candidates: number of candidates to choose from.

    Raises:
        UserError: the export does not know the listener.
    """
    agent, listener = _over(policy, space, export), Listener.of(export, user=user_id)
    return _explained(policy, space, agent.seen(listener, None, candidates), user_id, len(agent.heard(listener)))


def _explained(policy: AgentPolicy, space: Space, seen: Seen, user_id: str | None, plays: int) -> Explained:
    (picks,) = picks_of(policy, seen)
    recent = seen["recent"][0]
    return Explained(
        user_id=user_id, plays=plays, picks=tuple(picks),
        recent=tuple(str(space.content_ids[row]) for row in recent[recent >= 0].tolist()), space=space,
    )  # fmt: skip


def _over(policy: AgentPolicy, space: Space, export: Export) -> ServedAgent:
    file = AgentFile(policy=policy, space_id=space.space_id, content_ids=tuple(space.content_ids))
    return ServedAgent(file, export)


def plan_of(policy: AgentPolicy, space: Space, export: Export, user_id: str, settings: PlanSettings) -> Plan:
    """Plans where the agent would lead a listener over weeks: its scores choose what is offered.

    Args:
        policy: policy of the agent.
        space: contents of the policy.
        export: export of the same space, which knows the listener.
        user_id: id of the listener.
        settings: settings of the plan.

    Raises:
        UserError: the export does not know the listener, or has no regions.
    """
    return plan(Listener.of(export, user=user_id), settings, worth=_over(policy, space, export).worth)


def region_of(space: Space, row: int) -> str:
    """Returns the name of the region that a content lies in; empty where it lies in none."""
    region = int(space.region[row])
    return space.region_names[region] if region >= 0 else ""


def _plays_of(audience: Audience, user_id: str) -> SessionLog:
    """Returns the plays of one listener of a store."""
    parts = [part for part in (audience.fitted, audience.left_out) if part is not None]
    if not parts:
        raise UserError(
            f"explain.user={user_id}: give the store of this listener, as store=stores/NAME, or an "
            "export that knows them"
        )
    for part in parts:
        if user_id in part.user_ids:
            return part.of_listeners(np.array([one == user_id for one in part.user_ids]))
    raise UserError(f"explain.user={user_id}: no listener of the store with this id plays before the simulator's end")
