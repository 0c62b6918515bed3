"""Features of a listener's own choice: of contents that the listener knows, and of new ones."""

from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Integer

from towers.simulation.listeners import features
from towers.simulation.listeners.state import ListenerState

OF_KNOWN: Final = (
    "activation", "plays", "skip_share", "was_skipped", "in_session", "slow", "taste", "fast", "popularity",
    "popular_and_near", "session_squared", "session", "session_early", "fast_early", "taste_repeats", "fast_repeats",
    "novelty", "previous", "same_artist",
)  # fmt: skip
OF_NEW: Final = (
    "slow", "taste", "slow_squared", "fast", "fast_squared", "session", "session_squared", "session_early",
    "fast_early", "taste_repeats", "fast_repeats", "region_share", "artist_plays", "popularity_squared",
    "popular_and_near", "popularity", "novelty", "previous", "same_artist",
)  # fmt: skip
BY_CONTEXT: Final = 2
"""Number of last features that have a weight of their own in each context."""

_ALONE: Final = ("slow", "fast", "session", "previous")
"""Directions that contents are compared with one by one; a listener's separate tastes follow and count together."""


def repeat_features(
    state: ListenerState, rows: Integer[np.ndarray, " some"], num_contexts: int
) -> Float[np.ndarray, "some features"]:
    """Returns the features of the chance of a repeat: the moment, number of known contents, and context, float32."""
    known = np.log1p(state.memory.met[rows])[:, None]
    contexts = state.context[rows, None] == np.arange(num_contexts - 1)
    return np.concatenate([features.of_moment(state, rows), known, known**2, contexts], axis=1, dtype=np.float32)


def known_features(
    state: ListenerState, rows: Integer[np.ndarray, " some"], place: Integer[np.ndarray, "some met"], num_contexts: int
) -> Float[np.ndarray, "some met features"]:
    """Returns the features of contents that listeners know, by their places in the memory, float32; -1: no content."""
    found = of_known(state, rows, place, directions_of(state, rows))
    return _stacked(found, OF_KNOWN, state.context[rows], num_contexts)


def new_features(
    state: ListenerState, rows: Integer[np.ndarray, " some"], content: Integer[np.ndarray, "..."], num_contexts: int
) -> Float[np.ndarray, "some many features"]:
    """Returns the features of contents, float32: `[many]`, the same for all listeners, or `[some, many]`."""
    found = of_new(state, rows, content, directions_of(state, rows))
    return _stacked(found, OF_NEW, state.context[rows], num_contexts)


