"""Linear models of the reward, shared by all cards: Thompson sampling and LinUCB.

What a card earns is `features(listener, card) . theta`, with one theta for all cards, so that a card that has only just
come is scored by what others taught. The posterior of theta is Gaussian, from sums over outcomes (Bayesian linear
regression; for bandits Agrawal and Goyal 2013, Li et al. 2010, the shared part of their hybrid model).

Neural-linear (Riquelme, Tucker and Snoek 2018) is such a model over what a network's last layer says of an action in a
context. The towers end in an inner product, so their vectors' product, element by element, is that layer:
`LinearThompson` over `Features` of a space's vectors is neural-linear. Without `has_products` it reads the inner
product, kinds, times and pairs alone, and is the plain linear model.
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
"""Rounds of fitting the noise to the model and the model to the noise."""
LEAST_NOISE = 1e-3


class Head:
    """The posterior of theta: Gaussian, from sums over outcomes that fade.

    Args:
        features: number of them; the last is always 1.
        prior_reward: of a card of which nothing is known; a low one is pessimistic.
        prior_spread: standard deviation of each weight beforehand.
        noise: standard deviation of a reward around the model; null: it is fitted.
        keep: share of the sums that an update leaves of the earlier ones.
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
        """Of outcomes, and of their squared rewards."""

    def learn(self, rows: Float[np.ndarray, "rows features"], rewards: Float[np.ndarray, " rows"]) -> None:
        """Adds a batch; the sums are new arrays."""
        self.products = self._keep * self.products + rows.T @ rows
        self.rewards = self._keep * self.rewards + rows.T @ rewards
        self.sums = self._keep * self.sums + np.array([len(rewards), rewards @ rewards])

    def posterior(self) -> tuple[Float[np.ndarray, " features"], Float[np.ndarray, "features features"]]:
        """Mean and precision."""
        mean, precision = self._under(self._variance)
        for _ in range(NOISE_STEPS if self._is_fitted and self.sums[0] > len(mean) else 0):
            left = self.sums[1] - 2 * mean @ self.rewards + mean @ self.products @ mean
            mean, precision = self._under(max(float(left / self.sums[0]), LEAST_NOISE**2))
        return mean, precision

    def _under(self, variance: float) -> tuple[Float[np.ndarray, " features"], Float[np.ndarray, "features features"]]:
        """The posterior for a variance of the noise."""
        precision = self._precision + self.products / variance
        return np.linalg.solve(precision, self._precision @ self._prior + self.rewards / variance), precision

    def state(self) -> dict[str, np.ndarray]:
        """The sums, by name."""
        return {"products": self.products, "rewards": self.rewards, "sums": self.sums}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes the sums.

        Raises:
            ValueError: one is missing, or has another shape.
        """
        told = [taken(state, name, array.shape) for name, array in self.state().items()]
        self.products, self.rewards, self.sums = told


class LinearPolicy(ABC):
    """What the policies below have in common: features, a posterior, and slates drawn by scores.

    Args:
        features: what the model reads, or the keywords of `Features`.
        drawing: how slates are drawn.
        prior: keywords of `Head`, but for the number of features.
        policy_id: in the log.
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
        """The keywords that both have, as JSON has them."""
        told = {"features": self._features.settings(), **self._drawing.settings(), **self._prior}
        return {**told, "policy_id": self.policy_id}

    def select(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        """One slate for each listener.

        Raises:
            ValueError: vectors of another width, or a pair that is missing.
        """
        return chosen(self._drawing, self._scores, context, candidates, generator, per_card=self._per_card())

    def chances(
        self, context: Context, candidates: Candidates, shown: Int[np.ndarray, "listeners slots"]
    ) -> Float[np.ndarray, "listeners slots cards"]:
        """The chance of each candidate for each slot, given what is shown in the slots before."""
        return chances_by(self._drawing, self._scores, context, candidates, shown, per_card=self._per_card())

    def update(self, outcomes: Outcomes) -> None:
        """Learns from the slots that were seen."""
        seen = outcomes.of(outcomes.is_seen)
        if len(seen):
            self._head.learn(self._features.rows(seen), seen.rewards)
            self._learned()

    def expected(self, outcomes: Outcomes) -> Float[np.ndarray, " rows"]:
        """The reward of each row by the mean of theta, cut to [0, 1]; in whichever slot."""
        return (self._features.rows(outcomes) @ self._head.posterior()[0]).clip(0, 1)

    def state(self) -> dict[str, np.ndarray]:
        """The sums."""
        return self._head.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes what `state` gave.

        Raises:
            ValueError: an array is missing, or has another shape.
        """
        self._head.restore(state)

    @abstractmethod
    def _learned(self) -> None:
        """Makes from the posterior what is scored by, after an update."""

    @abstractmethod
    def _scores(self, context: Context, candidates: Candidates) -> Float[np.ndarray, "members listeners cards"]:
        """What each member thinks of each card; higher is better."""

    def _per_card(self) -> int:
        """Numbers that are held at once for a listener and a card."""
        return self._drawing.members


class LinearThompson(LinearPolicy):
    """Linear Thompson sampling: members are draws of theta, made anew after each update from a seed in the state.

    Args:
        features: what the model reads, or the keywords of `Features`.
        slots: of a slate.
        members: draws of the posterior; more are nearer to a draw for every request.
        floor: chance of any card.
        per_slate: whether a member, or the floor, decides for a whole slate and not in each slot anew.
        breadth: factor on the standard deviations of the draws; below 1 less is tried.
        prior_reward: of a card of which nothing is known.
        prior_spread: standard deviation of each weight beforehand.
        noise: standard deviation of a reward around the model; null: it is fitted.
        keep: share of what was learned that an update leaves.
        seed: of the draws.
        shelf: of the slates.
        policy_id: in the log.
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
        """The keywords, as JSON has them."""
        return {**super().settings(), "breadth": self._breadth, "seed": self._seed}

    def state(self) -> dict[str, np.ndarray]:
        """The sums, how many updates there were, and the draws."""
        return {**super().state(), "updates": self._updates, "thetas": self._thetas}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes what `state` gave.

        Raises:
            ValueError: an array is missing, or has another shape.
        """
        updates, thetas = taken(state, "updates", ()), taken(state, "thetas", self._thetas.shape)
        super().restore(state)
        self._updates, self._thetas = updates, thetas

    def _learned(self) -> None:
        """Draws anew."""
        self._updates = self._updates + 1
        self._thetas = self._drawn()

    def _scores(self, context: Context, candidates: Candidates) -> Float[np.ndarray, "members listeners cards"]:
        """What each draw expects."""
        return self._features.scores(self._thetas, context, candidates)

    def _drawn(self) -> Float[np.ndarray, "members features"]:
        """Draws of the posterior, the same for the same seed and number of updates; in single precision, for speed."""
        mean, precision = self._head.posterior()
        generator = np.random.default_rng([self._seed, int(self._updates)])
        noise = generator.standard_normal((len(mean), self._drawing.members))
        apart = np.linalg.solve(np.linalg.cholesky(precision).T, noise)
        return (mean[:, None] + self._breadth * apart).T.astype(np.float32)


class LinUCB(LinearPolicy):
    """Ranks cards by the upper end of an interval of their reward; nothing is drawn but the floor.

    A card's score is `x . mean + width * sqrt(x' precision^-1 x)`, with its features x (Li et al. 2010, "A
    Contextual-Bandit Approach to Personalized News Article Recommendation", with parameters shared by all cards).

    Args:
        features: what the model reads, or the keywords of `Features`.
        slots: of a slate.
        width: standard deviations above the mean; their alpha.
        floor: chance of any card.
        per_slate: whether a member, or the floor, decides for a whole slate and not in each slot anew.
        prior_reward: of a card of which nothing is known.
        prior_spread: standard deviation of each weight beforehand.
        noise: standard deviation of a reward around the model; null: it is fitted.
        keep: share of what was learned that an update leaves.
        shelf: of the slates.
        policy_id: in the log.
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
        """The keywords, as JSON has them; it has one member."""
        shared = {name: value for name, value in super().settings().items() if name != "members"}
        return {**shared, "width": self._width}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes what `state` gave.

        Raises:
            ValueError: an array is missing, or has another shape.
        """
        super().restore(state)
        self._learned()

    def _learned(self) -> None:
        """Keeps the mean, and what features are multiplied by for a vector as long as their standard deviation."""
        self._mean, precision = self._head.posterior()
        self._root = np.linalg.inv(np.linalg.cholesky(precision)).T

    def _per_card(self) -> int:
        """All features are made, so as many listeners are taken at once as if each feature were a member."""
        return len(self._features)

    def _scores(self, context: Context, candidates: Candidates) -> Float[np.ndarray, "1 listeners cards"]:
        """The upper ends."""
        rows = self._features.of_all(context, candidates)
        return (rows @ self._mean + self._width * np.linalg.norm(rows @ self._root, axis=-1))[None]
