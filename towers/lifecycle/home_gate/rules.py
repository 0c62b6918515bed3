"""Rules of the home page's gate: whether the log supports a judgement of the policy, whether it is good enough, and
limits on its costs."""

from dataclasses import dataclass

from towers.evaluation.intervals import Interval
from towers.evaluation.off_policy.judge import DIRECT, DR, SNIPS, OffPolicyResult
from towers.lifecycle.gate.evidence import Lacking
from towers.lifecycle.gate.verdict import Outcome
from towers.lifecycle.home_gate.gate import HomeEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveRequests:
    """The log must say as much of the new policy as enough requests of its own would.

    Args:
        least: least effective sample size, in requests, at the slot where it is smallest.
        least_share: least effective sample size, as a share of all requests.
    """

    least: float = 1_000.0
    least_share: float = 0.02

    def judge(self, name: str, evidence: HomeEvidence) -> Outcome:
        """See `HomeRule`."""
        worst = evidence.judged.worst
        limit = max(self.least, self.least_share * worst.requests)
        return Outcome(
            rule=name,
            status="passed" if worst.effective >= limit else "refused",
            words=f"{worst.effective:,.1f} of {worst.requests:,} requests are effective, {worst.effective_share:.2%}; "
            f"at least {limit:,.0f} must be; a log of a policy nearer to this one, or a longer one, has more",
            figures={"effective": worst.effective, "share": worst.effective_share},
            limit=limit,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestWeight:
    """No single request may dominate.

    Args:
        most: limit, to stay below, for the share of the largest weight in the sum of all, at any slot.
    """

    most: float = 0.01

    def judge(self, name: str, evidence: HomeEvidence) -> Outcome:
        """See `HomeRule`."""
        worst = max(evidence.judged.weights, key=lambda one: one.largest_share)
        return Outcome(
            rule=name,
            status="passed" if worst.largest_share < self.most else "refused",
            words=f"one request has {worst.largest_share:.2%} of all weight ({worst.largest:,.1f}); must be below "
            f"{self.most:.2%}",
            figures={"share": worst.largest_share, "weight": worst.largest},
            limit=self.most,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Supported:
    """Weights must average 1, as they do where propensities are right and the log could show all that the policy shows.

    Args:
        most: greatest distance of the mean from 1, at any slot; a distance within `errors` is not refused.
        errors: number of standard errors of the mean.
    """

    most: float = 0.05
    errors: float = 4.0

    def judge(self, name: str, evidence: HomeEvidence) -> Outcome:
        """See `HomeRule`."""
        worst = max(evidence.judged.weights, key=lambda one: abs(one.mean - 1))
        is_far = [abs(one.mean - 1) > max(self.most, self.errors * one.mean_error) for one in evidence.judged.weights]
        return Outcome(
            rule=name,
            status="refused" if any(is_far) else "passed",
            words=f"weights average {worst.mean:.3f}, standard error {worst.mean_error:.3f}; must be 1 within "
            f"{self.most} and {self.errors} errors, or propensities are wrong or the log cannot show what the policy "
            "shows",
            figures={"mean": worst.mean, "error": worst.mean_error},
            limit=self.most,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Agree:
    """Two estimators with different errors must agree.

    Args:
        first: name of an estimator.
        second: name of another one; neither is the direct method.
        most: greatest difference, as a share of the second.
    """

    first: str = SNIPS
    second: str = DR
    most: float = 0.1

    def __post_init__(self):
        _not_direct(self.first, self.second)

    def judge(self, name: str, evidence: HomeEvidence) -> Outcome:
        """See `HomeRule`."""
        one, other = (_estimate(evidence.judged, each).mean for each in (self.first, self.second))
        apart = abs(one - other) / abs(other) if other else float("nan")
        return Outcome(
            rule=name,
            status="passed" if apart <= self.most else "refused",
            words=f"{self.first} {one:.4f} and {self.second} {other:.4f} are {apart:.1%} apart, at most "
            f"{self.most:.0%}",
            figures={self.first: one, self.second: other, "apart": apart},
            limit=self.most,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LowerBound:
    """The lower 95 % bound of the new policy's reward must not be below production's reward.

    Args:
        estimator: estimator of the bound; not the direct method.
        least: least share of production's on-policy reward.
    """

    estimator: str = DR
    least: float = 0.98

    def __post_init__(self):
        _not_direct(self.estimator)

    def judge(self, name: str, evidence: HomeEvidence) -> Outcome:
        """See `HomeRule`."""
        found, production = _estimate(evidence.judged, self.estimator), evidence.judged.production.mean
        if not production > 0:
            raise Lacking("production earns nothing in its log, so no loss could show")
        return Outcome(
            rule=name,
            status="passed" if found.low >= self.least * production else "refused",
            words=f"{self.estimator} {found.mean:.4f} ({found.low:.4f} to {found.high:.4f}) against production's "
            f"{production:.4f}; the lower bound is {found.low / production:.3f} of it, at least {self.least}",
            figures={self.estimator: found.mean, "low": found.low, "production": production},
            limit=self.least * production,
            interval=(found.low, found.high),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """A figure that is not part of the reward must stay near production's.

    Args:
        figure: `skips`, `kinds` or `new_cards`.
        least: least share of production's figure; null: no limit.
        most: greatest share of production's figure; null: no limit.
    """

    figure: str
    least: float | None = None
    most: float | None = None

    def __post_init__(self):
        if self.least is None and self.most is None:
            raise ValueError("least or most must be given, otherwise nothing is refused")

    def judge(self, name: str, evidence: HomeEvidence) -> Outcome:
        """See `HomeRule`."""
        if self.figure not in evidence.judged.guards:
            raise Lacking(f"the log has no {self.figure}")
        guard = evidence.judged.guards[self.figure]
        after, before = guard.new.mean, guard.production
        if before == 0 and (self.most is None or after == 0):
            return Outcome(rule=name, status="does not apply", words=f"production has no {self.figure}")
        low = -float("inf") if self.least is None else self.least * before
        high = float("inf") if self.most is None else self.most * before
        is_low = not after >= low
        limit = low if is_low or self.most is None else high
        return Outcome(
            rule=name,
            status="passed" if low <= after <= high else "refused",
            words=f"{self.figure} {after:.4f} ({guard.new.low:.4f} to {guard.new.high:.4f}) of a slate against "
            f"{before:.4f} of production, limit {limit:.4f}",
            figures={self.figure: after, "production": before},
            limit=limit,
            interval=(guard.new.low, guard.new.high),
        )


def _estimate(result: OffPolicyResult, estimator: str) -> Interval:
    if estimator not in result.estimates:
        raise Lacking(f"there is no estimate by {estimator}: it needs a direct model (LoggedBandit.estimates)")
    return result.estimates[estimator]


def _not_direct(*estimators: str) -> None:
    if DIRECT in estimators:
        raise ValueError(f"{DIRECT}: no rule may rest on the direct method, which is as wrong as its model")
