"""What a simulated listener can listen to: the contents of an export, as the simulator reads them."""

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
    """The contents, one row each, with their places in the space.

    Args:
        space_id: of the export; vectors of equal space_id may be compared.
        content_ids: raw ids.
        vectors: `[contents, dim]`, float32, unit length.
        region: `[contents]`, the named region each lies in; -1 where it is in none.
        region_names: a name for each region.
        artist: `[contents]`, code of the first artist; -1 where it is not known.
        duration_ms: `[contents]`, float64, of the whole content; the median of the others where it is not known.
        released_us: `[contents]`, int64, microseconds since 1970 of its release; the least number where
            it is not known.
        kind: `[contents]`, code in `kinds`.
        kinds: names such as `track`.
        is_playable: `[contents]`, whether it may be listened to at all (artists and playlists may not).
        plays: `[contents]`, float64, how often listeners of the fit played it; zeros before a fit.
        days: `[contents]`, float64, days of the fit's log on which it was there to be played; null: the same for all.
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
        """Logarithm of a content's plays a day over the mean of all that can be played, float32; the mean is what is
        known of a release, and plays move it."""
        shape, rate, mean = self._popularity
        return np.log(shape / rate / mean).astype(np.float32)

    def drawn(self, rng: np.random.Generator) -> "Space":
        """The same contents with popularities that are as likely: those of new releases differ as widely as all do."""
        shape, rate, mean = self._popularity
        drawn = np.maximum(rng.gamma(shape) / rate / mean, _LEAST)
        return self.with_log_popularity(np.log(drawn).astype(np.float32))

    def with_log_popularity(self, log_popularity: Float[np.ndarray, " contents"]) -> "Space":
        """The same contents with popularities that are given."""
        copy = replace(self)
        copy.__dict__["log_popularity"] = log_popularity
        return copy

    @cached_property
    def _popularity(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Shape and rate of the gamma distribution of each content's plays a day, and the mean of all."""
        days = np.ones(len(self)) if self.days is None else self.days
        there = self.is_playable & (days > 0)
        mean = (float(self.plays[there].sum()) + 1e-9) / max(float(days[there].sum()), 1e-9)
        shape = gamma_shape(self.plays[there], days[there] * mean, np.ones(int(there.sum()))) if there.any() else 1.0
        return shape + self.plays, shape / mean + days, mean

    @cached_property
    def duration_group(self) -> Int[np.ndarray, " contents"]:
        """A group of contents of like length, from 0 to `DURATION_GROUPS - 1`, the longest last and finely divided."""
        played = np.repeat(self.duration_ms, np.minimum(self.plays, 1_000).astype(int))
        edges = np.quantile(played if len(played) else self.duration_ms, _DURATION_STEPS)
        return np.searchsorted(edges, self.duration_ms, "right")

    def counted(
        self,
        content: Int[np.ndarray, " plays"],
        begin_us: int,
        until_us: int,
    ) -> "Space":
        """The same contents with the numbers of plays of a log.

        Args:
            content: row of each play's content.
            begin_us: when the log begins, microseconds since 1970.
            until_us: when it ends.
        """
        days = np.clip((until_us - np.maximum(self.released_us, begin_us)) / DAY_US, 0.0, None)
        return replace(self, plays=np.bincount(content, minlength=len(self)).astype(float), days=days)
