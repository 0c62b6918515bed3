"""Rules of published segment-wise policies: scores of cards from how often they were seen and rewarded.

With `per_slate`, segments, and no floor but epsilon's, `SegmentWise` plays them as Bendada et al. (RecSys 2020) did.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import rel_entr

from towers.errors import require_counts

HALVINGS = 30
"""Number of bisections of the interval in which an upper bound lies: the bound is exact to a billionth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Counts of a segment's cards.

    Args:
        seen: `[cards]`, how often each was seen.
        rewarded: `[cards]`, the sum of its rewards.
        total: number of cards seen, over all cards and segments.
    """

    seen: Float[np.ndarray, " cards"]
    rewarded: Float[np.ndarray, " cards"]
    total: float


@dataclass(frozen=True, slots=True)
class Rule(ABC):
    """A rule that scores the cards of a segment by their counts; its fields are its settings."""

    @abstractmethod
    def scores(
        self, counted: Counted, members: int, generator: np.random.Generator
    ) -> Float[np.ndarray, "members cards"]:
        """Returns each member's score of each card of a segment; higher is better.

        Args:
            counted: how often each card was seen and rewarded.
            members: number of members.
            generator: source of the members' draws.
        """
        ...

    @abstractmethod
    def means(self, counted: Counted) -> Float[np.ndarray, " cards"]:
        """Returns the mean reward that the rule expects of each card of a segment."""
        ...


@dataclass(frozen=True, slots=True)
class BetaDraws(Rule):
    """Thompson sampling: members draw from a Beta posterior of each card (Chapelle and Li 2011; Bendada et al. 2020).

    The posterior of a card in a segment is `Beta(alpha + rewards, beta + seen - rewards)`. `alpha=1, beta=1` is the
    naive prior, under which a new card is expected to be streamed every second time; `beta=99` the pessimistic one. As
    published, each listener has a draw of his own for his slate; here a segment's listeners share the policy's members
    until its next update, so that the probability of each choice is exact, and with `per_slate` each slate is one of
    them.

    Args:
        alpha: first parameter of the prior, above 0.
        beta: second parameter of the prior, above 0.

    Raises:
        ValueError: a parameter is not above 0.
    """

    alpha: float = 1.0
    beta: float = 99.0

    def __post_init__(self) -> None:
        for name, value in (("alpha", self.alpha), ("beta", self.beta)):
            if value <= 0:
                raise ValueError(f"{name} must be above 0, got {value}")

    def scores(
        self, counted: Counted, members: int, generator: np.random.Generator
    ) -> Float[np.ndarray, "members cards"]:
        """Returns draws from the posteriors."""
        failed = np.maximum(counted.seen - counted.rewarded, 0)
        size = (members, len(failed))
        return generator.beta(self.alpha + counted.rewarded, self.beta + failed, size=size)

    def means(self, counted: Counted) -> Float[np.ndarray, " cards"]:
        """Returns the means of the posteriors."""
        return (self.alpha + counted.rewarded) / (self.alpha + self.beta + np.maximum(counted.seen, counted.rewarded))


@dataclass(frozen=True, slots=True)
class BestMean(Rule):
    """Ranks by mean reward; the policy's floor makes it epsilon-greedy.

    With `by_segment=False` and `unseen=0` it ranks by popularity. As published (Bendada et al. 2020, with a floor of .1
    to explore and .01 to exploit) it is `per_slate`: a tenth of the listeners see only random cards. Drawn anew in each
    slot, a tenth of the cards is random as well, which costs less where the other cards of the slate are good.

    Args:
        unseen: mean reward assumed for a card that was never seen; published 1, so that each is tried.
    """

    unseen: float = 1.0

    def scores(
        self, counted: Counted, members: int, generator: np.random.Generator
    ) -> Float[np.ndarray, "members cards"]:
        """Returns mean rewards with ties broken at random."""
        return ties_broken(_mean_of(counted.seen, counted.rewarded, self.unseen), members, generator)

    def means(self, counted: Counted) -> Float[np.ndarray, " cards"]:
        """Returns mean rewards."""
        return _mean_of(counted.seen, counted.rewarded, self.unseen)


@dataclass(frozen=True, slots=True)
class ExploreFirst(Rule):
    """Ranks cards that were not seen often enough first, those that lack most in front, then the others by mean reward.

    With a discount, cards whose counts have faded are explored again.

    Args:
        explorations: number of times that each card has to be seen; published 100 (explores) and 20 (exploits).

    Raises:
        ValueError: `explorations` is below 1.
    """

    explorations: int = 20

    def __post_init__(self) -> None:
        require_counts(explorations=self.explorations)

    def scores(
        self, counted: Counted, members: int, generator: np.random.Generator
    ) -> Float[np.ndarray, "members cards"]:
        """Returns twice the number of missing explorations plus the mean reward, with ties broken at random."""
        missing = np.maximum(self.explorations - counted.seen, 0.0)
        # Means are at most 1, so one more missing exploration weighs more than any mean.
        return ties_broken(2 * missing + _mean_of(counted.seen, counted.rewarded, 0.0), members, generator)

    def means(self, counted: Counted) -> Float[np.ndarray, " cards"]:
        """Returns mean rewards; 0 for a card that was never seen."""
        return _mean_of(counted.seen, counted.rewarded, 0.0)


@dataclass(frozen=True, slots=True)
class UpperBounds(Rule):
    """KL-UCB for rewards of 0 and 1: the highest means that the outcomes do not contradict (Garivier and Cappé, COLT
    2011, with c = 0).

    A card's bound is the largest `q` with `seen * kl(mean, q) <= log(t)`, where `t` counts what was seen of all cards
    in all segments, as in Bendada et al. (RecSys 2020), and 1 for a card that was never seen.
    """

    def scores(
        self, counted: Counted, members: int, generator: np.random.Generator
    ) -> Float[np.ndarray, "members cards"]:
        """Returns the bounds with ties broken at random."""
        return ties_broken(upper_bounds(counted.seen, counted.rewarded, counted.total), members, generator)

    def means(self, counted: Counted) -> Float[np.ndarray, " cards"]:
        """Returns mean rewards; 1, like its bound, for a card that was never seen."""
        return _mean_of(counted.seen, counted.rewarded, 1.0)


def upper_bounds(
    seen: Float[np.ndarray, " cards"], rewarded: Float[np.ndarray, " cards"], total: float
) -> Float[np.ndarray, " cards"]:
    """Returns the upper bound of each card, by bisection.

    Args:
        seen: how often each card was seen.
        rewarded: how often it was rewarded.
        total: number of cards seen, over all cards.
    """
    is_seen = seen > 0
    mean = _mean_of(seen, rewarded, 1.0)
    allowed = np.divide(np.log(max(total, 1.0)), seen, out=np.full(len(seen), np.inf), where=is_seen)
    low, high = mean, np.ones(len(seen))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        is_allowed = rel_entr(mean, middle) + rel_entr(1 - mean, 1 - middle) <= allowed
        low, high = np.where(is_allowed, middle, low), np.where(is_allowed, high, middle)
    return low


def _mean_of(
    seen: Float[np.ndarray, " cards"], rewarded: Float[np.ndarray, " cards"], unseen: float
) -> Float[np.ndarray, " cards"]:
    """Returns the mean reward of each card, and `unseen` where it was never seen."""
    return np.divide(rewarded, seen, out=np.full(len(seen), unseen), where=seen > 0)


def ties_broken(
    scores: Float[np.ndarray, " cards"], members: int, generator: np.random.Generator
) -> Float[np.ndarray, "members cards"]:
    """Returns ranks of cards by their scores for each member, with ties in a random order of the member's own."""
    order = np.argsort(generator.random((members, len(scores))), axis=1)
    # Ranks among distinct scores, not tiny numbers added to them, so that no two different scores change places.
    rank = np.unique(scores, return_inverse=True)[1]
    return rank + order / max(len(scores), 1)
