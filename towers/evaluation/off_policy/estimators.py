"""Off-policy estimators of a policy's reward from the log of another policy.

Each returns `Terms`: the contributions of each request to sums whose ratios are the estimate, so that listeners can be
resampled. With one slot per request, they are the estimators of contextual bandits; with more, those of slates.

Let `w_k` be the importance weight of slot `k` (`Slates.weights`), `r_k` its reward, `q_k` the direct model's expected
reward from the shown card to the end of the slate, and `v_k` the mean of that over the new policy's choice.
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
        """Returns the terms of an estimate that is a mean of one number per request."""
        return cls(numerators=values[:, None], denominators=np.ones((len(values), 1)))

    @classmethod
    def normalised(
        cls, weights: Float[np.ndarray, "requests slots"], values: Float[np.ndarray, "requests slots"]
    ) -> "Terms":
        """Returns the terms of an estimate that is a sum over slots of weighted means over requests."""
        return cls(numerators=weights * values, denominators=weights)

    @property
    def value(self) -> float:
        """The estimate: mean reward of a request; NaN if a part has no weight at all."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float((self.numerators.sum(axis=0) / self.denominators.sum(axis=0)).sum())


def ips(slates: Slates, weighting: Weighting = "cascade", clip: float = np.inf) -> Terms:
    """Computes inverse propensity scoring: the mean of `sum_k min(w_k, clip) r_k`.

    (Horvitz and Thompson 1952; Precup et al. 2000 for the cascade; truncated as in Ionides 2008.) Without a clip it is
    unbiased if the logging policy can show everything that the new one shows. With a clip and rewards of at least 0,
    its expectation is too low, never too high.
    """
    return Terms.mean((np.minimum(slates.weights(weighting), clip) * slates.rewards).sum(axis=1))


def snips(slates: Slates, weighting: Weighting = "cascade") -> Terms:
    """Computes self-normalised IPS: `sum_k (sum w_k r_k / sum w_k)`, with inner sums over requests.

    (Swaminathan and Joachims 2015; for slates McInerney et al. 2020.) It is slightly biased, consistent, and less noisy
    than IPS, because it is not affected by weights that do not average 1.
    """
    return Terms.normalised(slates.weights(weighting), slates.rewards)


def direct(slates: Slates) -> Terms:
    """Computes the direct method: the mean of `v_1`, the model's value of the new policy (Dudík et al. 2014, sec. 3).

    It has the full bias of its model, which its interval does not include. No gate may rely on it alone.

    Raises:
        ValueError: there is no model.
    """
    return Terms.mean(_model(slates)[1][:, 0])


def doubly_robust(slates: Slates) -> Terms:
    """Computes the doubly robust estimate: the mean of `sum_k w_k (r_k - q_k) + w_{k-1} v_k`, with `w_0 = 1`.

    With one slot it is that of Dudík et al. 2014, section 3; with more, cascade-DR, Kiyohara et al. 2022, section 3.1.
    Like IPS it is unbiased for any model; a better model makes it less noisy.

    Raises:
        ValueError: there is no model.
    """
    return corrected(slates, slates.weights("cascade"))


def switch_doubly_robust(slates: Slates, threshold: float) -> Terms:
    """Computes switch-DR: doubly robust up to a weight threshold, and the direct method above it (Wang et al. 2017).

    In a slate, the model replaces all slots from the first one whose weight is above the threshold.

    Args:
        slates: slates with a model's estimates.
        threshold: largest weight; infinite gives `doubly_robust`, below the smallest weight gives `direct`.

    Raises:
        ValueError: there is no model.
    """
    weights = slates.weights("cascade")
    is_used = np.logical_and.accumulate(weights <= threshold, axis=1)
    return corrected(slates, np.where(is_used, weights, 0.0))


def pseudo_inverse(slates: Slates) -> Terms:
    """Computes the pseudo-inverse estimator of slates: the mean of `(sum_k (m_k - 1) + 1) sum_k r_k`.

    Here `m_k` is the ratio of the slot's marginal probabilities (Swaminathan et al. 2017; from marginals as in Vlassis
    et al. 2021). It assumes no cascade, but that the slate's reward is a sum over slots of terms that depend only on
    the slot's card and the listener. It is exact if the logging policy draws its slots independently. If cards must not
    repeat, that holds only approximately; the error decreases with the ratio of slots to cards.

    Raises:
        ValueError: the marginal probabilities of slots are not known.
    """
    weights = (slates.weights("slot") - 1).sum(axis=1) + 1
    return Terms.mean(weights * slates.rewards.sum(axis=1))


def corrected(slates: Slates, weights: Float[np.ndarray, "requests slots"]) -> Terms:
    """Computes the mean of `sum_k w_k (r_k - q_k) + w_{k-1} v_k` with given weights, with `w_0 = 1`.

    Args:
        slates: slates with a model's estimates.
        weights: weight of each slot.

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
