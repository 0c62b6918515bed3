"""Evaluation of an agent by a log: `towers agent action=evaluate log=FOLDER`."""

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
    """Result of judging an agent by a log.

    Args:
        steps: steps of the log that were judged.
        verdict: verdict on the agent.
    """

    steps: LoggedSteps
    verdict: SequentialVerdict

    def lines(self) -> list[str]:
        """Returns lines for people."""
        return [*self.steps.lines(), *self.verdict.lines()]

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values."""
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
        folder: folder of `home.log`, or of raw data with `impressions/`; see `read_log`.
        listening: plays of the same listeners, before and after the slates.
        space: contents as the agent knows them.
        policy: policy of the agent, which must not have learned from the log.
        log: settings for reading the log; null: defaults.
        settings: settings of the judgement; null: defaults.
        most_steps: number of each listener's first slates that the agent chooses, before the logged policy goes on;
            later outcomes count, too. null: the agent chooses all slates.
        on_progress: called with the progress in slates.

    Raises:
        UserError: the log cannot be read, is too short, or does not say what could have been shown.
    """
    impressions = read_log(folder)
    slots = int(impressions["slot"].to_numpy().max(initial=0)) + 1
    agent = LoggedAgent(policy=policy, slots=min(slots, policy.slots))
    steps = logged_steps(impressions, listening, space, agent, agent.describe, log, on_progress)
    judged = steps.log if most_steps is None else steps.log.first(most_steps, with_rest=True)
    return JudgedByLog(steps=steps, verdict=judge_sequential(judged, settings))
