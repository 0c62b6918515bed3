"""Evidence from a log of many steps for the gate of the home page, whose rules decide who serves."""

import numpy as np

from towers.evaluation.intervals import Interval
from towers.evaluation.off_policy.judge import DIRECT, DR, IPS, SNIPS, OffPolicyResult
from towers.evaluation.off_policy.sequential.verdict import SequentialVerdict
from towers.lifecycle.home_gate.gate import HomeEvidence


def home_evidence(verdict: SequentialVerdict, more: str = "") -> HomeEvidence:
    """Converts the verdict to the gate's evidence: listeners stand for requests, and steps for slots.

    A log that allows no judgement is no evidence, and every rule refuses with its reasons. The same holds for a
    judgement by marginal weights: they rest on discrete states as the direct method does on its model, and no gate may
    rest on that alone.

    Args:
        verdict: verdict on the agent.
        more: page or command with more.
    """
    if not verdict.is_judged:
        why = "; ".join(f"{refusal.rule}: {refusal.words}" for refusal in verdict.refusals)
        return HomeEvidence(result=None, more=more, why=why)
    if verdict.weighting != "products":
        why = (
            f"{verdict.horizon} steps were judged by marginal weights, right only if discrete states hold all; "
            "judge the first steps by products of weights"
        )
        return HomeEvidence(result=None, more=more, why=why)
    named = {name: verdict.estimates[name] for name in (IPS, SNIPS, DIRECT, DR) if name in verdict.estimates}
    # Returns have no bounds known in advance, so this bound is infinite; no rule uses it.
    nothing = Interval(mean=verdict.estimates[IPS].mean, low=-np.inf, high=np.inf)
    result = OffPolicyResult(
        requests=verdict.listeners, listeners=verdict.listeners, slots=verdict.horizon, weights=verdict.weights,
        estimates=named, bernstein=nothing, production=verdict.logged, guards=dict(verdict.parts),
    )  # fmt: skip
    return HomeEvidence(result=result, more=more)
