"""A home page whose truth is known: listeners with tastes, cards, policies with a floor, and logs drawn from them.

A listener streams a card that they look at with a chance of `sigmoid(base + popularity + taste . card + mood)`; the
mood is the listener's own and hidden, so that the requests of a listener are correlated. They look at the first slot,
and at each next one unless they have streamed the card before it and stop, with a chance of a half. Some skip the cards
that they do not stream.

Some cards are new. No listener has played them, so no policy knows their popularity, and all policies know their
vectors from the same source, with the same errors.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.evaluation.off_policy.log import LoggedBandit

STOP, SKIP = 0.5, 0.4
FLOOR = 0.05
KINDS, NEW_SHARE = 3, 0.15
TRUTH_SEED, NEW_SEED = 10_000_019, 10_000_079

Scores = Callable[[Float[np.ndarray, "requests dim"]], Float[np.ndarray, "requests cards"]]


@dataclass(frozen=True, kw_only=True)
class SoftmaxPolicy:
    """Draws cards one slot after the other, without repeats: any card with a chance of the floor, else by softmax.

    Args:
        name: name of the policy.
        scores: scores of all cards for a taste, on the scale of log-probabilities.
        mixed: another policy, used for a slot with the chance `share`.
        share: chance of the other policy.
    """

    name: str
    scores: Scores
    mixed: "SoftmaxPolicy | None" = None
    share: float = 0.0

    def chances(
        self, tastes: Float[np.ndarray, "requests dim"], is_taken: Bool[np.ndarray, "requests cards"]
    ) -> Float[np.ndarray, "requests cards"]:
        """Returns the chance of every card for the next slot, given the cards before it."""
        scores = np.where(is_taken, -np.inf, self.scores(tastes))
        softmax = np.exp(scores - scores.max(axis=1, keepdims=True))
        softmax /= softmax.sum(axis=1, keepdims=True)
        left = ~is_taken
        own = (1 - FLOOR) * softmax + FLOOR * left / left.sum(axis=1, keepdims=True)
        return own if self.mixed is None else (1 - self.share) * own + self.share * self.mixed.chances(tastes, is_taken)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A log with the chances of a new policy, and features of the direct model, for `OffPolicyJudge.judge`."""

    log: LoggedBandit
    features: Float[np.ndarray, "rows features"]
    new_features: Float[np.ndarray, "rows features"]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Expectations of one slate of a policy.

    Args:
        streams: streams, the reward.
        skips: skips.
        new_cards: new cards shown.
        kinds: effective number of kinds: exp of the entropy of exposure over kinds.
    """

    streams: float
    skips: float
    new_cards: float
    kinds: float


@dataclass(frozen=True, kw_only=True)
class World:
    """Cards, and the parameters of listeners' answers to them.

    Args:
        slots: number of slots of a slate.
        base: log-odds of a stream of an average card.
        cards: number of cards.
        dim: dimension of tastes.
        per_listener: requests of a listener in a log.
        seed: seed of the cards.
    """

    slots: int = 1
    base: float = -2.0
    cards: int = 30
    dim: int = 8
    per_listener: int = 5
    seed: int = 0
    vectors: Float[np.ndarray, "cards dim"] = field(init=False)
    popularity: Float[np.ndarray, " cards"] = field(init=False)

    def __post_init__(self):
        generator = np.random.default_rng(self.seed)
        object.__setattr__(self, "vectors", generator.normal(size=(self.cards, self.dim)) / self.dim**0.5)
        object.__setattr__(self, "popularity", generator.normal(scale=0.5, size=self.cards))

    def true_scores(self, tastes: Float[np.ndarray, "requests dim"]) -> Float[np.ndarray, "requests cards"]:
        """Returns the log-odds of a stream, without the mood."""
        return self.base + self.popularity + tastes @ self.vectors.T

    def policy(self, name: str, temper: float, noise: float = 0.0, seed: int = 1) -> SoftmaxPolicy:
        """Makes a policy that knows tastes and cards up to noise.

        Args:
            name: name of the policy.
            temper: factor of the scores; below 0, worse cards are shown more.
            noise: standard deviation of its errors about the cards, relative to that of the cards.
            seed: seed of the noise.
        """
        generator = np.random.default_rng(seed)
        errors = generator.normal(size=self.vectors.shape) / self.dim**0.5
        popularity = self.popularity + noise * generator.normal(scale=0.5, size=self.cards)
        is_new = self.is_new
        popularity[is_new] = 0.0
        errors[is_new] = np.random.default_rng([self.seed, NEW_SEED]).normal(size=errors[is_new].shape) / self.dim**0.5
        vectors = self.vectors + noise * errors
        return SoftmaxPolicy(name=name, scores=lambda tastes: temper * (popularity + tastes @ vectors.T))

    @property
    def is_new(self) -> Bool[np.ndarray, " cards"]:
        """True for cards without listeners so far."""
        return np.arange(self.cards) < NEW_SHARE * self.cards

    def truth(self, policy: SoftmaxPolicy, requests: int = 200_000) -> "Truth":
        """Returns the true expectations of a policy: means over listeners that are in no log.

        All that can be summed exactly is summed: with one slot the cards, otherwise the streams.
        """
        generator = np.random.default_rng(TRUTH_SEED)
        streams = skips = new_cards = 0.0
        by_kind, kinds = np.zeros(KINDS), np.arange(self.cards) % KINDS
        for _ in range(0, requests, 20_000):
            tastes, moods = self._listeners(generator, 20_000)
            odds = 1 / (1 + np.exp(-self.true_scores(tastes) - moods[:, None]))
            is_taken, looks = np.zeros(odds.shape, dtype=bool), np.ones(len(odds))
            for slot in range(self.slots):
                chances = policy.chances(tastes, is_taken)
                streamed = (looks * (chances * odds).sum(axis=1)).sum()
                streams += float(streamed)
                skips += float(SKIP * (looks.sum() - streamed))
                new_cards += float(chances[:, self.is_new].sum())
                by_kind += np.bincount(kinds, chances.sum(axis=0), KINDS)
                draws = generator.random(len(odds))
                if slot + 1 < self.slots:
                    shown = drawn(chances, draws)
                    is_taken[np.arange(len(odds)), shown] = True
                    looks = looks * (1 - STOP * odds[np.arange(len(odds)), shown])
        share, listeners = by_kind / by_kind.sum(), 20_000 * -(-requests // 20_000)
        return Truth(
            streams=streams / listeners, skips=skips / listeners, new_cards=new_cards / listeners,
            kinds=float(np.exp(-(share * np.log(share)).sum())),
        )  # fmt: skip

    def log(self, logged: SoftmaxPolicy, requests: int, seed: int) -> "Log":
        """Simulates what a policy shows to listeners, and what they do."""
        generator = np.random.default_rng([self.seed, seed])
        listeners = np.arange(requests) // self.per_listener
        tastes, moods = self._listeners(generator, int(listeners[-1]) + 1)
        tastes, moods = tastes[listeners], moods[listeners]
        odds = 1 / (1 + np.exp(-self.true_scores(tastes) - moods[:, None]))
        everybody = np.arange(requests)
        shown = np.zeros((requests, self.slots), dtype=np.int64)
        propensities, rewards, skips = (np.zeros(shown.shape) for _ in range(3))
        is_taken, looks = np.zeros(odds.shape, dtype=bool), np.ones(requests, dtype=bool)
        for slot in range(self.slots):
            chances = logged.chances(tastes, is_taken)
            shown[:, slot] = drawn(chances, generator.random(requests))
            propensities[:, slot] = chances[everybody, shown[:, slot]]
            streams = looks & (generator.random(requests) < odds[everybody, shown[:, slot]])
            rewards[:, slot] = streams
            skips[:, slot] = looks & ~streams & (generator.random(requests) < SKIP)
            looks = looks & ~(streams & (generator.random(requests) < STOP))
            is_taken[everybody, shown[:, slot]] = True
        return Log(
            world=self, tastes=tastes, listeners=listeners, shown=shown, propensities=propensities, rewards=rewards,
            skips=skips,
        )  # fmt: skip

    def _listeners(
        self, generator: np.random.Generator, count: int
    ) -> tuple[Float[np.ndarray, "listeners dim"], Float[np.ndarray, " listeners"]]:
        return generator.normal(size=(count, self.dim)), generator.normal(scale=0.5, size=count)


@dataclass(frozen=True, kw_only=True)
class Log:
    """The log of one policy, from which any other is evaluated.

    Args:
        world: that it is of.
        tastes: of each request.
        listeners: of each request.
        shown: cards.
        propensities: of the policy that showed them.
        rewards: streams.
        skips: of what was looked at and not streamed.
    """

    world: World
    tastes: Float[np.ndarray, "requests dim"]
    listeners: Int[np.ndarray, " requests"]
    shown: Int[np.ndarray, "requests slots"]
    propensities: Float[np.ndarray, "requests slots"]
    rewards: Float[np.ndarray, "requests slots"]
    skips: Float[np.ndarray, "requests slots"]

    def judged(self, new: SoftmaxPolicy) -> Judged:
        """The log beside a new policy. Features are the taste, the card, the product of both, and the slot's place."""
        requests, slots = self.shown.shape
        world, everybody = self.world, np.arange(requests)
        chances = np.zeros((requests, slots))
        features, new_features = [], []
        is_taken = np.zeros((requests, world.cards), dtype=bool)
        for slot in range(slots):
            every = new.chances(self.tastes, is_taken)
            shown = self.shown[:, slot]
            chances[:, slot] = every[everybody, shown]
            features.append(self._features(np.eye(world.cards)[shown]))
            new_features.append(self._features(every))
            is_taken[everybody, shown] = True
        log = LoggedBandit(
            requests=np.repeat(everybody, slots),
            listeners=np.repeat(self.listeners, slots),
            slots=np.tile(np.arange(slots), requests),
            propensities=self.propensities.ravel(),
            new_propensities=np.minimum(chances.ravel(), 1.0),
            rewards=self.rewards.ravel(),
            guards={
                "skips": self.skips.ravel(),
                "new_cards": world.is_new[self.shown.ravel()].astype(float),
            },
            kinds=self.shown.ravel() % KINDS,
        )
        stacked = [np.stack(each, axis=1).reshape(requests * slots, -1) for each in (features, new_features)]
        return Judged(log=log, features=stacked[0], new_features=stacked[1])

    def _features(self, chances: Float[np.ndarray, "requests cards"]) -> Float[np.ndarray, "requests features"]:
        """The mean over cards, each by its chance."""
        return np.concatenate([self.tastes, chances, self.tastes * (chances @ self.world.vectors)], axis=1)


def drawn(
    chances: Float[np.ndarray, "requests cards"], draws: Float[np.ndarray, " requests"]
) -> Int[np.ndarray, " requests"]:
    """The card that a number from 0 to 1 falls on."""
    sums = np.cumsum(chances, axis=1)
    return np.minimum((sums < draws[:, None] * sums[:, -1:]).sum(axis=1), chances.shape[1] - 1)
