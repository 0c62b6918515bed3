"""Contents and listeners that an agent meets, invented."""

from dataclasses import dataclass, field

import numpy as np

from towers.policies.agent.policy import AgentPolicy, no_weights
from towers.policies.agent.slates import Penalties

CONTENTS, LISTENERS, CANDIDATES, RECENT, SLOTS = 30, 5, 12, 8, 4
NOW_US = 20_000 * 86_400_000_000


def _unit(rng, *shape):
    vectors = rng.normal(size=shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@dataclass
class Catalogue:
    """Contents of three regions and six artists."""

    vectors: np.ndarray = field(default_factory=lambda: _unit(np.random.default_rng(0), CONTENTS, 6))
    region: np.ndarray = field(default_factory=lambda: np.arange(CONTENTS) % 4 - 1)
    region_names: tuple[str, ...] = ("slow", "fast", "loud")
    artist: np.ndarray = field(default_factory=lambda: np.arange(CONTENTS) % 6)
    plays: np.ndarray = field(default_factory=lambda: np.arange(CONTENTS, dtype=float) ** 2)
    released_us: np.ndarray = field(default_factory=lambda: NOW_US - np.arange(CONTENTS) * 86_400_000_000)


def met():
    """What is known of some listeners; the last candidate of the first one is missing."""
    rng = np.random.default_rng(4)
    candidates = np.stack([rng.permutation(CONTENTS)[:CANDIDATES] for _ in range(LISTENERS)]).astype(np.int32)
    candidates[0, -1] = -1
    shape = LISTENERS, CANDIDATES
    return {
        "recent": rng.integers(-1, CONTENTS, (LISTENERS, RECENT)).astype(np.int32),
        "recent_skipped": rng.integers(2, size=(LISTENERS, RECENT)).astype(np.int8),
        "recent_hours": rng.random((LISTENERS, RECENT)).astype(np.float32) * 5,
        "taste": _unit(rng, LISTENERS, 6), "candidates": candidates,
        "candidate_plays": rng.integers(3, size=shape).astype(np.int32),
        "candidate_artist_plays": rng.integers(6, size=shape).astype(np.int32),
        "candidate_artist_days": rng.random(shape).astype(np.float32) * 9,
        "candidate_age_days": rng.random(shape).astype(np.float32) * 90,
        "moment": rng.random((LISTENERS, 10)).astype(np.float32) * 9,
        "position": np.arange(LISTENERS), "plays": np.arange(LISTENERS) * 9, "now_us": np.full(LISTENERS, NOW_US),
    }  # fmt: skip


def agent(weights=None):
    """Scores the contents, and has something against what stands in the slate already."""
    return AgentPolicy(
        contents=Catalogue(), weights=no_weights() if weights is None else weights,
        penalties=Penalties(artist=0.7, region=0.3), slots=SLOTS,
    )  # fmt: skip
