"""Where a log of many steps says nothing of a policy: it is too far from what was shown, or estimates contradict."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from towers.evaluation.intervals import Interval
from towers.evaluation.off_policy.diagnostics import WeightDiagnostics
from towers.evaluation.off_policy.judge import DIRECT, DR, SNIPS
from towers.evaluation.off_policy.sequential.marginal import MARGINAL, MARGINAL_DR
from towers.evaluation.off_policy.sequential.verdict import Refusal, Weighting

NEARER = "a log of a policy nearer to the new one, more listeners, or fewer steps have more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a log must keep to be believed.

    Args:
        most_steps: of products of weights; a longer log needs marginal ones, and states.
        least_effective: effective sample size, in listeners, at the step where it is least.
        least_share: the same of all listeners.
        most_weight: share of the largest weight in the sum of all, at any step.
        most_unsupported: distance of the mean of a step's weights from 1; only one that `errors` do not explain is
            refused.
        errors: standard errors of the mean.
        most_apart: between estimates that err in different ways, as a share of the larger of their and the log's own
            return.
    """

    most_steps: int = 10
    least_effective: float = 100.0
    least_share: float = 0.02
    most_weight: float = 0.05
    most_unsupported: float = 0.05
    errors: float = 4.0
    most_apart: float = 0.1

    def __post_init__(self):
        if self.most_steps < 1:
            raise ValueError(f"most_steps must be at least 1, got {self.most_steps}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What refusals look at; see `SequentialVerdict`.

    Args:
        listeners: in the log.
        horizon: steps.
        weighting: of `weights`.
        weights: of each step.
        step_weights: of each step alone.
        estimates: by name.
        believed: name of the estimate in question.
        logged: return of the log itself.
    """

    listeners: int
    horizon: int
    weighting: Weighting
    weights: tuple[WeightDiagnostics, ...]
    step_weights: tuple[WeightDiagnostics, ...]
    estimates: Mapping[str, Interval]
    believed: str
    logged: Interval


def refusals_of(found: Found, limits: Limits) -> tuple[Refusal, ...]:
    """All limits that are missed, each with what to do."""
    rules = (_horizon, _effective, _largest, _supported, _agree, _bounds)
    return tuple(refusal for rule in rules for refusal in rule(found, limits))


def _horizon(found: Found, limits: Limits) -> Iterator[Refusal]:
    if found.weighting == "products" and found.horizon > limits.most_steps:
        yield Refusal(
            rule="horizon",
            words=f"{found.horizon} steps are over {limits.most_steps}, beyond which products of weights say nothing, "
            f"and marginal ones need states in the log; give them, or judge the first {limits.most_steps}",
            figures={"steps": found.horizon, "limit": limits.most_steps},
        )


def _effective(found: Found, limits: Limits) -> Iterator[Refusal]:
    step, worst = min(enumerate(found.weights), key=lambda pair: pair[1].effective)
    least = max(limits.least_effective, limits.least_share * found.listeners)
    if not worst.effective >= least:
        yield Refusal(
            rule="effective_listeners",
            words=f"{worst.effective:,.1f} of {found.listeners:,} listeners are effective at step {step + 1} of "
            f"{found.horizon}; at least {least:,.0f} must be: {NEARER}",
            figures={"effective": worst.effective, "step": step + 1, "limit": least},
        )


def _largest(found: Found, limits: Limits) -> Iterator[Refusal]:
    step, worst = max(enumerate(found.weights), key=lambda pair: pair[1].largest_share)
    if not worst.largest_share <= limits.most_weight:
        yield Refusal(
            rule="largest_weight",
            words=f"one listener has {worst.largest_share:.1%} of all weight at step {step + 1} of {found.horizon}; at "
            f"most {limits.most_weight:.0%}: {NEARER}",
            figures={"share": worst.largest_share, "step": step + 1, "limit": limits.most_weight},
        )


def _supported(found: Found, limits: Limits) -> Iterator[Refusal]:
    """By each step's own ratios, which average 1 in any log, and by the weights that estimates rest on."""
    for weights in (found.step_weights, found.weights):
        step, worst = max(enumerate(weights), key=lambda pair: abs(pair[1].mean - 1))
        far = [abs(one.mean - 1) > max(limits.most_unsupported, limits.errors * one.mean_error) for one in weights]
        if any(far):
            yield Refusal(
                rule="supported",
                words=f"weights of step {step + 1} of {found.horizon} average {worst.mean:.3f}, standard error "
                f"{worst.mean_error:.3f}, and must 1: propensities are wrong, or the log never shows a part of what "
                "the new policy shows; a policy mixed with the one that logged is supported",
                figures={"mean": worst.mean, "error": worst.mean_error, "step": step + 1,
                         "limit": limits.most_unsupported},
            )  # fmt: skip
            return


def _agree(found: Found, limits: Limits) -> Iterator[Refusal]:
    names = (SNIPS, DR) if found.weighting == "products" else (MARGINAL, MARGINAL_DR, DIRECT)
    known = {name: found.estimates[name].mean for name in names if name in found.estimates}
    pairs = [(one, other) for one, other in combinations(known, 2)]
    for one, other in sorted(pairs, key=lambda pair: -abs(known[pair[0]] - known[pair[1]])):
        usual = max(abs(known[one]), abs(known[other]), abs(found.logged.mean))
        apart = abs(known[one] - known[other]) / usual if usual else 0.0
        if not apart <= limits.most_apart:
            yield Refusal(
                rule="estimators_agree",
                words=f"{one} says {known[one]:.4g} and {other} {known[other]:.4g}, {apart:.1%} apart, at most "
                f"{limits.most_apart:.0%}: {NEARER}",
                figures={one: known[one], other: known[other], "limit": limits.most_apart},
            )
        return


def _bounds(found: Found, limits: Limits) -> Iterator[Refusal]:
    estimate = found.estimates.get(found.believed)
    if estimate is not None and not np.isfinite([estimate.mean, estimate.low, estimate.high]).all():
        yield Refusal(
            rule="bounds", words=f"{found.believed} has no finite bounds: resamples without any weight; {NEARER}",
            figures={"low": estimate.low, "high": estimate.high},
        )  # fmt: skip
