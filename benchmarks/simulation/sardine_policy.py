"""A compact policy for SARDINE: a score that is linear in a few features, slates by Plackett-Luce, REINFORCE.

A slate is chosen slot by slot: the chance of a candidate is the softmax of its score, less a penalty for each item of
its topic that stands in the slate already. Weights and penalty are linear in a context of the listener, so that the
gradient of a slate's log-propensity is exact and cheap: the chosen candidate's features less their mean under the
softmax, times the context.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from benchmarks.simulation.sardine_belief import Belief, ClickModel
from benchmarks.simulation.sardine_world import SILENT_STEPS, Listeners, Seen

FEATURES = ("chance", "relevance", "deviation", "recent", "recent, chance", "last", "last, chance", "in the slate")
"""Features of a candidate: believed chance of a click; expected relevance, and its deviation; clicks of its topic,
recent ones
by the observation and those of the last slate, each alone and times the chance; items of its topic in the slate."""
CONTEXT = ("one", "early", "narrow", "full")
"""Features of a listener: 1; high in the first steps; high where few topics are liked; greatest count of recent
clicks."""
OF_A_TOPIC = 20
"""Candidates of each topic: those of the greatest chance."""
SLOTS = 10
FULL = 5.0
"""Recent clicks at the bound of the observation; only the scale of two features."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Candidates of listeners, with their features."""

    candidates: Int[np.ndarray, "listeners candidates"]
    topics: Int[np.ndarray, "listeners candidates"]
    features: Float[np.ndarray, "listeners candidates features"]
    context: Float[np.ndarray, "listeners context"]


class Agent:
    """Chooses slates by what is believed of each listener.

    Args:
        model: of clicks.
        weights: of features, by context.
        listeners: whose slates are chosen; their items and topics are known, their state is not looked at.
        without: features that are taken for 0.
    """

    def __init__(
        self, model: ClickModel, weights: Float[np.ndarray, "context features"], listeners: Listeners,
        without: tuple[str, ...] = (),
    ):  # fmt: skip
        self._model, self.weights, self.listeners = model, weights, listeners
        self._kept = np.array([name not in without for name in FEATURES], float)
        self._of_topic = [np.flatnonzero(listeners.topics == topic) for topic in range(listeners.items.shape[1])]

    def begin(self, seen: Seen) -> None:
        """New listeners, of whom only their first slate is known."""
        self._belief = Belief(self._model, self.listeners.items, len(seen.slates))
        self._belief.update(seen, np.full(len(seen.slates), SILENT_STEPS))

    def learn(self, seen: Seen, was_since_full: Int[np.ndarray, " listeners"]) -> None:
        """Takes in what became of the last slate."""
        self._belief.update(seen, was_since_full)

    def act(self, seen: Seen) -> Int[np.ndarray, "listeners slate"]:
        """The slates of the greatest score, slot by slot."""
        return self.slates(self.score(seen))[0]

    def score(self, seen: Seen) -> Scored:
        """Candidates and their features; the slate is still empty."""
        relevance, deviation = self._belief.relevance()
        chance = self._belief.chances(relevance, deviation)
        best = [np.argsort(-chance[:, rows], axis=1, kind="stable")[:, :OF_A_TOPIC] for rows in self._of_topic]
        candidates = np.concatenate([rows[places] for rows, places in zip(self._of_topic, best, strict=True)], axis=1)
        topics = self.listeners.topics[candidates]
        last = np.zeros_like(seen.recent)
        np.add.at(last, (np.arange(len(last))[:, None], self.listeners.topics[seen.slates]), seen.clicks)
        chance, relevance, deviation = (
            np.take_along_axis(some, candidates, axis=1) for some in (chance, relevance, deviation)
        )
        recent = FULL * np.take_along_axis(seen.recent, topics, axis=1)
        last = np.take_along_axis(last, topics, axis=1)
        features = np.stack(
            [chance, np.clip(relevance, -1.0, 2.0), deviation, recent, recent * chance, last, last * chance,
             np.zeros_like(chance)], axis=2
        )  # fmt: skip
        liked = np.stack([chance[:, at : at + OF_A_TOPIC] for at in range(0, chance.shape[1], OF_A_TOPIC)], axis=1)
        narrow = 1.0 - np.minimum(liked.mean(axis=2).sum(axis=1), 4.0) / 4.0
        early = np.full(len(narrow), np.exp(-seen.step / 8.0))
        context = np.stack([np.ones(len(narrow)), early, narrow, seen.recent.max(axis=1)], axis=1)
        return Scored(candidates=candidates, topics=topics, features=features * self._kept, context=context)

    def slates(
        self, scored: Scored, rng: np.random.Generator | None = None
    ) -> tuple[Int[np.ndarray, "listeners slate"], Float[np.ndarray, "listeners context features"]]:
        """Slates, drawn or (without a generator) those of the greatest score slot by slot, and the gradient of the
        log-propensity of each by the weights (zeros where nothing is drawn)."""
        number = len(scored.candidates)
        rows = np.arange(number)
        weights = scored.context @ (self.weights * self._kept)
        score = np.einsum("icf,if->ic", scored.features, weights)
        in_slate = np.zeros((number, len(self._of_topic)))
        slates, gradient = np.zeros((number, SLOTS), int), np.zeros((number, len(FEATURES)))
        for slot in range(SLOTS):
            stand = np.take_along_axis(in_slate, scored.topics, axis=1)
            logits = score + weights[:, -1:] * stand
            if rng is None:
                place = logits.argmax(axis=1)
            else:
                place = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
                share = np.exp(logits - logits.max(axis=1, keepdims=True))
                share /= share.sum(axis=1, keepdims=True)
                gradient += scored.features[rows, place] - np.einsum("ic,icf->if", share, scored.features)
                gradient[:, -1] += (stand[rows, place] - (share * stand).sum(axis=1)) * self._kept[-1]
            slates[:, slot] = scored.candidates[rows, place]
            score[rows, place] = -np.inf
            in_slate[rows, scored.topics[rows, place]] += 1.0
        return slates, scored.context[:, :, None] * gradient[:, None, :]


