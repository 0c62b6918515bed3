"""Features that an agent reads of a listener and each candidate: numbers that a service can count from its own log."""

from collections.abc import Mapping
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, Shaped

FEATURES: Final = (
    "chance", "long_term", "relevance", "nearest_recent", "last_relevance", "satiation", "familiarity",
    "is_known", "artist_familiarity", "new_artist", "tried_artist", "region_share", "popularity", "newness", "recent",
)  # fmt: skip
"""Features of a listener and a candidate, by name: probability that it is streamed once it is picked (0 while no model
of it is given); that probability times what a stream is worth later; cosine to the mean of what was streamed lately, to
the nearest of the recent plays, and mean cosine to the last three; faded plays of its region; log(1 + plays) of the
content; whether it was ever played; log(1 + plays) of its artist; whether the artist is unknown to the listener;
whether the artist was met on an earlier day and played at most `TRIED_PLAYS` times; share of the recent plays in its
region; standardised log(1 + plays) of the content by all listeners; how new the release is, 1 falling to 1/e in
`NEW_DAYS`; whether it is among the recent plays."""
CONTEXT: Final = ("always", "early", "skipping", "new_listener")
"""Features of a listener, by name: constant 1; how early it is in the session, 1 falling to 1/e in four plays; share of
the last five plays that were skipped; how new the listener is, 1 falling to 1/e in 20 plays."""
TRIED_PLAYS: Final = 3
NEW_DAYS: Final = 14.0
_SKIP_SATIATES: Final = 0.1
_TRIED_AFTER_DAYS: Final = 0.25
_LAST: Final = 3
_BLOCK: Final = 64
"""Listeners whose candidates are scored at once, so that their vectors stay in a core's cache."""

Seen = Mapping[str, Shaped[np.ndarray, "listeners ..."]]
"""Arrays that describe listeners: `recent`, `recent_skipped`, `recent_hours` `[listeners, recent]`, latest first, -1
where there are fewer; `taste` `[listeners, dim]`; `candidates`, -1 in empty places, and `candidate_plays`,
`candidate_artist_plays`, `candidate_artist_days`, `candidate_age_days` `[listeners, candidates]`; `position` in the
session and `plays` so far `[listeners]`."""


@runtime_checkable
class Contents(Protocol):
    """Facts about contents that an agent needs, one row a content."""

    @property
    def vectors(self) -> Float[np.ndarray, "contents dim"]:
        """Embedding of each content, of unit length."""
        ...

    @property
    def region(self) -> Int[np.ndarray, " contents"]:
        """Number of the named region that each content lies in; -1 where it is in none."""
        ...

    @property
    def region_names(self) -> tuple[str, ...]:
        """Names of the regions, by number."""
        ...

    @property
    def artist(self) -> Int[np.ndarray, " contents"]:
        """Code of each content's first artist; -1 where it is not known."""
        ...

    @property
    def plays(self) -> Float[np.ndarray, " contents"]:
        """Number of plays of each content, by all listeners."""
        ...


