"""Contents and listeners with invented features, as an agent reads them."""

from dataclasses import dataclass, field

import numpy as np

from towers.policies.agent.features import CONTEXT, FEATURES, Seen
from towers.policies.agent.policy import AgentPolicy
from towers.policies.agent.slates import Penalties

CONTENTS, CANDIDATES, RECENT, DIM = 30, 12, 6, 4


def _vectors() -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(CONTENTS, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class Invented:
    """Contents of three regions, and some of none; each artist has two pieces."""

    vectors: np.ndarray = field(default_factory=_vectors)
    region: np.ndarray = field(default_factory=lambda: np.arange(CONTENTS) % 4 - 1)
    region_names: tuple[str, ...] = ("a", "b", "c")
    artist: np.ndarray = field(default_factory=lambda: np.arange(CONTENTS) // 2)
    plays: np.ndarray = field(default_factory=lambda: np.arange(CONTENTS, dtype=float))
    released_us: np.ndarray = field(default_factory=lambda: np.arange(CONTENTS) * 86_400_000_000)


def listeners(number: int, seed: int = 0) -> Seen:
    """Returns listeners with some candidates each; the last place of the first one is empty."""
    rng = np.random.default_rng(seed)
    candidates = np.stack([rng.permutation(CONTENTS)[:CANDIDATES] for _ in range(number)]).astype(np.int32)
    candidates[0, -1] = -1
    shape = number, CANDIDATES
    heard = rng.integers(0, 6, shape).astype(np.int32)
    recent = rng.integers(0, CONTENTS, (number, RECENT)).astype(np.int32)
    recent[0, 3:] = -1
    taste = rng.normal(size=(number, DIM)).astype(np.float32)
    return {
        "recent": recent, "recent_skipped": rng.integers(0, 2, recent.shape).astype(np.int8),
        "recent_hours": np.where(recent < 0, -1.0, np.sort(rng.exponential(3.0, recent.shape))).astype(np.float32),
        "taste": taste / np.linalg.norm(taste, axis=1, keepdims=True), "candidates": candidates,
        "candidate_plays": rng.integers(0, 4, shape).astype(np.int32), "candidate_artist_plays": heard,
        "candidate_artist_days": np.where(heard > 0, rng.exponential(2.0, shape), -1.0).astype(np.float32),
        "candidate_age_days": rng.exponential(30.0, shape).astype(np.float32),
        "position": rng.integers(0, 9, number).astype(np.float32),
        "plays": rng.integers(0, 90, number).astype(np.float32),
    }  # fmt: skip


def agent(seed: int = 0) -> AgentPolicy:
    """Returns an agent that scores the contents, and penalises likeness to those that are in the slate already."""
    weights = np.random.default_rng(seed).normal(size=(len(CONTEXT), len(FEATURES)))
    return AgentPolicy(contents=Invented(), weights=weights, penalties=Penalties(artist=0.7, region=0.3), slots=4)
