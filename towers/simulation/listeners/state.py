"""The state of simulated listeners: memory, tastes, satiation, and position in a session.

The same code updates the state along a real log, for fitting, and along simulated plays.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Integer

from towers.contract.durations import HOUR_US
from towers.simulation.listeners.memory import ContentMemory
from towers.simulation.listeners.session_log import SKIP
from towers.simulation.listeners.space import Space

TASTES: Final = 3
"""Number of separate tastes of a listener, which a single mean would lose."""
_APART: Final = 0.55
"""Cosine to all tastes below which a play opens another taste, while there is room."""
_TASTE_RATE: Final = 0.05
RECENT: Final = 20
"""Number of a listener's latest plays that are remembered one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Speeds at which a listener's tastes move and satiation fades.

    Args:
        slow_rate: share of the slow taste that one play replaces, once there are many plays.
        fast_rate: share of the fast taste that one play replaces.
        skip_weight: weight of a skip relative to a play that was not skipped.
        recovery_hours: hours in which satiation falls to 1/e.
    """

    slow_rate: float = 0.02
    fast_rate: float = 0.2
    skip_weight: float = 0.2
    recovery_hours: float = 1.0


class ListenerState:
    """State of all simulated listeners, a row each.

    Args:
        space: space of the contents.
        num_listeners: number of rows.
        drift: speeds of tastes and satiation.
        places: places of each listener in the memory of contents, a power of two.
    """

    def __init__(self, space: Space, num_listeners: int, drift: Drift, places: int = 512):
        n, dim = num_listeners, space.vectors.shape[1]
        self.space, self.drift = space, drift
        self.memory = ContentMemory(n, places)
        self.slow = np.zeros((n, dim), np.float32)
        self.fast = np.zeros((n, dim), np.float32)
        self.slow_weight = np.zeros(n, np.float32)
        self.tastes = np.zeros((n, TASTES, dim), np.float32)
        self.taste_weight = np.zeros((n, TASTES), np.float32)
        self.session_taste = np.zeros((n, dim), np.float32)
        # The last region counts contents that lie in none.
        self.satiation = np.zeros((n, len(space.region_names) + 1), np.float32)
        self.satiated_us = np.zeros(n, np.int64)
        self.region_plays = np.zeros((n, len(space.region_names) + 1), np.float32)
        self.artists = ContentMemory(n, places)
        self.recent = np.full((n, RECENT), -1, np.int32)
        self.recent_us = np.zeros((n, RECENT), np.int64)
        self.recent_skipped = np.zeros((n, RECENT), bool)
        self.recent_repeated = np.zeros((n, RECENT), bool)
        self.plays = np.zeros(n, np.int32)
        self.skips = np.zeros(n, np.int32)
        self.repeats = np.zeros(n, np.int32)
        self.sessions = np.zeros(n, np.int32)
        self.position = np.zeros(n, np.int32)
        self.streak = np.zeros(n, np.int32)
        self.session_skips = np.zeros(n, np.int32)
        self.context = np.zeros(n, np.int16)
        self.device = np.zeros(n, np.int16)
        self.now_us = np.zeros(n, np.int64)
        self.ended_us = np.zeros(n, np.int64)

    def __len__(self) -> int:
        return len(self.plays)

    def begin_session(
        self,
        rows: Integer[np.ndarray, " some"],
        time_us: Integer[np.ndarray, " some"],
        context: Integer[np.ndarray, " some"],
        device: Integer[np.ndarray, " some"],
    ) -> None:
        """Starts a session of each listener."""
        self.now_us[rows] = time_us
        self.sessions[rows] += 1
        self.position[rows] = 0
        self.streak[rows] = 0
        self.session_skips[rows] = 0
        self.session_taste[rows] = 0.0
        self.context[rows], self.device[rows] = context, device

    def at(self, rows: Integer[np.ndarray, " some"], time_us: Integer[np.ndarray, " some"]) -> None:
        """Moves the clock to `time_us`."""
        self.now_us[rows] = time_us

    def play(
        self,
        rows: Integer[np.ndarray, " some"],
        content: Integer[np.ndarray, " some"],
        outcome: Integer[np.ndarray, " some"],
        fraction: Float[np.ndarray, " some"],
    ) -> None:
        """Lets each of some distinct listeners play a content, from their present time on."""
        space, drift = self.space, self.drift
        is_skip = outcome == SKIP
        # Whether the content is a repeat is looked up before the memory takes it.
        is_repeat = self.memory.places_of(rows, content) >= 0
        self.memory.meet(rows, content, self.now_us[rows], self.sessions[rows], is_skip)
        weight = np.where(is_skip, drift.skip_weight, 1.0).astype(np.float32)
        vectors = space.vectors[content]
        self._move_tastes(rows, vectors, weight)
        self.session_taste[rows] += (vectors - self.session_taste[rows]) / (self.position[rows, None] + 1)
        self._satiate(rows, content, fraction)
        self.region_plays[rows, space.region[content]] += weight
        artist = space.artist[content]
        named = artist >= 0
        self.artists.meet(
            rows[named], artist[named], self.now_us[rows[named]], self.sessions[rows[named]], is_skip[named]
        )
        slot = self.plays[rows] % RECENT
        self.recent[rows, slot], self.recent_us[rows, slot] = content, self.now_us[rows]
        self.recent_skipped[rows, slot] = is_skip
        self.recent_repeated[rows, slot] = is_repeat
        self.plays[rows] += 1
        self.skips[rows] += is_skip
        self.repeats[rows] += is_repeat
        self.position[rows] += 1
        self.session_skips[rows] += is_skip
        self.streak[rows] = np.where(is_skip, self.streak[rows] + 1, 0)
        played_us = (fraction * space.duration_ms[content] * 1000.0).astype(np.int64)
        self.ended_us[rows] = self.now_us[rows] + played_us

    def _move_tastes(
        self,
        rows: Integer[np.ndarray, " some"],
        vectors: Float[np.ndarray, "some dim"],
        weight: Float[np.ndarray, " some"],
    ) -> None:
        # The first plays are averaged, so that a new listener's taste follows them at once.
        self.slow_weight[rows] += weight
        averaged = 1.0 / np.maximum(self.slow_weight[rows], 1.0)
        rate = np.maximum(self.drift.slow_rate, averaged) * weight
        self.slow[rows] += rate[:, None] * (vectors - self.slow[rows])
        rate = np.maximum(self.drift.fast_rate, averaged) * weight
        self.fast[rows] += rate[:, None] * (vectors - self.fast[rows])
        # Online k-means: the nearest taste moves, or a free one is opened.
        tastes, is_open = self.tastes[rows], self.taste_weight[rows] > 0
        lengths = np.maximum(np.linalg.norm(tastes, axis=2), 1e-6)
        likeness = np.where(is_open, np.matmul(tastes, vectors[:, :, None])[..., 0] / lengths, -1.0)
        nearest = likeness.argmax(axis=1)
        opens = ~is_open.all(axis=1) & (likeness.max(axis=1) < _APART)
        nearest = np.where(opens, is_open.argmin(axis=1), nearest)
        self.taste_weight[rows, nearest] += weight
        averaged = 1.0 / np.maximum(self.taste_weight[rows, nearest], 1.0)
        rate = np.maximum(_TASTE_RATE, averaged) * weight
        rate = np.where(opens, 1.0, rate).astype(np.float32)
        self.tastes[rows, nearest] += rate[:, None] * (vectors - self.tastes[rows, nearest])

    def _satiate(
        self,
        rows: Integer[np.ndarray, " some"],
        content: Integer[np.ndarray, " some"],
        fraction: Float[np.ndarray, " some"],
    ) -> None:
        self.satiation[rows] *= self.faded(rows)[:, None]
        self.satiated_us[rows] = self.now_us[rows]
        self.satiation[rows, self.space.region[content]] += fraction

    def faded(self, rows: Integer[np.ndarray, " some"]) -> Float[np.ndarray, " some"]:
        """Returns the share of satiation that is left at the listeners' present time, float32."""
        hours = (self.now_us[rows] - self.satiated_us[rows]) / HOUR_US
        return np.exp(-np.maximum(hours, 0.0) / self.drift.recovery_hours).astype(np.float32)

    def satiation_of(
        self, rows: Integer[np.ndarray, " some"], content: Integer[np.ndarray, "some ..."]
    ) -> Float[np.ndarray, "some ..."]:
        """Returns listeners' satiation with each content's region: faded plays of it; float32."""
        shape = (-1, *[1] * (content.ndim - 1))
        return self.satiation[rows.reshape(shape), self.space.region[content]] * self.faded(rows).reshape(shape)

    def skip_share(self, rows: Integer[np.ndarray, " some"]) -> Float[np.ndarray, " some"]:
        """Returns the skipped share of each listener's plays in the present or last session; 0 without plays."""
        return self.session_skips[rows] / np.maximum(self.position[rows], 1)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns all arrays by name, for `restore`."""
        own = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        for part in _MEMORIES:
            own |= {f"{part}.{name}": value for name, value in getattr(self, part).arrays().items()}
        return own

    def restore(self, arrays: dict[str, Any]) -> None:
        """Restores the result of `arrays`."""
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                value[:] = arrays[name]
        for part in _MEMORIES:
            memory: ContentMemory = getattr(self, part)
            memory.restore({name: arrays[f"{part}.{name}"] for name in memory.arrays()})

    def take(
        self, rows: Integer[np.ndarray, " some"], other: "ListenerState", whose: Integer[np.ndarray, " some"]
    ) -> None:
        """Copies another state's rows `whose` to `rows`; both must have as many places."""
        theirs = other.arrays()
        for name, value in self.arrays().items():
            value[rows] = theirs[name][whose]


_MEMORIES: Final = ("memory", "artists")
