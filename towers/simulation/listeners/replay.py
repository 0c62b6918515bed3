"""Replay of a real log, play by play, with what each module could have known before and after every play."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.simulation.listeners import choice_features, features, sessions
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.listeners.space import Space
from towers.simulation.listeners.state import Drift, ListenerState

PLACES = 512
"""Places of a listener in the memory of contents."""
_OFFERED = 60
"""Contents that a choice is compared with, drawn evenly."""

Look = Callable[[ListenerState, Int[np.ndarray, " rows"], Int[np.ndarray, " rows"]], None]
"""Callback that gets the state, rows of listeners, and the indices of their plays in the log."""


def replay(
    log: SessionLog,
    space: Space,
    drift: Drift,
    before: Look | None = None,
    after: Look | None = None,
) -> ListenerState:
    """Returns the state of all listeners of a log after their last play.

    Args:
        log: plays.
        space: space of the contents.
        drift: speeds of tastes and satiation.
        before: called before each play, with the state in its session.
        after: called after each play.
    """
    state = ListenerState(space, len(log.user_ids), drift, PLACES)
    begins = np.flatnonzero(np.diff(log.listener, prepend=-1))
    lengths = np.diff(begins, append=len(log))
    # The longest histories first, so that listeners who still play are always at the head of the arrays.
    order = np.argsort(-lengths, kind="stable")
    begins, lengths = begins[order], lengths[order]
    listeners, position = log.listener[begins], log.position
    for step in range(int(lengths.max(initial=0))):
        number = int(np.searchsorted(-lengths, -step, "left"))
        plays, rows = begins[:number] + step, listeners[:number]
        is_first = position[plays] == 0
        if is_first.any():
            at = plays[is_first]
            state.begin_session(rows[is_first], log.start_us[at], log.context[at], log.device[at])
        state.at(rows, log.start_us[plays])
        if before:
            before(state, rows, plays)
        state.play(rows, log.content[plays], log.outcome[plays], log.fraction[plays])
        if after:
            after(state, rows, plays)
    return state


@dataclass(slots=True, kw_only=True)
class Choices:
    """Choices of a log, each beside alternatives.

    Args:
        read: `[choices, offered, features]`, features with the chosen content first.
        may_come: `[choices, offered]`, false for empty places.
        listener: `[choices]`, row of the listener.
        is_first: `[choices]`, whether it was the first play of a session.
    """

    read: Float[np.ndarray, "choices offered features"]
    may_come: Bool[np.ndarray, "choices offered"]
    listener: Int[np.ndarray, " choices"]
    is_first: Bool[np.ndarray, " choices"]


@dataclass(slots=True, kw_only=True)
class Recorded:
    """Features of a log's plays for all modules.

    Args:
        of_content: `[plays, features]`, before each play.
        of_moment: `[plays, features]`, before each play.
        repeat: `[plays, features]`, before each play (`choice_features.repeat_features`).
        is_repeat: `[plays]`, whether the listener knew the content.
        leave: `[plays, features]`, after each play (`sessions.leave_features`).
        ended_us: `[plays]`, end of each play.
        known: choices of known contents; null where none were recorded.
        new: choices of new contents; null where none were recorded.
        state: state after the last plays.
    """

    of_content: Float[np.ndarray, "plays content_features"]
    of_moment: Float[np.ndarray, "plays moment_features"]
    repeat: Float[np.ndarray, "plays repeat_features"]
    is_repeat: Bool[np.ndarray, " plays"]
    leave: Float[np.ndarray, "plays leave_features"]
    ended_us: Int[np.ndarray, " plays"]
    known: Choices | None
    new: Choices | None
    state: ListenerState


def record(log: SessionLog, space: Space, drift: Drift, num_choices: int = 0, seed: int = 0) -> Recorded:
    """Replays a log and records the features of all modules.

    Args:
        log: plays.
        space: space of the contents, with plays of the fit.
        drift: speeds of tastes and satiation.
        num_choices: approximate number of first choices, and of later ones, that are recorded with alternatives.
        seed: seed of the alternatives.
    """
    rng = np.random.default_rng([seed, 22])
    contexts = len(log.contexts)
    of_content = np.empty((len(log), len(features.OF_CONTENT)), np.float32)
    of_moment = np.empty((len(log), len(features.OF_MOMENT)), np.float32)
    repeat = np.empty((len(log), len(features.OF_MOMENT) + 1 + contexts), np.float32)
    leave = np.empty((len(log), len(features.OF_MOMENT) + 12 + contexts), np.float32)
    is_repeat, ended_us = np.zeros(len(log), bool), np.zeros(len(log), np.int64)
    # First plays of sessions and later ones are recorded in equal numbers, as they have weights of their own.
    is_first = log.position == 0
    chance = num_choices / np.maximum(np.where(is_first, is_first.sum(), (~is_first).sum()), 1)
    is_asked = rng.random(len(log)) < chance
    known: list[_Piece] = []
    new: list[_Piece] = []
    playable = np.flatnonzero(space.is_playable)

    def before(state: ListenerState, rows: Int[np.ndarray, " rows"], plays: Int[np.ndarray, " rows"]) -> None:
        content = log.content[plays]
        of_content[plays] = features.of_content(state, rows, content[:, None])[:, 0]
        of_moment[plays] = features.of_moment(state, rows)
        repeat[plays] = choice_features.repeat_features(state, rows, contexts)
        place = state.memory.places_of(rows, content)
        is_repeat[plays] = place >= 0
        if (asked := is_asked[plays] & (place >= 0) & (state.memory.met[rows] > 1)).any():
            known.append(_known_offered(state, rows[asked], place[asked], contexts, rng))
        if (asked := is_asked[plays] & (place < 0)).any():
            new.append(_new_offered(state, rows[asked], content[asked], playable, contexts, rng))

    def after(state: ListenerState, rows: Int[np.ndarray, " rows"], plays: Int[np.ndarray, " rows"]) -> None:
        leave[plays] = sessions.leave_features(state, rows, contexts)
        ended_us[plays] = state.ended_us[rows]

    state = replay(log, space, drift, before, after)
    return Recorded(
        of_content=of_content, of_moment=of_moment, repeat=repeat, is_repeat=is_repeat, leave=leave, ended_us=ended_us,
        known=_joined(known), new=_joined(new), state=state,
    )  # fmt: skip


_Piece = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _joined(pieces: list[_Piece]) -> Choices | None:
    if not pieces:
        return None
    read, may_come, listener, is_first = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return Choices(read=read, may_come=may_come, listener=listener, is_first=is_first)


def _known_offered(
    state: ListenerState,
    rows: Integer[np.ndarray, " some"],
    chosen: Integer[np.ndarray, " some"],
    num_contexts: int,
    rng: np.random.Generator,
) -> _Piece:
    met = state.memory.met[rows]
    drawn = (rng.random((len(rows), _OFFERED)) * met[:, None]).astype(int)
    places = np.column_stack([chosen, state.memory.order[rows[:, None], drawn]]).astype(int)
    may_come = (places != chosen[:, None]) | (np.arange(_OFFERED + 1) == 0)
    return choice_features.known_features(state, rows, places, num_contexts), may_come, rows, state.position[rows] == 0


def _new_offered(
    state: ListenerState,
    rows: Integer[np.ndarray, " some"],
    chosen: Integer[np.ndarray, " some"],
    playable: Int[np.ndarray, " playable"],
    num_contexts: int,
    rng: np.random.Generator,
) -> _Piece:
    # All listeners who choose at this step get the same alternatives, which differ from step to step.
    drawn = rng.choice(playable, _OFFERED)
    offered, place_of = np.unique(np.concatenate([chosen, drawn]), return_inverse=True)
    read = choice_features.new_features(state, rows, offered, num_contexts)
    places = np.column_stack([place_of[: len(rows)], np.tile(place_of[len(rows) :], (len(rows), 1))])
    content = offered[places]
    may_come = ~np.take_along_axis(choice_features.knows(state, rows), content, axis=1)
    may_come &= state.space.released_us[content] <= state.now_us[rows, None]
    may_come &= content != chosen[:, None]
    may_come[:, 0] = True
    return np.take_along_axis(read, places[..., None], axis=1), may_come, rows, state.position[rows] == 0
