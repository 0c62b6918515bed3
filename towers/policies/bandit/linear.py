"""Linear models of the reward, shared by all cards: Thompson sampling and LinUCB.

The expected reward of a card is `features(listener, card) . theta`, with one theta for all cards, so that a new card is
scored by what other cards taught. The posterior of theta is Gaussian, computed from sums over outcomes (Bayesian linear
regression; for bandits Agrawal and Goyal 2013, and the shared part of the hybrid model of Li et al. 2010).

Neural-linear (Riquelme, Tucker and Snoek 2018) is such a model on the last layer of a network. The towers end in an
inner product, so the element-wise product of their vectors is that layer: `LinearThompson` over `Features` of a space's
vectors is neural-linear. Without `has_products` it reads only the inner product, kinds, times and pairs, and is the
plain linear model.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from towers.contract.policy import Candidates, Context, Outcomes
from towers.contract.slate import Slate
from towers.policies.bandit.arrays import taken
from towers.policies.bandit.choosing import Drawing, chances_by, chosen
from towers.policies.bandit.features import Features

NOISE_STEPS = 3
"""Rounds of alternately fitting the noise and the model."""
LEAST_NOISE = 1e-3


class Head:
    """The Gaussian posterior of theta, from sums over outcomes that fade.

    Args:
        features: number of features; the last one is always 1.
        prior_reward: expected reward of a card without outcomes; a low one is pessimistic.
        prior_spread: prior standard deviation of each weight.
        noise: standard deviation of a reward around the model; null: it is fitted.
        keep: share of the earlier sums that is kept at each update.
    """

    def __init__(self, features: int, *, prior_reward: float, prior_spread: float, noise: float | None, keep: float):
        self._is_fitted, self._keep = noise is None, keep
        self._precision = np.eye(features) / prior_spread**2
        self._prior = np.zeros(features)
        self._prior[-1] = prior_reward
        beforehand = max(prior_reward * (1 - prior_reward), LEAST_NOISE**2)
        self._variance = beforehand if noise is None else noise**2
        self.products = np.zeros((features, features))
        self.rewards = np.zeros(features)
        self.sums = np.zeros(2)
        """Number of outcomes, and the sum of their squared rewards."""

    def learn(self, rows: Float[np.ndarray, "rows features"], rewards: Float[np.ndarray, " rows"]) -> None:
        """Adds a batch; the sums are new arrays afterwards."""
        self.products = self._keep * self.products + rows.T @ rows
        self.rewards = self._keep * self.rewards + rows.T @ rewards
        self.sums = self._keep * self.sums + np.array([len(rewards), rewards @ rewards])

    def posterior(self) -> tuple[Float[np.ndarray, " features"], Float[np.ndarray, "features features"]]:
        """Returns mean and precision."""
        mean, precision = self._under(self._variance)
        for _ in range(NOISE_STEPS if self._is_fitted and self.sums[0] > len(mean) else 0):
            left = self.sums[1] - 2 * mean @ self.rewards + mean @ self.products @ mean
            mean, precision = self._under(max(float(left / self.sums[0]), LEAST_NOISE**2))
        return mean, precision

    def _under(self, variance: float) -> tuple[Float[np.ndarray, " features"], Float[np.ndarray, "features features"]]:
        """Returns the posterior for a given variance of the noise."""
        precision = self._precision + self.products / variance
        return np.linalg.solve(precision, self._precision @ self._prior + self.rewards / variance), precision

    def state(self) -> dict[str, np.ndarray]:
        """Returns the sums, by name."""
        return {"products": self.products, "rewards": self.rewards, "sums": self.sums}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores the sums.

        Raises:
            ValueError: one is missing, or has another shape.
        """
        told = [taken(state, name, array.shape) for name, array in self.state().items()]
        self.products, self.rewards, self.sums = told