class FeatureReader:
    """Reads the features of listeners and candidates.

    Args:
        contents: contents that the features are about.
        recovery_hours: hours in which satiation falls to 1/e.
        long_term: `[contents]`, what a stream of each content is worth later; null: 0 for all.
    """

    def __init__(
        self,
        contents: Contents,
        recovery_hours: float = 2.0,
        long_term: Float[np.ndarray, " contents"] | None = None,
    ):
        self.contents, self.recovery_hours = contents, recovery_hours
        log_plays = np.log1p(contents.plays)
        self.long_term = np.zeros(len(log_plays), np.float32) if long_term is None else long_term.astype(np.float32)
        self._vectors = np.ascontiguousarray(contents.vectors, np.float32)
        self._popularity = ((log_plays - log_plays.mean()) / max(float(log_plays.std()), 1e-6)).astype(np.float32)
        # The last region holds contents that lie in none.
        self._region = np.where(contents.region < 0, len(contents.region_names), contents.region)

    def of(self, seen: Seen) -> Float[np.ndarray, "listeners candidates features"]:
        """Returns the features in the order of `FEATURES`, float32, 0 in empty places. `chance` is left at 0, and
        `long_term` is not yet multiplied by it."""
        candidates, recent = seen["candidates"], seen["recent"]
        at = np.maximum(candidates, 0)
        found = np.zeros((*candidates.shape, len(FEATURES)), np.float32)
        satiation, share = self._of_regions(seen)
        region, heard = self._region[at], seen["candidate_artist_plays"]
        is_tried = (heard > 0) & (heard <= TRIED_PLAYS) & (seen["candidate_artist_days"] > _TRIED_AFTER_DAYS)
        relevance, nearest, last = self._cosines(at, seen)
        columns = {
            "relevance": relevance, "nearest_recent": nearest, "last_relevance": last, "long_term": self.long_term[at],
            "satiation": np.take_along_axis(satiation, region, axis=1),
            "familiarity": np.log1p(seen["candidate_plays"]), "is_known": seen["candidate_plays"] > 0,
            "artist_familiarity": np.log1p(heard),
            "new_artist": (heard == 0) & (self.contents.artist[at] >= 0), "tried_artist": is_tried,
            "region_share": np.take_along_axis(share, region, axis=1), "popularity": self._popularity[at],
            "newness": np.exp(-seen["candidate_age_days"] / NEW_DAYS), "recent": _is_among(candidates, recent),
        }  # fmt: skip
        for name, column in columns.items():
            found[..., FEATURES.index(name)] = column
        found[candidates < 0] = 0.0
        return found

    def _cosines(
        self, candidates: Int[np.ndarray, "listeners candidates"], seen: Seen
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the cosine to the taste, the largest cosine to a recent play, and the mean cosine to the last
        plays."""
        relevance, nearest, last = (np.zeros(candidates.shape, np.float32) for _ in range(3))
        for begin in range(0, len(candidates), _BLOCK):
            some = slice(begin, begin + _BLOCK)
            recent = seen["recent"][some]
            is_there = (recent >= 0)[:, None]
            of_candidates = self._vectors[candidates[some]]
            others = np.concatenate([self._vectors[np.maximum(recent, 0)], seen["taste"][some, None]], axis=1)
            cosines = np.matmul(of_candidates, others.transpose(0, 2, 1))
            relevance[some] = cosines[..., -1]
            nearest[some] = np.where(is_there, cosines[..., :-1], 0.0).max(axis=-1)
            few = is_there[..., :_LAST]
            last[some] = (cosines[..., :_LAST] * few).sum(axis=-1) / np.maximum(few.sum(axis=-1), 1)
        return relevance, nearest, last

    def _of_regions(self, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
        """Returns each region's faded plays and its share of the recent plays, `[listeners, regions + 1]`, float32."""
        recent = seen["recent"]
        listeners, regions = len(recent), len(self.contents.region_names) + 1
        code = (np.arange(listeners)[:, None] * regions + self._region[np.maximum(recent, 0)]).ravel()
        heard = np.where(recent >= 0, np.where(seen["recent_skipped"] > 0, _SKIP_SATIATES, 1.0), 0.0)
        faded = heard * np.exp(-np.maximum(seen["recent_hours"], 0.0) / self.recovery_hours)
        satiation, plays = (
            np.bincount(code, weight.ravel(), listeners * regions).reshape(listeners, regions).astype(np.float32)
            for weight in (faded, heard)
        )
        return satiation, plays / np.maximum(plays.sum(axis=1, keepdims=True), 1e-6)


def context_of(seen: Seen) -> Float[np.ndarray, "listeners context"]:
    """Returns the features of the listeners themselves, in the order of `CONTEXT`, float32."""
    skipped, is_there = seen["recent_skipped"][:, :5] > 0, seen["recent"][:, :5] >= 0
    columns = (
        np.ones(len(skipped)), np.exp(-seen["position"] / 4.0),
        (skipped & is_there).sum(axis=1) / np.maximum(is_there.sum(axis=1), 1), np.exp(-seen["plays"] / 20.0),
    )  # fmt: skip
    return np.stack(columns, axis=1).astype(np.float32)


def _is_among(
    candidates: Integer[np.ndarray, "listeners candidates"], recent: Integer[np.ndarray, "listeners recent"]
) -> Bool[np.ndarray, "listeners candidates"]:
    found = np.zeros(candidates.shape, bool)
    for place in range(recent.shape[1]):
        found |= candidates == recent[:, place, None]
    return found & (candidates >= 0)
