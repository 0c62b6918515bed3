"""Rules on the export: its space, its size, and whether it matches the network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from towers.lifecycle.gate.evidence import Evidence, Exported, Lacking, Stage
from towers.lifecycle.gate.verdict import Outcome, first_night
from towers.retrieval.files import USER_TOWER

COUNTED = ("users", "contents")


def exported_of(evidence: Evidence) -> Exported:
    """Returns the facts on the export.

    Raises:
        Lacking: there are none.
    """
    if evidence.exported is None:
        raise Lacking("nothing is known of the export")
    return evidence.exported


def number(facts: Mapping[str, Any], *names: str) -> float:
    """Returns a number within nested facts.

    Raises:
        Lacking: it is missing, or is no number.
    """
    found: Any = facts
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise Lacking(f"the export's facts lack {'.'.join(names)}")
    return float(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Contents must stay in place: near the same neighbours, and after the map near their own former vector.

    Args:
        least_overlap: least share of a content's nearest ten that stay the same.
        least_cosine: least mean inner product of a content's former vector with its new one, mapped.
    """

    least_overlap: float = 0.3
    least_cosine: float = 0.6

    stage: ClassVar[Stage] = "export"

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        exported = exported_of(evidence)
        if evidence.is_first_night:
            return first_night(name)
        report = exported.drift
        if report is None:
            raise Lacking("the export was not mapped onto the version that serves (export.align_to)")
        if "drift" not in report:
            raise Lacking(f"no map onto the version that serves: {report.get('reason', 'no reason is given')}")
        overlap, cosine = number(report, "drift", "neighbour_overlap"), number(report, "drift", "cosine_after_map")
        is_kept = overlap >= self.least_overlap and cosine >= self.least_cosine
        kept = "kept" if report.get("keeps_space") else f"changed ({report.get('reason')})"
        return Outcome(
            rule=name,
            status="passed" if is_kept else "refused",
            words=f"{overlap:.0%} of the nearest ten stay (limit {self.least_overlap:.0%}), mean cosine to the "
            f"former vectors {cosine:.3f} (limit {self.least_cosine}); the space is {kept}",
            figures={"neighbour_overlap": overlap, "cosine_after_map": cosine},
            limit=self.least_cosine if overlap >= self.least_overlap else self.least_overlap,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """There must be about as many vectors of contents and listeners as before.

    Args:
        max_loss: greatest loss, as a share of the champion's number.
        max_gain: greatest gain, as a share of the champion's number.
    """

    max_loss: float = 0.05
    max_gain: float = 0.5

    stage: ClassVar[Stage] = "export"

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        exported = exported_of(evidence)
        after = {what: number(exported.manifest, "counts", what) for what in COUNTED}
        if empty := [what for what, count in after.items() if not count > 0]:
            return Outcome(rule=name, status="refused", words=f"the export has no {', '.join(empty)}", figures=after)
        if evidence.is_first_night:
            return first_night(name)
        if exported.champion is None:
            raise Lacking("the manifest of the version that serves is missing")
        before = {what: number(exported.champion, "counts", what) for what in COUNTED}
        changes = {what: after[what] / before[what] - 1 if before[what] else float("inf") for what in COUNTED}
        told = {what: f"{after[what]:,.0f} {what}, {before[what]:,.0f} before" for what in COUNTED}
        odd = [what for what, change in changes.items() if not -self.max_loss <= change <= self.max_gain]
        limits = f"(limits -{self.max_loss:.0%}, +{self.max_gain:.0%})"
        return Outcome(
            rule=name,
            status="refused" if odd else "passed",
            words=f"{'; '.join(told[what] for what in odd or COUNTED)} {limits}",
            figures=changes,
            limit=-self.max_loss,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanished:
    """Few of the served ids may be gone.

    Args:
        contents: greatest share of the champion's contents that may be gone.
        listeners: greatest share of the champion's listeners that may be gone.
    """

    contents: float = 0.05
    listeners: float = 0.05

    stage: ClassVar[Stage] = "export"

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        exported = exported_of(evidence)
        if evidence.is_first_night:
            return first_night(name)
        limits = {"contents": self.contents, "listeners": self.listeners}
        shares = {what: number(exported.vanished or {}, what) for what in limits}
        odd = [what for what, share in shares.items() if not share <= limits[what]]
        told = [f"{shares[what]:.1%} of the {what} (limit {limits[what]:.0%})" for what in odd or limits]
        words = f"{' and '.join(told)} of the version that serves are gone"
        limit = limits[odd[0]] if odd else None
        return Outcome(rule=name, status="refused" if odd else "passed", words=words, figures=shares, limit=limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Norms:
    """Every vector must have the length 1.

    Args:
        tolerance: greatest difference of a length.
    """

    tolerance: float = 1e-3

    stage: ClassVar[Stage] = "export"

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        norms = exported_of(evidence).norms
        if norms is None:
            raise Lacking("the lengths of the vectors were not measured")
        least, most = norms
        is_kept = least >= 1 - self.tolerance and most <= 1 + self.tolerance
        return Outcome(
            rule=name,
            status="passed" if is_kept else "refused",
            words=f"vectors are {least:.6f} to {most:.6f} long (limit 1 ± {self.tolerance:g})",
            figures={"least": least, "most": most},
            limit=self.tolerance,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRecall:
    """The index must find what an exact search finds.

    Args:
        least: least share of the exact nearest 10 that it finds.
    """

    least: float = 0.9

    stage: ClassVar[Stage] = "export"

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        found = number(exported_of(evidence).manifest, "index_recall@10")
        return Outcome(
            rule=name,
            status="passed" if found >= self.least else "refused",
            words=f"the index finds {found:.3f} of the exact nearest 10 (limit {self.least})",
            figures={"index_recall@10": found},
            limit=self.least,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The ONNX towers must give the results of torch.

    Args:
        max_difference: greatest difference of any component of a unit vector, apart from what rounding alone explains.
    """

    max_difference: float = 1e-4

    stage: ClassVar[Stage] = "export"

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        towers = exported_of(evidence).manifest.get("towers") or {}
        if USER_TOWER not in towers:
            raise Lacking(f"the export's facts lack {USER_TOWER}")
        # Variants of fewer bits are checked by their neighbours when they are written.
        whole = {tower: facts for tower, facts in towers.items() if "file" not in facts}
        differences = {tower: number(facts, "difference") for tower, facts in whole.items()}
        allowed = {tower: max(self.max_difference, facts.get("by_rounding", 0.0)) for tower, facts in whole.items()}
        odd = [tower for tower, found in differences.items() if not found <= allowed[tower]]
        told = [f"{tower} differs by {differences[tower]:.1e} (limit {allowed[tower]:.1e})" for tower in odd or whole]
        return Outcome(
            rule=name,
            status="refused" if odd else "passed",
            words="; ".join(told),
            figures=differences,
            limit=self.max_difference,
        )
