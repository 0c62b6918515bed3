"""The gate of the home page: whether a new policy may choose what listeners see, instead of the one that does.

    evidence = HomeEvidence(result=OffPolicyJudge().judge(log, production), more="evaluations/.../report.html")
    verdict = judge(evidence, rules, force_of(force, why, "home_gate"))
    verdict.passed, verdict.refused, verdict.lines(), verdict.to_json()

It fails closed, as the gate of a night does: a rule that lacks what it needs refuses, and so does one whose figures
are not all finite. No rule lets a policy pass by the direct method.
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
    """What the rules may look at.

    Args:
        result: what the log says of the new policy; null: it was not judged.
        more: page or command that shows more, for people who read of a refusal.
        why: why it was not judged, where it was not.
    """

    result: OffPolicyResult | None
    more: str = ""
    why: str = "the policy was not judged by any log"

    @property
    def judged(self) -> OffPolicyResult:
        """What the log says.

        Raises:
            Lacking: nothing.
        """
        if self.result is None:
            raise Lacking(self.why)
        return self.result


@runtime_checkable  # for the tests, which check annotations at run time
class HomeRule(Protocol):
    """One thing that a new policy must fulfil."""

    def judge(self, name: str, evidence: HomeEvidence) -> Outcome:
        """What it finds.

        Args:
            name: its own, in the configuration.
            evidence: of the new policy.

        Raises:
            Lacking: what it needs is not there.
        """
        ...


def judge(evidence: HomeEvidence, rules: Mapping[str, HomeRule | None], force: Force | None = None) -> Verdict:
    """The verdict of all rules.

    Args:
        evidence: of the new policy.
        rules: by name; null: switched off.
        force: who lets it serve whatever the gate says.
    """
    outcomes = [closed(name, partial(rule.judge, name, evidence)) for name, rule in rules.items() if rule is not None]
    return Verdict(outcomes=tuple(outcomes), force=force, more=evidence.more)
