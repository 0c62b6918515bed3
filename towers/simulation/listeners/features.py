"""Features of a listener's reaction to a content: the one definition for fitting and for simulating."""

from collections.abc import Callable
from typing import Final

import numpy as np
from jaxtyping import Float, Integer

from towers.contract.durations import DAY_US, HOUR_US
from towers.simulation.listeners.state import RECENT, ListenerState

_SHARPNESS: Final = 8.0
_NEW_DAYS: Final = 14.0
"""Days after which the novelty of a release has fallen to 1/e."""

OF_CONTENT: Final = (
    "slow_affinity", "taste_affinity", "fast_affinity", "session_affinity", "nearest_recent", "region_share",
    "is_known", "known_plays", "activation", "known_skip_share", "was_skipped", "in_session", "artist_plays",
    "artist_run", "popularity", "novelty", "satiation",
)  # fmt: skip
"""Features of a listener and a content."""
OF_MOMENT: Final = (
    "position", "first", "second", "early", "previous_skipped", "recent_skips", "streak", "recent_repeats",
    "experience", "morning_sin", "morning_cos", "noon_sin", "noon_cos", "weekend",
)  # fmt: skip
"""Features of a listener and a time."""


def of_content(
    state: ListenerState, rows: Integer[np.ndarray, " some"], content: Integer[np.ndarray, "some many"]
) -> Float[np.ndarray, "some many features"]:
    """Returns the features of each listener and each of the contents, float32; see `OF_CONTENT`."""
    space = state.space
    vectors = space.vectors[content]
    found = np.empty((*content.shape, len(OF_CONTENT)), np.float32)
    put = _putter(found, OF_CONTENT)
    put("slow_affinity", np.einsum("nkd,nd->nk", vectors, unit(state.slow[rows])))
    put("taste_affinity", taste_affinity(state, rows, np.einsum("nkd,ntd->nkt", vectors, unit_tastes(state, rows))))
    put("fast_affinity", np.einsum("nkd,nd->nk", vectors, unit(state.fast[rows])))
    put("session_affinity", np.einsum("nkd,nd->nk", vectors, unit(state.session_taste[rows])))
    recent = state.recent[rows]
    last = np.where(recent >= 0, recent, 0)
    likeness = np.einsum("nkd,nrd->nkr", vectors, space.vectors[last])
    put("nearest_recent", np.where(recent[:, None] >= 0, likeness, 0.0).max(axis=-1))
    counts = state.region_plays[rows]
    share = (counts + 0.5) / (counts.sum(axis=1, keepdims=True) + 0.5 * counts.shape[1])
    put("region_share", np.log(share[np.arange(len(rows))[:, None], space.region[content]]))
    place = state.memory.places_of(rows, content)
    is_known = place >= 0
    at = rows[:, None], np.maximum(place, 0)
    put("is_known", is_known)
    put("activation", state.memory.activation(rows, place, state.now_us[rows]))
    plays = np.maximum(state.memory.plays[at], 1)
    put("known_plays", np.where(is_known, np.log(plays), 0.0))
    put("known_skip_share", np.where(is_known, (state.memory.skips[at] + 0.35) / (plays + 1.0) - 0.35, 0.0))
    put("was_skipped", is_known & state.memory.was_skipped[at])
    put("in_session", is_known & (state.memory.session[at] == state.sessions[rows, None]))
    artist = space.artist[content]
    place = state.artists.places_of(rows, artist)
    heard = np.where(place >= 0, state.artists.plays[rows[:, None], np.maximum(place, 0)], 0)
    put("artist_plays", np.log1p(heard))
    last_five = recent_first(state, rows)[:, :5]
    same = (space.artist[np.maximum(last_five, 0)][:, None] == artist[..., None]) & (last_five >= 0)[:, None]
    put("artist_run", (same & (artist >= 0)[..., None]).mean(axis=-1))
    put("popularity", space.log_popularity[content])
    put("novelty", novelty(state, rows, space.released_us[content]))
    put("satiation", state.satiation_of(rows, content))
    return found


def novelty(
    state: ListenerState, rows: Integer[np.ndarray, " some"], released_us: Integer[np.ndarray, "some many"]
) -> Float[np.ndarray, "some many"]:
    """Returns how new contents are: 1 at their release, then falling; near 0 where the release is unknown."""
    age_days = np.maximum(state.now_us[rows, None].astype(float) - released_us, 0.0) / DAY_US
    return np.exp(-age_days / _NEW_DAYS)


