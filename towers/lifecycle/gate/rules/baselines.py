"""Rules on simple baselines: a model that does not beat them is not worth its cost."""

from dataclasses import dataclass
from typing import ClassVar

from towers.evaluation.result import metric_key
from towers.lifecycle.gate.evidence import Evidence, Lacking, Stage
from towers.lifecycle.gate.pairs import paired
from towers.lifecycle.gate.verdict import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Beats:
    """The challenger must be better than a baseline.

    Args:
        baseline: name of its ranker, as tables show it.
        node: its node in `evaluation.baselines`, for the message where its evaluation is missing.
        slices: slices in which the main metric is compared; those without enough listeners are left out.
        lead: least lead, as a share of the baseline's figure.
        needs_clock: whether the baseline exists only where events have times.
        needs_chance: whether to compare only where the challenger has the chance of a listen and listeners choose
            contents that they had heard before: inner products do not predict repeated listens.
    """

    baseline: str
    node: str
    slices: tuple[str, ...] = ("all", "discovery")
    lead: float = 0.0
    needs_clock: bool = False
    needs_chance: bool = False

    stage: ClassVar[Stage] = "twins"

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        if (reason := self._why_not(evidence)) is not None:
            return Outcome(rule=name, status="does not apply", words=reason)
        if self.baseline not in evidence.baselines:
            raise Lacking(f"its evaluation has no {self.baseline} in it (evaluation.baselines.{self.node})")
        other, pairs = evidence.baselines[self.baseline], {}
        for slice_name in self.slices:
            key = metric_key(evidence.main_metric, slice_name)
            pairs |= paired(evidence.challenger.ranked_for(key), other, [key])
        if not pairs:
            raise Lacking(f"too few listeners for a figure of {evidence.main_metric} (evaluation.min_users)")
        leads = {key: pair.difference - self.lead * abs(pair.before) for key, pair in pairs.items()}
        worst = min(leads, key=lambda key: leads[key])
        below = [key for key, lead in leads.items() if not lead > 0]
        return Outcome(
            rule=name,
            status="refused" if below else "passed",
            words="; ".join(pairs[key].words() for key in (below or pairs)),
            figures=leads,
            limit=self.lead * abs(pairs[worst].before),
            interval=(pairs[worst].low, pairs[worst].high),
        )

    def _why_not(self, evidence: Evidence) -> str | None:
        challenger = evidence.challenger
        if self.needs_clock and challenger.window.start_us is None:
            return "the events have no times, so no day is the last"
        if not self.needs_chance:
            return None
        if challenger.by_chance is None:
            return "contents heard before are not ranked by the chance of a listen"
        if "familiar" not in challenger.evaluation.slices:
            return "lists leave out contents heard before (evaluation.filter_seen)"
        if metric_key(evidence.main_metric, "familiar") not in challenger.evaluation.means():
            return "too few listeners choose contents that they had heard before"
        return None
