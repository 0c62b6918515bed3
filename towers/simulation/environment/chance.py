"""The calibrated chance that a shown content is picked and not skipped, from what a service knows."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from towers.simulation.environment.observation import MOMENT, Observation
from towers.simulation.listeners.logistic import MixedLogistic, sigmoid
from towers.simulation.listeners.space import Space

READS: Final = (
    "affinity", "affinity_squared", "nearest_recent", "last_affinity", "is_known", "known_plays", "artist_known",
    "artist_plays", "was_recent", "was_recently_skipped", "popularity", "popular_and_near", "novelty", "first_play",
    "known_and_first", "known_and_near",
)  # fmt: skip
"""Features of the chance; all are counted from what was served, none from a listener's hidden state."""
_LAST: Final = 3
_NEW_DAYS: Final = 14.0
_BLOCK: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickChance:
    """The chance that a candidate on a slate is picked and then not skipped.

    Args:
        logistic: logistic regression on `READS`.
    """

    logistic: MixedLogistic

    def of(self, space: Space, seen: Observation) -> Float[np.ndarray, "listeners candidates"]:
        """Returns the chance of each candidate for an average listener, 0 for empty places."""
        found = np.empty(seen["candidates"].shape, np.float32)
        for begin in range(0, len(found), _BLOCK):
            at = slice(begin, begin + _BLOCK)
            read = read_candidates(space, {name: column[at] for name, column in seen.items()})
            found[at] = sigmoid(self.logistic.log_odds(read))
        return np.where(seen["candidates"] >= 0, found, 0.0)


def read_candidates(space: Space, seen: Observation) -> Float[np.ndarray, "listeners candidates reads"]:
    """Returns the features of each listener's candidates, float32; see `READS`."""
    found = np.empty((*seen["candidates"].shape, len(READS)), np.float32)
    put = {name: found[..., place] for place, name in enumerate(READS)}
    there = np.maximum(seen["candidates"], 0)
    vectors = space.vectors[there]
    recent, is_there = np.maximum(seen["recent"], 0), seen["recent"] >= 0
    put["affinity"][:] = np.matmul(vectors, seen["taste"][..., None])[..., 0]
    put["affinity_squared"][:] = put["affinity"] ** 2
    likeness = np.matmul(vectors, space.vectors[recent].transpose(0, 2, 1))
    put["nearest_recent"][:] = np.where(is_there[:, None], likeness, 0.0).max(axis=-1)
    last = is_there[:, None, :_LAST]
    put["last_affinity"][:] = (likeness[..., :_LAST] * last).sum(axis=-1) / np.maximum(last.sum(axis=-1), 1)
    same = (there[..., None] == recent[:, None]) & is_there[:, None]
    put["is_known"][:] = seen["candidate_plays"] > 0
    put["known_plays"][:] = np.log1p(seen["candidate_plays"])
    put["artist_known"][:] = seen["candidate_artist_plays"] > 0
    put["artist_plays"][:] = np.log1p(seen["candidate_artist_plays"])
    put["was_recent"][:] = same.any(axis=-1)
    put["was_recently_skipped"][:] = (same & (seen["recent_skipped"] > 0)[:, None]).any(axis=-1)
    put["popularity"][:] = np.log1p(space.plays)[there]
    put["popular_and_near"][:] = put["popularity"] * put["affinity"]
    put["novelty"][:] = np.exp(-np.maximum(seen["candidate_age_days"], 0.0) / _NEW_DAYS)
    put["first_play"][:] = seen["moment"][:, MOMENT.index("position"), None] == 0
    put["known_and_first"][:] = put["is_known"] * put["first_play"]
    put["known_and_near"][:] = put["is_known"] * put["affinity"]
    return found
