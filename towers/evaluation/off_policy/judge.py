"""Off-policy evaluation of a new policy: all estimators with intervals, weight diagnostics, and guardrails."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from towers.evaluation.intervals import RESAMPLES, Interval
from towers.evaluation.off_policy.bounds import bootstrap, empirical_bernstein, interval_of, resampled_values
from towers.evaluation.off_policy.diagnostics import WeightDiagnostics
from towers.evaluation.off_policy.direct_model import DirectModel
from towers.evaluation.off_policy.estimators import (
    Terms,
    direct,
    doubly_robust,
    ips,
    pseudo_inverse,
    snips,
    switch_doubly_robust,
)
from towers.evaluation.off_policy.log import LoggedBandit, Slates

IPS, CLIPPED_IPS, SNIPS, PSEUDO_INVERSE = "ips", "clipped_ips", "snips", "pseudo_inverse"
DIRECT, DR, SWITCH_DR = "direct", "dr", "switch_dr"
KINDS = "kinds"
"""Guardrail of diversity: the effective number of kinds, which is `exp` of the entropy of exposure over kinds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A guardrail metric, estimated for the new policy and measured for the policy in production.

    Args:
        new: self-normalised estimate, a sum over the slots of a slate; for `kinds` their effective number.
        production: value of the policy in production.
    """

    new: Interval
    production: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OffPolicyResult:
    """Result of an off-policy evaluation.

    Args:
        requests: number of requests in the log.
        listeners: number of listeners in the log.
        slots: number of slots of a slate that are evaluated.
        weights: diagnostics of the cascade weights of each slot, which IPS, SNIPS and doubly robust use.
        estimates: reward of a slate by estimator; estimators for which the log lacks a column are absent.
        bernstein: clipped IPS with empirical-Bernstein bounds; the lower bound holds for the new policy, too, because
            the clip can only reduce the reward.
        production: on-policy reward of a slate for the policy in production.
        guards: guardrail metrics by name.
    """

    requests: int
    listeners: int
    slots: int
    weights: tuple[WeightDiagnostics, ...]
    estimates: dict[str, Interval]
    bernstein: Interval
    production: Interval
    guards: dict[str, Guarded]

    @property
    def worst(self) -> WeightDiagnostics:
        """Diagnostics of the slot with the smallest effective sample size; in a cascade usually the last one."""
        return min(self.weights, key=lambda one: one.effective)

    def to_json(self) -> dict[str, Any]:
        """Returns the result as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffPolicyJudge:
    """Evaluates a policy by the log of another one.

    Args:
        model: direct model of the doubly robust estimators.
        slots: number of first slots that count; null: all. Cascade weights are products, so every slot reduces the
            effective sample size, while few listeners look at late slots.
        clip: largest weight of clipped IPS.
        switch: weight above which switch-DR uses the direct model.
        most_reward: highest reward of a slot, for the empirical-Bernstein bound; the lowest is 0.
        resamples: number of resamples of listeners.
        seed: seed of the resamples.
    """

    model: DirectModel = field(default_factory=DirectModel)
    slots: int | None = 3
    clip: float = 10.0
    switch: float = 10.0
    most_reward: float = 1.0
    resamples: int = RESAMPLES
    seed: int = 0

    def __post_init__(self):
        if self.slots is not None and self.slots < 1:
            raise ValueError(f"slots must be null or at least 1, got {self.slots}")
        for name in ("clip", "switch", "most_reward"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")

    def judge(
        self,
        log: LoggedBandit,
        features: Float[np.ndarray, "rows features"] | None = None,
        new_features: Float[np.ndarray, "rows features"] | None = None,
        production: LoggedBandit | None = None,
    ) -> OffPolicyResult:
        """Evaluates the new policy of a log.

        Args:
            log: log of any policies with known propensities.
            features: features of the listener and the shown card, for the direct model (`DirectModel.estimated`); null:
                the log's own estimates for its first `slots` slots are used; without any, there is no doubly robust
                estimate.
            new_features: mean of these features over the new policy's choice.
            production: log of the policy in production; null: `log` itself.

        Raises:
            ValueError: the log is empty, or a reward is not between 0 and `most_reward`.
        """
        if features is not None and new_features is not None:
            log = self.model.estimated(log, features, new_features, self.slots)
        slates = log.slates(self.slots)
        served = slates if production is None else production.slates(self.slots)
        terms = _terms(slates, self.clip, self.switch)
        settings = {"seed": self.seed, "resamples": self.resamples}
        clipped = terms[CLIPPED_IPS].numerators[:, 0]
        most = self.clip * self.most_reward * slates.depth
        own = {"production": ips(served.on_policy())}
        return OffPolicyResult(
            requests=len(slates),
            listeners=len(np.unique(slates.listeners)),
            slots=slates.depth,
            weights=tuple(WeightDiagnostics.of(column) for column in slates.weights().T),
            estimates=bootstrap(terms, slates.listeners, **settings),
            bernstein=empirical_bernstein(clipped, slates.listeners, 0.0, most),
            production=bootstrap(own, served.listeners, **settings)["production"],
            guards=self._guards(slates, served.on_policy()),
        )

    def _guards(self, slates: Slates, served: Slates) -> dict[str, Guarded]:
        settings = {"seed": self.seed, "resamples": self.resamples}
        names = [name for name in slates.guards if name in served.guards]
        terms = {name: snips(slates.of(slates.guards[name])) for name in names}
        intervals = bootstrap(terms, slates.listeners, **settings) if terms else {}
        found = {
            name: Guarded(new=intervals[name], production=snips(served.of(served.guards[name])).value) for name in names
        }
        if slates.kinds is None or served.kinds is None:
            return found
        every = range(1 + max(int(slates.kinds.max()), int(served.kinds.max())))
        shown = {str(kind): snips(slates.of((slates.kinds == kind).astype(float))) for kind in every}
        drawn = np.stack([*resampled_values(shown, slates.listeners, **settings).values()], axis=-1)
        values = np.array([one.value for one in shown.values()])
        own = np.array([snips(served.of((served.kinds == kind).astype(float))).value for kind in every])
        new = interval_of(float(effective_number(values[None])[0]), effective_number(drawn))
        return {**found, KINDS: Guarded(new=new, production=float(effective_number(own[None])[0]))}


def effective_number(exposure: Float[np.ndarray, "some kinds"]) -> Float[np.ndarray, " some"]:
    """Returns the number of equally frequent kinds with the same diversity: `exp` of the entropy (Hill 1973)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = exposure / exposure.sum(axis=-1, keepdims=True)
        return np.exp(-np.where(shares > 0, shares * np.log(shares), shares).sum(axis=-1))


def _terms(slates: Slates, clip: float, switch: float) -> dict[str, Terms]:
    """Computes the terms of each estimator for which the log has every column that it needs."""
    terms = {IPS: ips(slates), CLIPPED_IPS: ips(slates, clip=clip), SNIPS: snips(slates)}
    if slates.slot_ratios is not None and slates.depth > 1:
        terms[PSEUDO_INVERSE] = pseudo_inverse(slates)
    if slates.estimates is not None:
        terms[DIRECT] = direct(slates)
        terms[DR] = doubly_robust(slates)
        terms[SWITCH_DR] = switch_doubly_robust(slates, switch)
    return terms
