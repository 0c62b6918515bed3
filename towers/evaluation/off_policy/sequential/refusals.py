"""Rules by which a log of many steps is refused: the policy is too far from the log, or estimates contradict."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from towers.evaluation.intervals import Interval
from towers.evaluation.off_policy.diagnostics import WeightDiagnostics
from towers.evaluation.off_policy.judge import DIRECT, DR, SNIPS
from towers.evaluation.off_policy.sequential.marginal import MARGINAL, MARGINAL_DR
from towers.evaluation.off_policy.sequential.verdict import Refusal, Weighting

NEARER = "take a log of a policy nearer to the new one, more listeners, or fewer steps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits that a log must keep to be accepted.

    Args:
        most_steps: largest number of steps for products of weights; a longer log needs states for marginal weights.
        least_effective: smallest effective sample size of any step, in listeners.
        least_share: smallest effective sample size of any step, as a share of all listeners.
        most_weight: largest share of one weight in the sum of all, at any step.
        most_unsupported: largest distance of the mean of a step's weights from 1; only refused if it exceeds `errors`
            standard errors, too.
        errors: number of standard errors of the mean.
        most_apart: largest difference between estimates with different biases, as a share of the largest of these
            estimates and the log's own return.
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
    """Measurements to which the rules apply; see `SequentialVerdict`.

    Args:
        listeners: number of listeners in the log.
        horizon: number of steps.
        weighting: weighting of `weights`.
        weights: diagnostics of the weights of each step.
        step_weights: diagnostics of each step's own ratio.
        estimates: estimates by name.
        believed: name of the estimate to accept.
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
    """Returns all violated limits, each with the way out."""
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
    """Checks each step's own ratios, whose expectation is 1, and the weights of the estimates."""
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
