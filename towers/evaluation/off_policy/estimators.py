"""Estimators of what a policy would have earned, from the log of another one.

Each gives `Terms`: what a request adds to sums whose ratios are the estimate, so that intervals can draw listeners
again. With one slot a request, they are the estimators of contextual bandits; with more, those of slates.

Let `w_k` be the importance weight of slot `k` (`Slates.weights`), `r_k` its reward, `q_k` what the direct model expects
from the card shown on to the end of the slate, and `v_k` the mean of that over the new policy's choice.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from towers.evaluation.off_policy.log import Slates, Weighting


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """An estimate as a sum of ratios of sums over requests.

    Args:
        numerators: `[requests, parts]`.
        denominators: `[requests, parts]`; 1 where the estimate is a mean.
    """

    numerators: Float[np.ndarray, "requests parts"]
    denominators: Float[np.ndarray, "requests parts"]

    @classmethod
    def mean(cls, values: Float[np.ndarray, " requests"]) -> "Terms":
        """An estimate that is a mean of one number a request."""
        return cls(numerators=values[:, None], denominators=np.ones((len(values), 1)))

    @classmethod
    def normalised(
        cls, weights: Float[np.ndarray, "requests slots"], values: Float[np.ndarray, "requests slots"]
    ) -> "Terms":
        """An estimate that is a sum over slots of weighted means over requests."""
        return cls(numerators=weights * values, denominators=weights)

    @property
    def value(self) -> float:
        """The estimate: reward of a request; NaN where a part has no weight at all."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float((self.numerators.sum(axis=0) / self.denominators.sum(axis=0)).sum())


def ips(slates: Slates, weighting: Weighting = "cascade", clip: float = np.inf) -> Terms:
    """Inverse propensity scoring: the mean of `sum_k min(w_k, clip) r_k` (Horvitz and Thompson 1952; Precup et al.
    2000 for the cascade; truncated as in Ionides 2008).

    Unbiased without a clip where the policy that logged gives a chance to all that the new one shows. With one, and
    rewards of at least 0, it is too low on average, never too high.
    """
    return Terms.mean((np.minimum(slates.weights(weighting), clip) * slates.rewards).sum(axis=1))


def snips(slates: Slates, weighting: Weighting = "cascade") -> Terms:
    """Self-normalised IPS: `sum_k (sum w_k r_k / sum w_k)`, inner sums over requests (Swaminathan and Joachims 2015;
    of slates McInerney et al. 2020).

    A little biased, and consistent; less noisy than IPS, as it does not suffer from weights that do not average 1.
    """
    return Terms.normalised(slates.weights(weighting), slates.rewards)


def direct(slates: Slates) -> Terms:
    """The direct method: the mean of `v_1`, what the model expects of the new policy (Dudík et al. 2014, section 3).

    As wrong as its model, whatever its interval says. No gate may rest on it alone.

    Raises:
        ValueError: there is no model.
    """
    return Terms.mean(_model(slates)[1][:, 0])


def doubly_robust(slates: Slates) -> Terms:
    """Doubly robust: the mean of `sum_k w_k (r_k - q_k) + w_{k-1} v_k`, with `w_0 = 1`.

    With one slot it is that of Dudík et al. 2014, section 3; with more cascade-DR, Kiyohara et al. 2022, section 3.1.
    Unbiased as IPS is, whatever the model, and the less noisy the better the model.

    Raises:
        ValueError: there is no model.
    """
    return corrected(slates, slates.weights("cascade"))


def switch_doubly_robust(slates: Slates, threshold: float) -> Terms:
    """Switch-DR: doubly robust where the weight is at most a threshold, and the direct method from there on (Wang et
    al. 2017).

    Of a slate, the model stands for all slots from the first whose weight is above the threshold.

    Args:
        slates: with a model.
        threshold: of the weight; infinite: `doubly_robust`, below the least weight: `direct`.

    Raises:
        ValueError: there is no model.
    """
    weights = slates.weights("cascade")
    is_used = np.logical_and.accumulate(weights <= threshold, axis=1)
    return corrected(slates, np.where(is_used, weights, 0.0))


def pseudo_inverse(slates: Slates) -> Terms:
    """The pseudo-inverse estimator of slates: the mean of `(sum_k (m_k - 1) + 1) sum_k r_k`, where `m_k` is the ratio
    of the slot's chances whatever stands before (Swaminathan et al. 2017; from marginals as Vlassis et al. 2021).

    Needs no cascade, but that the slate's reward is a sum over slots of something that depends on the card of a slot
    and the listener. Exact where the policy that logged draws its slots independently of each other. Where cards may
    not stand twice that is not quite so; the error falls with the slots over the cards.

    Raises:
        ValueError: the slots' chances are not known.
    """
    weights = (slates.weights("slot") - 1).sum(axis=1) + 1
    return Terms.mean(weights * slates.rewards.sum(axis=1))


def corrected(slates: Slates, weights: Float[np.ndarray, "requests slots"]) -> Terms:
    """The mean of `sum_k w_k (r_k - q_k) + w_{k-1} v_k` by any weights, with `w_0 = 1`.

    Args:
        slates: with a model.
        weights: of each slot.

    Raises:
        ValueError: there is no model.
    """
    estimates, new_estimates = _model(slates)
    before = np.column_stack([np.ones(len(weights)), weights[:, :-1]])
    return Terms.mean((weights * (slates.rewards - estimates) + before * new_estimates).sum(axis=1))


def _model(slates: Slates) -> tuple[Float[np.ndarray, "requests slots"], Float[np.ndarray, "requests slots"]]:
    if slates.estimates is None or slates.new_estimates is None:
        raise ValueError("there are no estimates of a direct model")
    return slates.estimates, slates.new_estimates
