"""What a log says of a policy over many steps, or why it says nothing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from towers.evaluation.intervals import Interval
from towers.evaluation.off_policy.diagnostics import WeightDiagnostics
from towers.evaluation.off_policy.judge import Guarded
from towers.manifest import json_numbers

Weighting = Literal["products", "marginal"]
"""Weights that an estimate rests on: products of ratios from the first step on, or ratios of densities of states."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a log does not say what a policy is worth.

    Args:
        rule: that is not kept.
        words: what was found, what the limit is, and the way out.
        figures: what the rule looked at.
    """

    rule: str
    words: str
    figures: Mapping[str, int | float]

    def line(self) -> str:
        """Returns one line for people."""
        return f"refused, {self.rule}: {self.words}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialVerdict:
    """What a log says of a new policy.

    Args:
        listeners: in the log.
        rows: steps of all of them.
        horizon: steps of the listener who has most.
        weighting: of the estimates that are believed.
        weights: of each step, by `weighting`.
        step_weights: of each step, its own ratio of chances alone.
        estimates: return of a listener by estimator; those that cannot be had are left out.
        believed: name of the estimate that is the answer where nothing refuses.
        logged: return of a listener in the log itself.
        gain: of the believed estimate over `logged`, by the same resamples.
        parts: by name of a part its undiscounted sum of a listener under the new policy, self-normalised, beside the
            log's own; of `kinds` the effective number of kinds that are shown.
        refusals: in the order of rules; none: the estimate may be believed.
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
        """Whether the log says what the policy is worth."""
        return not self.refusals

    @property
    def value(self) -> Interval | None:
        """The return of a listener under the new policy; null where the log does not say it."""
        return self.estimates[self.believed] if self.is_judged else None

    @property
    def worst(self) -> WeightDiagnostics:
        """The weights of the step where fewest listeners are effective."""
        return min(self.weights, key=lambda one: one.effective)

    def lines(self) -> list[str]:
        """Returns lines for people: the answer or the refusals, then what they rest on."""
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
        """JSON values; a number that is not finite is null."""
        return json_numbers(
            {**asdict(self), "is_judged": self.is_judged, "value": None if self.value is None else asdict(self.value)}
        )


def _words(interval: Interval) -> str:
    return f"{interval.mean:.4g} ({interval.low:.4g} to {interval.high:.4g})"
