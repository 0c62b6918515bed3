"""What a log of many steps says of an agent, put before the gate of the home page: its rules decide who serves."""

import numpy as np

from towers.evaluation.intervals import Interval
from towers.evaluation.off_policy.judge import DIRECT, DR, IPS, SNIPS, OffPolicyResult
from towers.evaluation.off_policy.sequential.verdict import SequentialVerdict
from towers.lifecycle.home_gate.gate import HomeEvidence


def home_evidence(verdict: SequentialVerdict, more: str = "") -> HomeEvidence:
    """The verdict as the gate reads it: listeners stand in the place of requests, and steps in that of slots.

    A log that says nothing is no evidence, and every rule refuses with its reasons. So is one that is judged by
    marginal weights: they rest on discrete states, as the direct method does on its model, and no gate may rest on that
    alone.

    Args:
        verdict: of the agent.
        more: page or command that shows more.
    """
    if not verdict.is_judged:
        why = "; ".join(f"{refusal.rule}: {refusal.words}" for refusal in verdict.refusals)
        return HomeEvidence(result=None, more=more, why=why)
    if verdict.weighting != "products":
        why = (
            f"{verdict.horizon} steps were judged by marginal weights, which are right where discrete states tell all; "
            "judge the first steps by products of weights"
        )
        return HomeEvidence(result=None, more=more, why=why)
    named = {name: verdict.estimates[name] for name in (IPS, SNIPS, DIRECT, DR) if name in verdict.estimates}
    # Returns have no bounds that are known beforehand, so that this bound says nothing; no rule looks at it.
    nothing = Interval(mean=verdict.estimates[IPS].mean, low=-np.inf, high=np.inf)
    result = OffPolicyResult(
        requests=verdict.listeners, listeners=verdict.listeners, slots=verdict.horizon, weights=verdict.weights,
        estimates=named, bernstein=nothing, production=verdict.logged, guards=dict(verdict.parts),
    )  # fmt: skip
    return HomeEvidence(result=result, more=more)
