"""Rules on the surroundings of a model: the data that it was trained on, and its answers in a server."""

from dataclasses import dataclass
from typing import ClassVar

from towers.data.profiling.verdict import Level
from towers.lifecycle.gate.evidence import Evidence, Lacking, Stage
from towers.lifecycle.gate.verdict import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class DataProfile:
    """The profile of tonight's data must be sound.

    Args:
        refused: levels of its verdict that refuse.
        findings: names of findings that refuse at any severity, as no night can be made of such data.
    """

    refused: tuple[Level, ...] = ("broken",)
    findings: tuple[str, ...] = ("nothing_new",)

    stage: ClassVar[Stage] = "data"

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        verdict = evidence.data
        if verdict is None:
            raise Lacking("the data has no verdict; `towers prepare` writes it")
        named = {finding.rule for finding in verdict.findings}
        is_refused = verdict.level in self.refused or not named.isdisjoint(self.findings)
        found = "; ".join(f"{finding.rule} ({finding.severity}): {finding.text}" for finding in verdict.findings)
        return Outcome(
            rule=name,
            status="refused" if is_refused else "passed",
            words=f"{verdict.level}{': ' if found else ''}{found}",
            figures={"findings": float(len(verdict.findings))},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The version must answer every canary request in the real server, much as the champion does.

    The limits on its answers are those of `canaries` (`served_check.CanarySettings`); this rule refuses what they
    refuse.

    Args:
        least_asked: least number of requests; fewer prove nothing.
    """

    least_asked: int = 10

    stage: ClassVar[Stage] = "served"

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        canaries = evidence.canaries
        if canaries is None:
            raise Lacking("no canary request was sent")
        if canaries.overlap is None and not evidence.is_first_night:
            raise Lacking("the champion was not sent the same requests")
        faults = [*canaries.faults]
        if not canaries.asked >= max(self.least_asked, 1):
            faults.append(f"{canaries.asked} canary requests were sent, fewer than {self.least_asked}")
        if canaries.failed != 0:
            faults.append(f"{canaries.failed} of {canaries.asked} canary requests failed")
        overlap = {} if canaries.overlap is None else {"overlap": canaries.overlap}
        figures = {"asked": float(canaries.asked), "failed": float(canaries.failed)}
        shared = "" if canaries.overlap is None else f", lists overlap by {canaries.overlap:.2f} with the champion's"
        return Outcome(
            rule=name,
            status="refused" if faults else "passed",
            words="; ".join(faults) or f"{canaries.asked} canary requests answered{shared}",
            figures=figures | overlap,
        )
