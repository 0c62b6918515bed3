"""Rules on what all listeners together are shown: coverage of the catalogue, and popularity."""

from dataclasses import dataclass
from typing import ClassVar

from towers.lifecycle.gate.evidence import Evidence, Lacking, Stage
from towers.lifecycle.gate.verdict import Outcome, first_night


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A figure of all lists together must stay near the champion's.

    Args:
        key: key of the figure, such as `coverage@20/discovery`.
        least: least ratio of the challenger's figure to the champion's; null: no limit.
        most: greatest ratio; null: no limit.
    """

    key: str
    least: float | None = None
    most: float | None = None

    stage: ClassVar[Stage] = "twins"

    def __post_init__(self):
        if self.least is None and self.most is None:
            raise ValueError("least or most must be given, otherwise nothing is refused")

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        if evidence.is_first_night:
            return first_night(name)
        before, after = (each.evaluation.catalogue.get(self.key) for each in (evidence.served, evidence.challenger))
        if before is None or after is None:
            raise Lacking(f"{'the champion' if before is None else 'the challenger'} has no figure of {self.key}")
        ratio = after / before if before > 0 else float("nan")
        is_kept = (self.least is None or ratio >= self.least) and (self.most is None or ratio <= self.most)
        is_low = self.least is not None and not ratio >= self.least
        limit = self.least if is_low or self.most is None else self.most
        return Outcome(
            rule=name,
            status="passed" if is_kept else "refused",
            words=f"{self.key} {after:.4f} against {before:.4f}, {ratio:.2f} of it (limit {limit})",
            figures={self.key: after, "champion": before, "ratio": ratio},
            limit=limit,
        )
