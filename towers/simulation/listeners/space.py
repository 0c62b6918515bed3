"""The contents of an export as a simulator of listeners reads them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.contract.durations import DAY_US
from towers.simulation.listeners.frailty import gamma_shape

_LEAST = 1e-4
_DURATION_STEPS = (0.1, 0.25, 0.5, 0.75, 0.85, 0.9, 0.93, 0.96, 0.98)
DURATION_GROUPS = len(_DURATION_STEPS) + 1


@dataclass(frozen=True, slots=False, kw_only=True)
class Space:
    """Contents, one row each, with their vectors and properties.

    Args:
        space_id: space_id of the export; vectors with equal space_id are comparable.
        content_ids: raw ids.
        vectors: `[contents, dim]`, float32, unit length.
        region: `[contents]`, named region of each; -1 for none.
        region_names: names of the regions.
        artist: `[contents]`, code of the first artist; -1 where unknown.
        duration_ms: `[contents]`, float64, length of the whole content; the median of the others where unknown.
        released_us: `[contents]`, int64, release in microseconds since 1970; the least integer where unknown.
        kind: `[contents]`, code in `kinds`.
        kinds: names of kinds, such as `track`.
        is_playable: `[contents]`, whether it can be listened to (artists and playlists cannot).
        plays: `[contents]`, float64, plays by listeners of the fit; zeros before a fit.
        days: `[contents]`, float64, days of the fit's log on which the content existed; null: the same for all.
    """

    space_id: str
    content_ids: Sequence[str]
    vectors: Float[np.ndarray, "contents dim"]
    region: Int[np.ndarray, " contents"]
    region_names: tuple[str, ...]
    artist: Int[np.ndarray, " contents"]
    duration_ms: Float[np.ndarray, " contents"]
    released_us: Int[np.ndarray, " contents"]
    kind: Int[np.ndarray, " contents"]
    kinds: tuple[str, ...]
    is_playable: Bool[np.ndarray, " contents"]
    plays: Float[np.ndarray, " contents"]
    days: Float[np.ndarray, " contents"] | None = None

    def __len__(self) -> int:
        return len(self.content_ids)

    @cached_property
    def log_popularity(self) -> Float[np.ndarray, " contents"]:
        """Logarithm of a content's plays a day over the mean of all playable contents, float32; a gamma posterior mean,
        which is the overall mean for a content without plays."""
        shape, rate, mean = self._popularity
        return np.log(shape / rate / mean).astype(np.float32)

    def drawn(self, rng: np.random.Generator) -> "Space":
        """Returns the contents with popularities drawn from their posteriors; for new releases that is the prior."""
        shape, rate, mean = self._popularity
        drawn = np.maximum(rng.gamma(shape) / rate / mean, _LEAST)
        return self.with_log_popularity(np.log(drawn).astype(np.float32))

    def with_log_popularity(self, log_popularity: Float[np.ndarray, " contents"]) -> "Space":
        """Returns the contents with the given popularities."""
        copy = replace(self)
        copy.__dict__["log_popularity"] = log_popularity
        return copy

    @cached_property
    def _popularity(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Shape and rate of the gamma posterior of each content's plays a day, and the mean of all contents."""
        days = np.ones(len(self)) if self.days is None else self.days
        there = self.is_playable & (days > 0)
        mean = (float(self.plays[there].sum()) + 1e-9) / max(float(days[there].sum()), 1e-9)
        shape = gamma_shape(self.plays[there], days[there] * mean, np.ones(int(there.sum()))) if there.any() else 1.0
        return shape + self.plays, shape / mean + days, mean

    @cached_property
    def duration_group(self) -> Int[np.ndarray, " contents"]:
        """Group of contents of similar length, 0 to `DURATION_GROUPS - 1`, the longest last and finely divided."""
        played = np.repeat(self.duration_ms, np.minimum(self.plays, 1_000).astype(int))
        edges = np.quantile(played if len(played) else self.duration_ms, _DURATION_STEPS)
        return np.searchsorted(edges, self.duration_ms, "right")

    def counted(
        self,
        content: Int[np.ndarray, " plays"],
        begin_us: int,
        until_us: int,
    ) -> "Space":
        """Returns the contents with the numbers of plays of a log.

        Args:
            content: row of each play's content.
            begin_us: start of the log, microseconds since 1970.
            until_us: end of the log.
        """
        days = np.clip((until_us - np.maximum(self.released_us, begin_us)) / DAY_US, 0.0, None)
        return replace(self, plays=np.bincount(content, minlength=len(self)).astype(float), days=days)
