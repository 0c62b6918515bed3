"""The verdict on a profile: how it differs from the one before, and whether to trust the data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from towers.errors import UserError

Severity = Literal["warning", "broken"]
Level = Literal["first", "fine", "warning", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A difference from the version before.

    Args:
        rule: name of the rule that found it; names stay the same between releases.
        severity: whether to look at it (`warning`) or to use nothing that is made of this data (`broken`).
        text: a sentence for people.
        figures: the numbers behind it.
    """

    rule: str
    severity: Severity
    text: str
    figures: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All findings about a profile.

    Args:
        compared_with: fingerprint of the version before; null where there is none.
        findings: the broken ones first.
    """

    compared_with: str | None
    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        """The gravest severity; `fine` without findings, `first` without findings and without a version before."""
        severities = {finding.severity for finding in self.findings}
        if severities:
            return "broken" if "broken" in severities else "warning"
        return "first" if self.compared_with is None else "fine"

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values, the level included."""
        return {"level": self.level, **asdict(self)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any], where: str) -> "Verdict":
        """Reads what `to_json` returned.

        Raises:
            UserError: the values are no verdict.
        """
        try:
            findings = tuple(Finding(**finding) for finding in found["findings"])
            return cls(compared_with=found["compared_with"], findings=findings)
        except (KeyError, TypeError) as error:
            raise UserError(f"{where}: no verdict on a store's data ({error}); make it again") from error


def verdict_of(compared_with: str | None, findings: Sequence[Finding]) -> Verdict:
    """Makes a verdict of findings: broken ones first, otherwise in the order given."""
    ranked = sorted(findings, key=lambda finding: finding.severity != "broken")
    return Verdict(compared_with=compared_with, findings=tuple(ranked))


def graver(value: float, limits: tuple[float, float]) -> Severity | None:
    """Returns the severity of a number by the limits of a warning and of broken data; null where it passes neither.

    >>> graver(0.3, (0.25, 0.4)), graver(0.1, (0.25, 0.4))
    ('warning', None)
    """
    return "broken" if value > limits[1] else "warning" if value > limits[0] else None
