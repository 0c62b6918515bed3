"""Observations: what a service knows of a listener at a time, from what was served and how it was left."""

from typing import Final

import numpy as np
from jaxtyping import Float, Integer, Shaped

from towers.contract.durations import DAY_US, HOUR_US
from towers.simulation.listeners import features
from towers.simulation.listeners.state import ListenerState

MOMENT: Final = (
    "position", "hour", "weekday", "days_away", "days_in_episode", "plays", "skips", "sessions", "context", "device",
)  # fmt: skip
"""Plays so far in the session; hour of the day, UTC, with its fraction; day of the week, 0 for Monday; days between the
last session's end and this one's start, 0 in the first; days since the episode's start; all plays, skips and sessions
of the listener so far; codes of the context and the device."""
_BLOCK: Final = 512

Observation = dict[str, Shaped[np.ndarray, "listeners ..."]]


def observed(
    state: ListenerState,
    rows: Integer[np.ndarray, " some"],
    candidates: Integer[np.ndarray, "some candidates"],
    away_us: Integer[np.ndarray, " some"],
    begin_us: Integer[np.ndarray, " some"],
) -> Observation:
    """Returns what is known of each listener.

    Args:
        state: state of the listeners, of which only what was served is read.
        rows: rows of the listeners.
        candidates: candidates of each.
        away_us: time between the last session's end and this one's start.
        begin_us: start of the episode.

    Returns:
        `recent` `[some, RECENT]`, int32, played contents, latest first, -1 where there are fewer; `recent_skipped`, the
        same shape, int8, 1 where skipped; `taste` `[some, dim]`, float32, see `recent_taste`; `moment`
        `[some, MOMENT]`, float32; `candidates`, int32; `recent_hours`, float32, hours since the start of each recent
        play, -1 where there are fewer. A world adds for each candidate (`familiarity`): `candidate_plays` of the
        content and `candidate_artist_plays` of its artist, int32, `candidate_artist_days`, float32, days since the
        artist was first played, -1 for never, and `candidate_age_days`, float32, days since its release.
    """
    recent = features.recent_first(state, rows).astype(np.int32)
    skipped = features.recent_skips(state, rows) & (recent >= 0)
    now = state.now_us[rows]
    moment = np.empty((len(rows), len(MOMENT)), np.float32)
    columns = (
        state.position[rows], now / HOUR_US % 24, (now // DAY_US + 3) % 7, away_us / DAY_US, (now - begin_us) / DAY_US,
        state.plays[rows], state.skips[rows], state.sessions[rows], state.context[rows], state.device[rows],
    )  # fmt: skip
    for place, column in enumerate(columns):
        moment[:, place] = column
    # 23:59:59.99 is 24.0 in float32.
    moment[:, 1] = np.minimum(moment[:, 1], np.nextafter(np.float32(24), np.float32(0)))
    hours = (now[:, None] - features.recent_us(state, rows)) / HOUR_US
    return {
        "recent": recent, "recent_skipped": skipped.astype(np.int8), "taste": recent_taste(state, rows),
        "recent_hours": np.where(recent >= 0, np.maximum(hours, 0.0), -1.0).astype(np.float32),
        "moment": moment, "candidates": candidates.astype(np.int32),
    }  # fmt: skip


def recent_taste(state: ListenerState, rows: Integer[np.ndarray, " some"]) -> Float[np.ndarray, "some dim"]:
    """Returns the mean vector of each listener's last `RECENT` plays that were not skipped, at length 1, float32;
    the mean of all of them where all were skipped, zeros without plays."""
    found = np.zeros((len(rows), state.space.vectors.shape[1]), np.float32)
    for begin in range(0, len(rows), _BLOCK):
        some = rows[begin : begin + _BLOCK]
        recent, is_skip = state.recent[some], state.recent_skipped[some]
        weight = ((recent >= 0) & ~is_skip).astype(np.float32)
        weight = np.where(weight.any(axis=1, keepdims=True), weight, recent >= 0).astype(np.float32)
        mean = np.matmul(weight[:, None], state.space.vectors[np.maximum(recent, 0)])[:, 0]
        found[begin : begin + _BLOCK] = features.unit(mean)
    return found
