"""What is said of a profile beside the one before: findings, and whether the data is to be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from towers.errors import UserError

Severity = Literal["warning", "broken"]
Level = Literal["first", "fine", "warning", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is unlike before.

    Args:
        rule: its name, which stays.
        severity: whether to look at it (`warning`) or to use nothing that is made of this data (`broken`).
        text: a sentence.
        figures: that it rests on.
    """

    rule: str
    severity: Severity
    text: str
    figures: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All findings.

    Args:
        compared_with: fingerprint of the version before; null where there is none.
        findings: the broken ones first.
    """

    compared_with: str | None
    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        """The gravest severity; `fine` without a finding, `first` without anything to compare with and a finding."""
        severities = {finding.severity for finding in self.findings}
        if severities:
            return "broken" if "broken" in severities else "warning"
        return "first" if self.compared_with is None else "fine"

    def to_json(self) -> dict[str, Any]:
        """JSON values, with the level."""
        return {"level": self.level, **asdict(self)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any], where: str) -> "Verdict":
        """Reads what `to_json` gave.

        Raises:
            UserError: it is no verdict.
        """
        try:
            findings = tuple(Finding(**finding) for finding in found["findings"])
            return cls(compared_with=found["compared_with"], findings=findings)
        except (KeyError, TypeError) as error:
            raise UserError(f"{where}: no verdict on a store's data ({error}); make it again") from error


def verdict_of(compared_with: str | None, findings: Sequence[Finding]) -> Verdict:
    """A verdict with its findings in order: broken ones first, else as they come."""
    ranked = sorted(findings, key=lambda finding: finding.severity != "broken")
    return Verdict(compared_with=compared_with, findings=tuple(ranked))


def graver(value: float, limits: tuple[float, float]) -> Severity | None:
    """The severity of a number by the limits of a warning and of broken data; null: neither is passed.

    >>> graver(0.3, (0.25, 0.4)), graver(0.1, (0.25, 0.4))
    ('warning', None)
    """
    return "broken" if value > limits[1] else "warning" if value > limits[0] else None
