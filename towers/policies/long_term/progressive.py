"""A Bayesian filter of delayed outcomes, which learns from each day as soon as it is over.

After McDonald et al., "Impatient Bandits: Optimizing Recommendations for the Long-Term Without Delay" (KDD 2023). What
a listener does on the days after a discovery is a vector `z`, Gaussian around the mean outcome of the content;
contents' mean outcomes are Gaussian around what is expected of a content with such a vector in the space. A discovery
of some days ago reveals the first components of `z`. Conditioning on them is exact, and cheap in one basis: with `W`,
lower triangular, such that the covariance of `z` within a content is `(W^T W)^-1`, component `k` of `W z` is what day
`k` adds to the days before it (its innovation, with variance 1, independent of all others). It needs no later day, so a
prefix of `z` gives a prefix of the innovations, and a content's evidence is their sums and counts, day by day.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer
from scipy import sparse

from towers.policies.long_term.outcomes import DelayedOutcomes

BLOCK = 4_096
"""Number of contents, or discoveries, that are processed at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnModel:
    """Prior of contents' mean outcomes, and distribution of listeners' outcomes around them.

    All arrays are float64. The mean outcome of a content with vector `x` is Gaussian with mean `mean + x @ slopes` and
    covariance `factor @ factor.T`; outcomes of its listeners are Gaussian around it with covariance `(W^T W)^-1`.

    Args:
        mean: mean outcome of a content whose vector is zero.
        slopes: change of the mean outcome with the vector.
        factor: factor of the covariance of contents' mean outcomes.
        whitening: `W`, lower triangular, with a positive diagonal.
        weights: weight of each day of coming back in the return.
    """

    mean: Float[np.ndarray, " days"]
    slopes: Float[np.ndarray, "dim days"]
    factor: Float[np.ndarray, "days rank"]
    whitening: Float[np.ndarray, "days days"]
    weights: Float[np.ndarray, " days"]

    @property
    def days(self) -> int:
        """Number of days of an outcome."""
        return len(self.mean)

    @property
    def intercept(self) -> float:
        """Expected return of a content whose vector is zero."""
        return float(self.mean @ self.weights)

    @property
    def slope(self) -> Float[np.ndarray, " dim"]:
        """Change of the expected return, before any evidence, with the vector."""
        return self.slopes @ self.weights

    @property
    def deviation(self) -> float:
        """Standard deviation of a content's return before any evidence."""
        return float(np.linalg.norm(self.weights @ self.factor))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Evidence of the discoveries of each content so far.

    Args:
        number: number of discoveries for which each day is over, float64; it does not rise with the day.
        innovation: sums of the days' innovations over these discoveries.
    """

    number: Float[np.ndarray, "contents days"]
    innovation: Float[np.ndarray, "contents days"]

    @classmethod
    def none(cls, contents: int, days: int) -> "Evidence":
        """Returns the evidence of contents that no listener has discovered."""
        return cls(number=np.zeros((contents, days)), innovation=np.zeros((contents, days)))

    def __add__(self, other: "Evidence") -> "Evidence":
        return Evidence(number=self.number + other.number, innovation=self.innovation + other.innovation)

    def of(self, rows: Integer[np.ndarray, " some"] | slice) -> "Evidence":
        """Returns the evidence of some contents."""
        return Evidence(number=self.number[rows], innovation=self.innovation[rows])


def evidence_of(
    model: ReturnModel,
    outcomes: DelayedOutcomes,
    contents: int,
    since: Int[np.ndarray, " pairs"] | None = None,
) -> Evidence:
    """Returns the evidence in outcomes or, progressively, in the newest days of them.

    The sum of the evidence of each day equals the evidence of all days at once.

    Args:
        model: model with as many days as the outcomes.
        outcomes: outcomes, in any order.
        contents: number of contents.
        since: number of days of each outcome that were counted before; null: none.
    """
    found = Evidence.none(contents, model.days)
    day = np.arange(model.days)
    for start in range(0, len(outcomes), BLOCK):
        block = slice(start, start + BLOCK)
        is_told = day < outcomes.observed[block, None]
        if since is not None:
            is_told &= day >= since[block, None]
        innovations = np.where(is_told, outcomes.returned[block] @ model.whitening.T, 0.0)
        rows = outcomes.content[block]
        sums = sparse.csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=(contents, len(rows)))
        touched = np.unique(rows)
        chosen = sums[touched]
        found.number[touched] += chosen @ is_told.astype(np.float64)
        found.innovation[touched] += chosen @ innovations
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Returns:
    """Gaussian beliefs about the mean return of contents' discoverers.

    Args:
        expected: means of the beliefs, in weighted days.
        deviation: standard deviations of the beliefs.
    """

    expected: Float[np.ndarray, " contents"]
    deviation: Float[np.ndarray, " contents"]


def expected_returns(model: ReturnModel, evidence: Evidence, vectors: Float[np.ndarray, "contents dim"]) -> Returns:
    """Returns the beliefs about contents' returns, by exact conditioning on their evidence.

    The cost of a content is `days * rank^2 + rank^3`, and memory is bounded by blocks; no covariance is inverted, and
    the matrices that are solved have no eigenvalue below 1.

    Args:
        model: prior and distribution of listeners.
        evidence: evidence, by content row.
        vectors: vectors in the space, by content row, float.
    """
    read = model.weights @ model.factor
    parts = []
    for start in range(0, len(vectors), BLOCK):
        block = slice(start, start + BLOCK)
        prior = model.mean + vectors[block].astype(np.float64) @ model.slopes
        precision, shift = coordinates(model, evidence.of(block), prior)
        sides = np.stack([shift, np.broadcast_to(read, shift.shape)], axis=2)
        solved = np.linalg.solve(precision, sides)
        parts.append(np.stack([prior @ model.weights + solved[:, :, 0] @ read, solved[:, :, 1] @ read]))
    mean, variance = np.concatenate([np.zeros((2, 0)), *parts], axis=1)
    return Returns(expected=mean, deviation=np.sqrt(variance))


def coordinates(
    model: ReturnModel, evidence: Evidence, prior: Float[np.ndarray, "contents days"]
) -> tuple[Float[np.ndarray, "contents rank rank"], Float[np.ndarray, "contents rank"]]:
    """Returns the posterior in coordinates `f` in which the mean outcome is `prior + factor @ f` and `f` is standard
    Gaussian a priori: the precision of `f`, and precision times mean.

    Args:
        model: model whose factor and whitening are read.
        evidence: evidence, by content.
        prior: expected mean outcome of each content.
    """
    seen = model.whitening @ model.factor
    days, rank = seen.shape
    products = (seen[:, :, None] * seen[:, None, :]).reshape(days, rank * rank)
    precision = (evidence.number @ products).reshape(-1, rank, rank) + np.eye(rank)
    shift = (evidence.innovation - evidence.number * (prior @ model.whitening.T)) @ seen
    return precision, shift
