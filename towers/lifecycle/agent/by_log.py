"""An agent judged by a log: what `towers agent action=evaluate log=FOLDER` says."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from towers.evaluation.off_policy.sequential.judge import SequentialSettings, judge_sequential
from towers.evaluation.off_policy.sequential.verdict import SequentialVerdict
from towers.lifecycle.agent.logged import LoggedSteps, LogSettings, logged_steps
from towers.lifecycle.agent.logged_agent import LoggedAgent
from towers.lifecycle.home.log import read_log
from towers.policies.agent.policy import AgentPolicy
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.listeners.space import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedByLog:
    """What a log says of an agent.

    Args:
        steps: the log as it was judged.
        verdict: of it.
    """

    steps: LoggedSteps
    verdict: SequentialVerdict

    def lines(self) -> list[str]:
        """Returns lines for people."""
        return [*self.steps.lines(), *self.verdict.lines()]

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        about = {"begin_us": self.steps.begin_us, "end_us": self.steps.end_us, "policies": [*self.steps.policy_ids]}
        return {**about, "unknown": self.steps.unknown, **self.verdict.to_json()}


def judge_by_log(
    folder: Path,
    listening: SessionLog,
    space: Space,
    policy: AgentPolicy,
    *,
    log: LogSettings | None = None,
    settings: SequentialSettings | None = None,
    most_steps: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> JudgedByLog:
    """Judges an agent by slates that were logged.

    Args:
        folder: of `home.log`, or raw data with `impressions/`; see `read_log`.
        listening: what the same listeners played, before the slates and after them.
        space: contents, as the agent knows them.
        policy: the agent; nothing of the log may have taught it.
        log: how the log is read; null: as it is by default.
        settings: how it is judged; null: as it is by default.
        most_steps: the agent chooses only so many of each listener's first slates, and whoever logged goes on; what
            comes later counts all the same. null: the agent chooses all slates.
        on_progress: is told of slates.

    Raises:
        UserError: the log cannot be read, is too short, or does not say what could have been shown.
    """
    impressions = read_log(folder)
    slots = int(impressions["slot"].to_numpy().max(initial=0)) + 1
    agent = LoggedAgent(policy=policy, slots=min(slots, policy.slots))
    steps = logged_steps(impressions, listening, space, agent, agent.describe, log, on_progress)
    judged = steps.log if most_steps is None else steps.log.first(most_steps, with_rest=True)
    return JudgedByLog(steps=steps, verdict=judge_sequential(judged, settings))