class Reinforce:
    """Raises the weights of slates after which more was clicked than otherwise.

    Each listener plays `copies` episodes at once; what an episode earned from a step on, discounted, counts less the
    mean of the same listener's other episodes. A slate's propensity is exact, each slot's given those before it: no
    correction for its size is needed (that of Chen et al. 2019 is for slots drawn independently).

    Args:
        copies: episodes of each listener in a batch.
        discount: of a step.
        rate: of Adam.
    """

    def __init__(self, copies: int = 4, discount: float = 0.95, rate: float = 0.15):
        self._copies, self._discount, self._rate = copies, discount, rate

    def train(
        self, agent: Agent, first_seed: int, updates: int, rng: np.random.Generator,
        watch: Callable[[int, float], None],
    ) -> None:  # fmt: skip
        """Changes the agent's weights, `watch` is told of every update and its mean clicks."""
        first, second = np.zeros_like(agent.weights), np.zeros_like(agent.weights)
        for update in range(updates):
            total, gradient = self._batch(agent, first_seed + update * len(agent.listeners), rng)
            first = 0.8 * first + 0.2 * gradient
            second = 0.95 * second + 0.05 * gradient**2
            size = np.sqrt(second / (1.0 - 0.95 ** (update + 1)))
            rate = self._rate * (1.0 - update / updates)
            agent.weights = agent.weights + rate * first / (1.0 - 0.8 ** (update + 1)) / (size + 1e-9)
            watch(update, total)

    def _batch(self, agent: Agent, first_seed: int, rng: np.random.Generator) -> tuple[float, np.ndarray]:
        world = agent.listeners
        seeds = first_seed + np.arange(len(world)) // self._copies
        seen, ended = world.reset(seeds), False
        agent.begin(seen)
        rewards, gradients = [], []
        while not ended:
            slates, gradient = agent.slates(agent.score(seen), rng)
            was = seen.since_full
            seen, clicks, ended = world.step(slates)
            agent.learn(seen, was)
            rewards.append(clicks)
            gradients.append(gradient)
        later = np.zeros((len(rewards), len(world)))
        following = np.zeros(len(world))
        for step in reversed(range(len(rewards))):
            following = rewards[step] + self._discount * following
            later[step] = following
        by_listener = later.reshape(len(rewards), -1, self._copies)
        better = (by_listener - by_listener.mean(axis=2, keepdims=True)) * self._copies / (self._copies - 1)
        better = better.reshape(later.shape) / (better.std() + 1e-9)
        mean = np.einsum("ti,ticf->cf", better, np.stack(gradients)) / better.size
        return float(np.sum(rewards) / len(world)), mean
