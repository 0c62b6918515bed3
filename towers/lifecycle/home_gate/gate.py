"""The gate of the home page: decides whether a new policy may choose what listeners see, in place of the present one.

    evidence = HomeEvidence(result=OffPolicyJudge().judge(log, production), more="evaluations/.../report.html")
    verdict = judge(evidence, rules, force_of(force, why, "home_gate"))
    verdict.passed, verdict.refused, verdict.lines(), verdict.to_json()

It fails closed, as the gate of a night does: a rule that lacks evidence refuses, and so does one whose figures are not
all finite. No rule lets a policy pass by the direct method.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

from towers.evaluation.off_policy.judge import OffPolicyResult
from towers.lifecycle.gate.evidence import Lacking
from towers.lifecycle.gate.gate import closed
from towers.lifecycle.gate.verdict import Force, Outcome, Verdict


@dataclass(frozen=True, kw_only=True)
class HomeEvidence:
    """Evidence that the rules may use.

    Args:
        result: off-policy result of the new policy; null: it was not judged.
        more: page or command with more, for readers of a refusal.
        why: reason why it was not judged, where it was not.
    """

    result: OffPolicyResult | None
    more: str = ""
    why: str = "the policy was not judged by any log"

    @property
    def judged(self) -> OffPolicyResult:
        """Off-policy result.

        Raises:
            Lacking: the policy was not judged.
        """
        if self.result is None:
            raise Lacking(self.why)
        return self.result


@runtime_checkable  # for the tests, which check annotations at run time
class HomeRule(Protocol):
    """A condition that a new policy must fulfil."""

    def judge(self, name: str, evidence: HomeEvidence) -> Outcome:
        """Returns the outcome of the rule.

        Args:
            name: name of the rule in the configuration.
            evidence: evidence on the new policy.

        Raises:
            Lacking: evidence that it needs is missing.
        """
        ...


def judge(evidence: HomeEvidence, rules: Mapping[str, HomeRule | None], force: Force | None = None) -> Verdict:
    """Returns the verdict of all rules.

    Args:
        evidence: evidence on the new policy.
        rules: rules by name; null: switched off.
        force: who lets it serve in spite of the gate, and why; null: the gate decides.
    """
    outcomes = [closed(name, partial(rule.judge, name, evidence)) for name, rule in rules.items() if rule is not None]
    return Verdict(outcomes=tuple(outcomes), force=force, more=evidence.more)