def of_known(
    state: ListenerState, rows: np.ndarray, place: np.ndarray, directions: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns features by the names of `OF_KNOWN`, `[some, met]` each; `directions` comes from `directions_of`."""
    memory, space = state.memory, state.space
    at = rows[:, None], np.maximum(place, 0)
    content = np.maximum(memory.content[at], 0)
    plays = memory.plays[at]
    found = _likeness(state, rows, content, directions) | {
        "activation": memory.activation(rows, place, state.now_us[rows]),
        "plays": np.log(np.maximum(plays, 1)),
        "skip_share": (memory.skips[at] + 0.35) / (plays + 1.0),
        "was_skipped": memory.was_skipped[at],
        "in_session": memory.session[at] == state.sessions[rows, None],
        "novelty": features.novelty(state, rows, space.released_us[content]),
        "popularity": space.log_popularity[content],
        "same_artist": _same_artist(state, rows, space.artist[content]),
    }
    found["session_squared"] = found["session"] ** 2
    found["popular_and_near"] = found["popularity"] * found["taste"]
    return found


def of_new(
    state: ListenerState, rows: np.ndarray, content: np.ndarray, directions: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns features by the names of `OF_NEW`, `[some, many]` each; `directions` comes from `directions_of`."""
    space, shape = state.space, (len(rows), content.shape[-1])
    found = _likeness(state, rows, content, directions)
    for name in ("slow", "fast", "session"):
        found[f"{name}_squared"] = found[name] ** 2
    counts = state.region_plays[rows]
    share = np.log((counts + 0.5) / (counts.sum(axis=1, keepdims=True) + 0.5 * counts.shape[1]))
    found["region_share"] = share[np.arange(len(rows))[:, None], space.region[content]]
    found["artist_plays"] = _artist_plays(state, rows, space.artist[content])
    found["popularity"] = np.broadcast_to(space.log_popularity[content], shape)
    found["popularity_squared"] = found["popularity"] ** 2
    found["popular_and_near"] = found["popularity"] * found["fast"]
    found["novelty"] = features.novelty(state, rows, np.broadcast_to(space.released_us[content], shape))
    found["same_artist"] = _same_artist(state, rows, np.broadcast_to(space.artist[content], shape))
    return found


def _artist_plays(state: ListenerState, rows: np.ndarray, artist: np.ndarray) -> np.ndarray:
    """Returns the log of listeners' plays of artists: of the same artists for all, or of artists for each."""
    artists = state.artists
    if artist.ndim > 1:
        place = artists.places_of(rows, artist)
        return np.where(place >= 0, np.log1p(artists.plays[rows[:, None], np.maximum(place, 0)], dtype=np.float32), 0.0)
    heard = np.zeros((len(rows), int(state.space.artist.max(initial=0)) + 2), np.float32)
    place = artists.listed(rows)
    at = rows[:, None], np.maximum(place, 0)
    # The last column is for unknown artists and for empty places.
    heard[np.arange(len(rows))[:, None], np.where(place >= 0, artists.content[at], -1)] = np.log1p(artists.plays[at])
    heard[:, -1] = 0.0
    return heard[:, artist]


def knows(state: ListenerState, rows: Integer[np.ndarray, " some"]) -> Bool[np.ndarray, "some contents"]:
    """Returns whether each listener knows each content."""
    known = np.zeros((len(rows), len(state.space) + 1), bool)
    place = state.memory.listed(rows)
    content = np.where(place >= 0, state.memory.content[rows[:, None], np.maximum(place, 0)], -1)
    known[np.arange(len(rows))[:, None], content] = True
    return known[:, :-1]


def directions_of(state: ListenerState, rows: np.ndarray) -> Float[np.ndarray, "some directions dim"]:
    """Returns unit vectors of what listeners like and have just heard, float32: `_ALONE`, then their tastes."""
    last = features.last_played(state, rows)
    previous = np.where(((state.position[rows] > 0) & (last >= 0))[:, None], state.space.vectors[last], 0.0)
    alone = state.slow[rows], state.fast[rows], state.session_taste[rows]
    return np.concatenate(
        [np.stack([*(features.unit(taste) for taste in alone), previous], axis=1), features.unit_tastes(state, rows)],
        axis=1, dtype=np.float32,
    )  # fmt: skip


def _likeness(
    state: ListenerState, rows: np.ndarray, content: np.ndarray, directions: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns cosines of contents to the directions of listeners, `[some, many]` each, by name."""
    vectors = state.space.vectors[content]
    # [some, directions, many]; for the same contents of all listeners it is one matrix product.
    found = directions @ (vectors.swapaxes(1, 2) if content.ndim > 1 else vectors.T)
    likeness = {name: found[:, place] for place, name in enumerate(_ALONE)}
    likeness["taste"] = features.taste_affinity(state, rows, found[:, len(_ALONE) :].swapaxes(1, 2))
    # After one or two plays a session's mean says less about the session than later.
    early = (1.0 / np.maximum(state.position[rows], 1.0)).astype(np.float32)[:, None]
    found = likeness | {f"{name}_early": likeness[name] * early for name in ("session", "fast")}
    # After many repeats the means are near the best-known contents; what comes next need not be as near.
    repeats = features.recent_repeats(state, rows)[:, None]
    return found | {f"{name}_repeats": likeness[name] * repeats for name in ("taste", "fast")}


def _same_artist(state: ListenerState, rows: np.ndarray, artist: Integer[np.ndarray, "some many"]) -> np.ndarray:
    last = features.last_played(state, rows)
    is_there = (state.position[rows] > 0) & (last >= 0) & (state.space.artist[last] >= 0)
    return is_there[:, None] & (artist == state.space.artist[last][:, None])


def _stacked(
    found: dict[str, np.ndarray], names: tuple[str, ...], context: Integer[np.ndarray, " some"], num_contexts: int
) -> Float[np.ndarray, "some many features"]:
    """Returns the features side by side, the last two once for each context."""
    plain = np.stack([found[name] for name in names[:-BY_CONTEXT]], axis=-1).astype(np.float32)
    here = (context[:, None] == np.arange(num_contexts)).astype(np.float32)[:, None]
    return np.concatenate([plain, *(found[name][..., None] * here for name in names[-BY_CONTEXT:])], axis=-1)
