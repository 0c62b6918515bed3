"""SARDINE's `SlateTopK-Bored` as a batch of listeners, and what a recommender may know of them.

A listener is shown ten of 1,000 items a step for 100 steps and clicks some of them. An item is a vector of ten topics
and has a main topic, its greatest component; both are known to all recommenders, as SARDINE's own `TopK` wrapper with
`embeddings="ideal"` has it. What an observation tells of a listener is the last slate, its clicks, and by topic how
many of the recent clicks were of it, as a share of the number that bores. The taste, and whether the listener is bored,
are hidden; `Truth` holds them for policies that only show what could be reached.
"""

import sys
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
from jaxtyping import Float, Int

from benchmarks.apart import SARDINE

NAME = "sardine/SlateTopK-Bored-v0"
SILENT_STEPS = 8
"""Number of the steps since a topic's recent clicks were at their bound, those that are told apart."""


def has_sardine() -> bool:
    """Returns whether SARDINE is installed: its own environment's packages are searched after ours, and it is Python
    alone."""
    found = sorted(SARDINE.folder.glob("lib/python*/site-packages"))
    sys.path.extend(str(path) for path in found if str(path) not in sys.path)
    try:
        import sardine  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        return False
    gymnasium.register_envs(sardine)
    return True


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is known of each listener before a slate is chosen: the observation.

    Args:
        slates: the last slate, rows of items.
        clicks: whether each of it was clicked.
        recent: by topic, recent clicks as a share of the number that bores, at most 1.
        since_full: steps since `recent` was 1 for any topic, at most `SILENT_STEPS`.
        step: slates chosen so far; the first slate is SARDINE's own, of random items.
    """

    slates: Int[np.ndarray, "listeners slate"]
    clicks: Int[np.ndarray, "listeners slate"]
    recent: Float[np.ndarray, "listeners topics"]
    since_full: Int[np.ndarray, " listeners"]
    step: int


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The hidden state, which no recommender knows.

    Args:
        chances: of a click of each item where it is looked at, while the listener is not bored.
        kept: topics of the clicks that still count for boredom after the next step, oldest first, -1 before them.
        slots: chance that a slot is looked at.
        bound: clicks of a topic among those kept that bore.
    """

    chances: Float[np.ndarray, "listeners items"]
    kept: Int[np.ndarray, "listeners clicks"]
    slots: Float[np.ndarray, " slots"]
    bound: int


class Policy(Protocol):
    """Chooses slates."""

    def begin(self, seen: Seen) -> None:
        """New listeners, of whom only their first slate is known."""
        ...

    def act(self, seen: Seen) -> Int[np.ndarray, "listeners slate"]:
        """Slates of rows of items."""
        ...

    def learn(self, seen: Seen, was_since_full: Int[np.ndarray, " listeners"]) -> None:
        """Takes in what became of the last slate; `since_full` as it was before it."""
        ...


class Listeners:
    """Listeners who step together, each an environment of its own.

    Args:
        number: of listeners.
    """

    def __init__(self, number: int):
        self._envs: list[Any] = [gymnasium.make(NAME, disable_env_checker=True).unwrapped for _ in range(number)]
        self.items: Float[np.ndarray, "items topics"] = self._envs[0].item_embedd
        self.topics: Int[np.ndarray, " items"] = self.items.argmax(axis=1)

    def __len__(self) -> int:
        return len(self._envs)

    def reset(self, seeds: Int[np.ndarray, " listeners"]) -> Seen:
        """Other listeners: those of the seeds."""
        self._seen = [env.reset(seed=int(seed))[0] for env, seed in zip(self._envs, seeds, strict=True)]
        self._since_full, self._step = np.full(len(self), SILENT_STEPS), 0
        return self._observed()

    def step(self, slates: Int[np.ndarray, "listeners slate"]) -> tuple[Seen, Float[np.ndarray, " listeners"], bool]:
        """Returns what is seen after a slate, the clicks of it, and whether the episodes are at their end."""
        clicks, ended = np.zeros(len(self)), False
        for row, (env, slate) in enumerate(zip(self._envs, slates, strict=True)):
            self._seen[row], clicks[row], ended, _, _ = env.step(slate)
        self._step += 1
        return self._observed(), clicks, ended

    def truth(self) -> Truth:
        """The hidden state of each."""
        first = self._envs[0]
        tastes = np.stack([env.user_embedd for env in self._envs])
        chances = 1.0 / (1.0 + np.exp(-(tastes @ self.items.T / first.max_score - first.offset) * first.slope))
        kept = np.full((len(self), first.recent_items_maxlen), -1)
        for row, env in enumerate(self._envs):
            recent = [
                topic
                for topic, step in zip(env.clicked_item_topics, env.clicked_step, strict=True)
                if step > env.t - env.boredom_moving_window
            ]
            kept[row, kept.shape[1] - len(recent) :] = recent
        return Truth(chances=chances, kept=kept, slots=first.propensities, bound=first.boredom_thresh)

    def _observed(self) -> Seen:
        slates, clicks, recent = (np.stack([seen[key] for seen in self._seen]) for key in ("slate", "clicks", "hist"))
        is_full = recent.max(axis=1) >= 1.0
        self._since_full = np.where(is_full, 0, np.minimum(self._since_full + 1, SILENT_STEPS))
        return Seen(slates=slates, clicks=clicks, recent=recent.astype(float), since_full=self._since_full.copy(),
                    step=self._step)  # fmt: skip


def of_most(
    score: Float[np.ndarray, "listeners items"], topics: Int[np.ndarray, " items"], most: int, penalty: float = 0.0,
    size: int = 10,
) -> Int[np.ndarray, "listeners slate"]:  # fmt: skip
    """Slates of the greatest score slot by slot, at most some items of a topic, each later one of it less a penalty."""
    rows, score = np.arange(len(score)), score.copy()
    slates, in_slate = np.zeros((len(score), size), int), np.zeros((len(score), topics.max() + 1))
    for slot in range(size):
        stand = in_slate[:, topics]
        item = np.where(stand < most, score - penalty * stand, -np.inf).argmax(axis=1)
        slates[:, slot] = item
        score[rows, item] = -np.inf
        in_slate[rows, topics[item]] += 1
    return slates


def played(
    policy: Policy, listeners: Listeners, seeds: Int[np.ndarray, " listeners"]
) -> Float[np.ndarray, " listeners"]:
    """Clicks of an episode of each listener."""
    seen, ended = listeners.reset(seeds), False
    policy.begin(seen)
    total = np.zeros(len(listeners))
    while not ended:
        was = seen.since_full
        seen, clicks, ended = listeners.step(policy.act(seen))
        policy.learn(seen, was)
        total += clicks
    return total
