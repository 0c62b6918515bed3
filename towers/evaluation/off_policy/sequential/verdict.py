"""Verdict of an off-policy evaluation over many steps, or the reasons for its refusal."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from towers.evaluation.intervals import Interval
from towers.evaluation.off_policy.diagnostics import WeightDiagnostics
from towers.evaluation.off_policy.judge import Guarded
from towers.manifest import json_numbers

Weighting = Literal["products", "marginal"]
"""Weights of an estimate: products of ratios from the first step on, or ratios of state densities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A reason why a log cannot evaluate a policy.

    Args:
        rule: name of the violated rule.
        words: message with the measurement, the limit, and the way out.
        figures: measurements of the rule.
    """

    rule: str
    words: str
    figures: Mapping[str, int | float]

    def line(self) -> str:
        """Returns one line for display."""
        return f"refused, {self.rule}: {self.words}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialVerdict:
    """Result of an off-policy evaluation over many steps.

    Args:
        listeners: number of listeners in the log.
        rows: number of steps of all listeners.
        horizon: largest number of steps of a listener.
        weighting: weighting of the accepted estimate.
        weights: diagnostics of the weights of each step, by `weighting`.
        step_weights: diagnostics of each step's own ratio.
        estimates: return of a listener by estimator; estimators for which the log lacks data are absent.
        believed: name of the estimate that is accepted if there are no refusals.
        logged: return of a listener in the log itself.
        gain: accepted estimate minus `logged`, by common resamples.
        parts: undiscounted sum of each part for a listener, self-normalised for the new policy and as logged; for
            `kinds` the effective number of shown kinds.
        refusals: violated rules in their order; if there are none, the estimate is accepted.
    """

    listeners: int
    rows: int
    horizon: int
    weighting: Weighting
    weights: tuple[WeightDiagnostics, ...]
    step_weights: tuple[WeightDiagnostics, ...]
    estimates: Mapping[str, Interval]
    believed: str
    logged: Interval
    gain: Interval | None
    parts: Mapping[str, Guarded]
    refusals: tuple[Refusal, ...]

    @property
    def is_judged(self) -> bool:
        """True if no rule is violated, so that the log can evaluate the policy."""
        return not self.refusals

    @property
    def value(self) -> Interval | None:
        """Return of a listener under the new policy; null if a rule is violated."""
        return self.estimates[self.believed] if self.is_judged else None

    @property
    def worst(self) -> WeightDiagnostics:
        """Diagnostics of the step with the smallest effective sample size."""
        return min(self.weights, key=lambda one: one.effective)

    def lines(self) -> list[str]:
        """Returns lines for display: the estimate or the refusals, then the details."""
        worst = self.worst
        lines = [
            f"{self.listeners:,} listeners, {self.rows:,} steps, at most {self.horizon} each; weights are "
            f"{self.weighting}, and at the worst step {worst.effective:,.1f} listeners are effective, the largest "
            f"weight has {worst.largest_share:.1%} of all",
            f"the log itself: {_words(self.logged)} a listener",
        ]
        if self.value is not None and self.gain is not None:
            lines.append(f"the new policy: {_words(self.value)} by {self.believed}, {_words(self.gain)} more")
            if self.weighting == "marginal":
                lines.append("marginal weights are right where discrete states tell all; no gate takes them")
        else:
            lines += [refusal.line() for refusal in self.refusals]
            lines.append("the log does not say what the policy is worth; these figures say nothing of it:")
        lines += [f"  {name}: {_words(interval)}" for name, interval in self.estimates.items()]
        for name, part in self.parts.items():
            lines.append(f"  {name}: {_words(part.new)} for {part.production:.4g} in the log")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Returns the verdict as JSON values; a number that is not finite is null."""
        return json_numbers(
            {**asdict(self), "is_judged": self.is_judged, "value": None if self.value is None else asdict(self.value)}
        )


def _words(interval: Interval) -> str:
    return f"{interval.mean:.4g} ({interval.low:.4g} to {interval.high:.4g})"