def of_moment(state: ListenerState, rows: Integer[np.ndarray, " some"]) -> Float[np.ndarray, "some features"]:
    """Returns the features of each listener's session, time of day and experience, float32; see `OF_MOMENT`."""
    found = np.empty((len(rows), len(OF_MOMENT)), np.float32)
    put = _putter(found, OF_MOMENT)
    position = state.position[rows]
    put("position", np.minimum(position, 30) / 10.0)
    put("first", position == 0)
    put("second", position == 1)
    put("early", np.exp(-position / 4.0))
    skipped = recent_skips(state, rows)
    put("previous_skipped", skipped[:, 0] & (position > 0))
    here = np.arange(RECENT) < np.minimum(position, 5)[:, None]
    put("recent_skips", (skipped & here).sum(axis=1) / np.maximum(here.sum(axis=1), 1))
    put("streak", np.minimum(state.streak[rows], 6) / 3.0)
    put("recent_repeats", recent_repeats(state, rows))
    put("experience", np.log1p(state.plays[rows]) / 5.0)
    hour = state.now_us[rows] / HOUR_US % 24 * (2.0 * np.pi / 24.0)
    put("morning_sin", np.sin(hour))
    put("morning_cos", np.cos(hour))
    put("noon_sin", np.sin(2.0 * hour))
    put("noon_cos", np.cos(2.0 * hour))
    # 1970 began on a Thursday.
    put("weekend", (state.now_us[rows] // DAY_US + 3) % 7 >= 5)
    return found


def recent_repeats(state: ListenerState, rows: Integer[np.ndarray, " some"]) -> Float[np.ndarray, " some"]:
    """Returns the share of the last `RECENT` plays whose content the listener knew, float32."""
    plays = np.maximum(np.minimum(state.plays[rows], RECENT), 1)
    return (state.recent_repeated[rows].sum(axis=1) / plays).astype(np.float32)


def recent_first(state: ListenerState, rows: Integer[np.ndarray, " some"]) -> Integer[np.ndarray, "some recent"]:
    """Returns the rows of the last `RECENT` contents of each listener, latest first; -1 where there are fewer."""
    return np.take_along_axis(state.recent[rows], _backwards(state, rows), axis=1)


def last_played(state: ListenerState, rows: Integer[np.ndarray, " some"]) -> Integer[np.ndarray, " some"]:
    """Returns the row of the content that each listener played last; -1 for none."""
    return state.recent[rows, (state.plays[rows] - 1) % RECENT]


def recent_skips(state: ListenerState, rows: Integer[np.ndarray, " some"]) -> np.ndarray:
    """Returns whether each of `recent_first` was skipped."""
    return np.take_along_axis(state.recent_skipped[rows], _backwards(state, rows), axis=1)


def recent_us(state: ListenerState, rows: Integer[np.ndarray, " some"]) -> Integer[np.ndarray, "some recent"]:
    """Returns the start of each of `recent_first`, microseconds since 1970."""
    return np.take_along_axis(state.recent_us[rows], _backwards(state, rows), axis=1)


def _backwards(state: ListenerState, rows: Integer[np.ndarray, " some"]) -> np.ndarray:
    return (state.plays[rows, None] - 1 - np.arange(RECENT)) % RECENT


def unit_tastes(state: ListenerState, rows: Integer[np.ndarray, " some"]) -> Float[np.ndarray, "some tastes dim"]:
    """Returns the separate tastes of each listener as unit vectors; unused ones are 0."""
    tastes = state.tastes[rows]
    return tastes / np.maximum(np.linalg.norm(tastes, axis=2, keepdims=True), 1e-6)


def taste_affinity(
    state: ListenerState, rows: Integer[np.ndarray, " some"], likeness: Float[np.ndarray, "some many tastes"]
) -> Float[np.ndarray, "some many"]:
    """Returns how well contents match the best of several tastes: a soft maximum of cosines, weighted by their plays.

    Args:
        state: state of the listeners.
        rows: rows of the listeners.
        likeness: cosine of each content to each taste.
    """
    weight = state.taste_weight[rows]
    share = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-6)
    return np.log((np.exp(_SHARPNESS * likeness) * share[:, None]).sum(axis=-1) + 1e-6) / _SHARPNESS


def unit(vectors: Float[np.ndarray, "some dim"]) -> Float[np.ndarray, "some dim"]:
    """Returns vectors of length 1; those of length 0 stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _putter(found: np.ndarray, names: tuple[str, ...]) -> Callable[[str, np.ndarray], None]:
    def put(name: str, value: np.ndarray) -> None:
        found[..., names.index(name)] = value

    return put
