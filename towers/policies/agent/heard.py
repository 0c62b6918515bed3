"""An agent's view of a listener, counted from the plays that a service has logged."""

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.contract.durations import DAY_US, HOUR_US
from towers.policies.agent.features import Contents, Seen

RECENT: Final = 20
"""Number of latest plays that are read one by one."""

_OLD_DAYS: Final = 1e6
"""Age of a content whose release date is not known."""


@runtime_checkable
class DatedContents(Contents, Protocol):
    """Contents with release dates, which serving needs."""

    @property
    def released_us(self) -> Int[np.ndarray, " contents"]:
        """Release time, microseconds since 1970; the smallest integer where it is not known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A listener's plays, in time order.

    Args:
        content: `[plays]`, rows of the agent's contents.
        start_us: `[plays]`, start of each play, microseconds since 1970, UTC.
        is_skip: `[plays]`, whether the play was skipped.
        position: number of plays so far in the present session; 0 where a session begins.
    """

    content: Int[np.ndarray, " plays"]
    start_us: Int[np.ndarray, " plays"]
    is_skip: Bool[np.ndarray, " plays"]
    position: int = 0

    def __len__(self) -> int:
        return len(self.content)


def seen_of_plays(
    contents: DatedContents, heard: Heard, candidates: Integer[np.ndarray, " candidates"], now_us: int
) -> Seen:
    """Returns what an agent's policy reads of one listener.

    Args:
        contents: the agent's contents.
        heard: plays of the listener, none later than `now_us`.
        candidates: rows of contents that may be shown, -1 in empty places.
        now_us: the present, microseconds since 1970, UTC.

    Returns:
        The arrays of `features.Seen` for one listener.
    """
    last = slice(None, -RECENT - 1, -1)
    recent, is_skip = np.full(RECENT, -1, np.int32), np.zeros(RECENT, np.int8)
    hours, number = np.full(RECENT, -1.0, np.float32), min(len(heard), RECENT)
    recent[:number], is_skip[:number] = heard.content[last], heard.is_skip[last]
    hours[:number] = np.maximum((now_us - heard.start_us[last]) / HOUR_US, 0.0)
    at = np.maximum(candidates, 0)
    times = np.bincount(heard.content, minlength=len(contents.artist))
    times_of_artist, first_us = _by_artist(contents, heard)
    artist = contents.artist[at]
    of_artist = np.where(artist >= 0, times_of_artist[artist], 0)
    days = np.maximum((now_us - first_us[artist]) / DAY_US, 0.0)
    age_days = np.clip((float(now_us) - contents.released_us[at]) / DAY_US, 0.0, _OLD_DAYS)
    return {
        "recent": recent[None], "recent_skipped": is_skip[None], "recent_hours": hours[None],
        "taste": taste_of(contents, heard)[None], "candidates": candidates[None].astype(np.int32),
        "candidate_plays": times[at][None].astype(np.int32),
        "candidate_artist_plays": of_artist[None].astype(np.int32),
        "candidate_artist_days": np.where(of_artist > 0, days, -1.0)[None].astype(np.float32),
        "candidate_age_days": age_days[None].astype(np.float32),
        "position": np.array([heard.position], np.float32), "plays": np.array([len(heard)], np.float32),
    }  # fmt: skip


def taste_of(contents: Contents, heard: Heard) -> Float[np.ndarray, " dim"]:
    """Returns the unit mean of the vectors of the last `RECENT` plays that were not skipped, float32. Where all were
    skipped it is the mean of all of them, and zeros where there are no plays."""
    recent, is_skip = heard.content[-RECENT:], heard.is_skip[-RECENT:]
    if not len(recent):
        return np.zeros(contents.vectors.shape[1], np.float32)
    kept = recent[~is_skip] if not is_skip.all() else recent
    mean = np.asarray(contents.vectors[kept], np.float32).sum(axis=0)
    return (mean / max(float(np.linalg.norm(mean)), 1e-6)).astype(np.float32)


def _by_artist(contents: Contents, heard: Heard) -> tuple[np.ndarray, np.ndarray]:
    """Returns the number of plays of each artist and when the first began; the last place is for unknown artists."""
    number = int(contents.artist.max(initial=-1)) + 2
    artist = contents.artist[heard.content]
    first_us = np.full(number, np.iinfo(np.int64).max)
    np.minimum.at(first_us, artist, heard.start_us)
    return np.bincount(np.where(artist < 0, number - 1, artist), minlength=number), first_us