class LinearPolicy(ABC):
    """Base of the policies below: features, a posterior, and slates drawn by scores.

    Args:
        features: features that the model reads, or the keyword arguments of `Features`.
        drawing: settings by which slates are drawn.
        prior: keyword arguments of `Head`, except the number of features.
        policy_id: name in the log.
    """

    def __init__(
        self,
        features: Features | Mapping[str, Any],
        drawing: Drawing,
        prior: Mapping[str, float | None],
        policy_id: str,
    ):
        self.slots, self.policy_id = drawing.slots, policy_id
        self._features = features if isinstance(features, Features) else Features(**features)
        self._drawing, self._prior = drawing, prior
        self._head = Head(len(self._features), **prior)  # pyright: ignore[reportArgumentType]

    def settings(self) -> dict[str, Any]:
        """Returns the keyword arguments that both policies have, as JSON values."""
        told = {"features": self._features.settings(), **self._drawing.settings(), **self._prior}
        return {**told, "policy_id": self.policy_id}

    def select(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        """Draws one slate for each listener.

        Raises:
            ValueError: the vectors have another dimension, or a pair is missing.
        """
        return chosen(self._drawing, self._scores, context, candidates, generator, per_card=self._per_card())

    def chances(
        self, context: Context, candidates: Candidates, shown: Int[np.ndarray, "listeners slots"]
    ) -> Float[np.ndarray, "listeners slots cards"]:
        """Returns the probability of each candidate for each slot, given the earlier slots as shown."""
        return chances_by(self._drawing, self._scores, context, candidates, shown, per_card=self._per_card())

    def update(self, outcomes: Outcomes) -> None:
        """Learns from the slots that were seen."""
        seen = outcomes.of(outcomes.is_seen)
        if len(seen):
            self._head.learn(self._features.rows(seen), seen.rewards)
            self._learned()

    def expected(self, outcomes: Outcomes) -> Float[np.ndarray, " rows"]:
        """Returns the reward of each row by the mean of theta, clipped to [0, 1]; it does not depend on the slot."""
        return (self._features.rows(outcomes) @ self._head.posterior()[0]).clip(0, 1)

    def state(self) -> dict[str, np.ndarray]:
        """Returns the sums."""
        return self._head.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores what `state` returned.

        Raises:
            ValueError: an array is missing, or has another shape.
        """
        self._head.restore(state)

    @abstractmethod
    def _learned(self) -> None:
        """Updates what is used for scoring, after the posterior has changed."""

    @abstractmethod
    def _scores(self, context: Context, candidates: Candidates) -> Float[np.ndarray, "members listeners cards"]:
        """Returns each member's score of each card; higher is better."""

    def _per_card(self) -> int:
        """Returns how many numbers are held at once for a listener and a card."""
        return self._drawing.members


class LinearThompson(LinearPolicy):
    """Linear Thompson sampling: members are draws of theta, renewed after each update from a seed in the state.

    Args:
        features: features that the model reads, or the keyword arguments of `Features`.
        slots: number of slots of a slate.
        members: number of draws of the posterior; more are nearer to a draw for every request.
        floor: probability of taking any card at random.
        per_slate: whether a member, or the floor, decides for a whole slate instead of anew in each slot.
        breadth: factor on the standard deviations of the draws; below 1 less is explored.
        prior_reward: expected reward of a card without outcomes.
        prior_spread: prior standard deviation of each weight.
        noise: standard deviation of a reward around the model; null: it is fitted.
        keep: share of the evidence that is kept at each update.
        seed: seed of the draws.
        shelf: name of the shelf in its slates.
        policy_id: name in the log.
    """

    def __init__(
        self,
        *,
        features: Features | Mapping[str, Any],
        slots: int = 12,
        members: int = 16,
        floor: float = 0.05,
        per_slate: bool = False,
        breadth: float = 1.0,
        prior_reward: float = 0.01,
        prior_spread: float = 0.1,
        noise: float | None = None,
        keep: float = 1.0,
        seed: int = 0,
        shelf: str = "home",
        policy_id: str = "linear-thompson",
    ):
        super().__init__(
            features,
            Drawing(slots=slots, members=members, floor=floor, per_slate=per_slate, shelf=shelf),
            {"prior_reward": prior_reward, "prior_spread": prior_spread, "noise": noise, "keep": keep},
            policy_id,
        )
        self._breadth, self._seed = breadth, seed
        self._updates = np.zeros((), dtype=np.int64)
        self._thetas = self._drawn()

    def settings(self) -> dict[str, Any]:
        """Returns the keyword arguments as JSON values."""
        return {**super().settings(), "breadth": self._breadth, "seed": self._seed}

    def state(self) -> dict[str, np.ndarray]:
        """Returns the sums, the number of updates, and the draws."""
        return {**super().state(), "updates": self._updates, "thetas": self._thetas}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores what `state` returned.

        Raises:
            ValueError: an array is missing, or has another shape.
        """
        updates, thetas = taken(state, "updates", ()), taken(state, "thetas", self._thetas.shape)
        super().restore(state)
        self._updates, self._thetas = updates, thetas

    def _learned(self) -> None:
        """Draws the members anew."""
        self._updates = self._updates + 1
        self._thetas = self._drawn()

    def _scores(self, context: Context, candidates: Candidates) -> Float[np.ndarray, "members listeners cards"]:
        """Returns the reward that each draw expects."""
        return self._features.scores(self._thetas, context, candidates)

    def _drawn(self) -> Float[np.ndarray, "members features"]:
        """Returns draws of the posterior, determined by the seed and the number of updates; float32, for speed."""
        mean, precision = self._head.posterior()
        generator = np.random.default_rng([self._seed, int(self._updates)])
        noise = generator.standard_normal((len(mean), self._drawing.members))
        apart = np.linalg.solve(np.linalg.cholesky(precision).T, noise)
        return (mean[:, None] + self._breadth * apart).T.astype(np.float32)


class LinUCB(LinearPolicy):
    """Ranks cards by an upper confidence bound of their reward; only the floor is random.

    A card's score is `x . mean + width * sqrt(x' precision^-1 x)`, with its features x (Li et al. 2010, "A
    Contextual-Bandit Approach to Personalized News Article Recommendation", with parameters shared by all cards).

    Args:
        features: features that the model reads, or the keyword arguments of `Features`.
        slots: number of slots of a slate.
        width: standard deviations above the mean; the alpha of Li et al.
        floor: probability of taking any card at random.
        per_slate: whether a member, or the floor, decides for a whole slate instead of anew in each slot.
        prior_reward: expected reward of a card without outcomes.
        prior_spread: prior standard deviation of each weight.
        noise: standard deviation of a reward around the model; null: it is fitted.
        keep: share of the evidence that is kept at each update.
        shelf: name of the shelf in its slates.
        policy_id: name in the log.
    """

    def __init__(
        self,
        *,
        features: Features | Mapping[str, Any],
        slots: int = 12,
        width: float = 1.0,
        floor: float = 0.05,
        per_slate: bool = False,
        prior_reward: float = 0.01,
        prior_spread: float = 0.1,
        noise: float | None = None,
        keep: float = 1.0,
        shelf: str = "home",
        policy_id: str = "lin-ucb",
    ):
        super().__init__(
            features,
            Drawing(slots=slots, floor=floor, per_slate=per_slate, shelf=shelf),
            {"prior_reward": prior_reward, "prior_spread": prior_spread, "noise": noise, "keep": keep},
            policy_id,
        )
        self._width = width
        self._learned()

    def settings(self) -> dict[str, Any]:
        """Returns the keyword arguments as JSON values, without `members`, which is always 1."""
        shared = {name: value for name, value in super().settings().items() if name != "members"}
        return {**shared, "width": self._width}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores what `state` returned.

        Raises:
            ValueError: an array is missing, or has another shape.
        """
        super().restore(state)
        self._learned()

    def _learned(self) -> None:
        """Keeps the mean, and a matrix that maps features to a vector whose length is their standard deviation."""
        self._mean, precision = self._head.posterior()
        self._root = np.linalg.inv(np.linalg.cholesky(precision)).T

    def _per_card(self) -> int:
        """Returns the number of features: all are built, so as many listeners fit as if each feature were a member."""
        return len(self._features)

    def _scores(self, context: Context, candidates: Candidates) -> Float[np.ndarray, "1 listeners cards"]:
        """Returns the upper confidence bounds."""
        rows = self._features.of_all(context, candidates)
        return (rows @ self._mean + self._width * np.linalg.norm(rows @ self._root, axis=-1))[None]
