"""Replay of listening and slates together: what a policy would have seen before each slate, and the outcomes."""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from jaxtyping import Int

from towers.contract.durations import MINUTE_US
from towers.lifecycle.agent.requests import Requests
from towers.simulation.environment.familiarity import Familiarity
from towers.simulation.environment.observation import Observation, observed
from towers.simulation.environment.rewards import PARTS, Rewards
from towers.simulation.listeners.replay import replay
from towers.simulation.listeners.response import Reaction
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.listeners.space import Space
from towers.simulation.listeners.state import Drift

_GAP_US: Final = 30 * MINUTE_US
"""Longest time between a slate and the beginning of the session that it belongs to, or between a play and a slate that
belongs to the play's session."""

Ask = Callable[[Requests, Int[np.ndarray, " some"], Observation], None]
"""Function called with requests, rows of some of them, and what a policy would have seen before each."""


class Walk:
    """Replays listening and slates together, in time order for each listener.

    Args:
        requests: slates of a period.
        listening: all plays, including those before the period.
        space: contents of the policy.
        begin_us: begin of the period.
        end_us: end of the period.
    """

    def __init__(self, requests: Requests, listening: SessionLog, space: Space, begin_us: int, end_us: int):
        self._requests, self._space, self._begin_us, self._end_us = requests, space, begin_us, end_us
        self._state = replay(listening.taken(listening.start_us < begin_us), space, Drift())
        self._plays = listening.taken((listening.start_us >= begin_us) & (listening.start_us < end_us))
        number = len(listening.user_ids)
        self._rewards = Rewards(number)
        self._familiarity = Familiarity(number, requests.candidates.shape[1])
        self._away_us = np.zeros(number, np.int64)
        self._current = np.full(number, -1)
        """Last slate of each listener so far."""
        self._has_begun = np.zeros(int(self._plays.session.max(initial=-1)) + 1, bool)
        self.parts = {name: np.zeros(len(requests), np.int64) for name in PARTS}

    def run(self, ask: Ask) -> Iterator[int]:
        """Yields the number of slates processed so far, repeatedly, and fills `parts`."""
        requests, plays = self._requests, self._plays
        listener = np.concatenate([requests.listener, plays.listener])
        time_us = np.concatenate([requests.time_us, plays.start_us])
        is_play = np.repeat([False, True], [len(requests), len(plays)])
        # At the same instant the slate comes first: what is played then was picked from it.
        order = np.lexsort((is_play, time_us, listener))
        begins = np.flatnonzero(np.diff(listener[order], prepend=-1))
        lengths = np.diff(begins, append=len(order))
        done = 0
        for step in range(int(lengths.max(initial=0))):
            at = order[begins[lengths > step] + step]
            asked, played = at[~is_play[at]], at[is_play[at]] - len(requests)
            if len(asked):
                self._show(asked, ask)
                done += len(asked)
                yield done
            if len(played):
                self._play(played)
        rows = np.flatnonzero(self._current >= 0)
        kept = self._rewards.kept(rows, np.ones(len(rows), bool), self._end_us)
        self.parts["kept_artists"][self._current[rows]] += kept

    def _show(self, requests: Int[np.ndarray, " some"], ask: Ask) -> None:
        of, plays, state = self._requests, self._plays, self._state
        rows, now_us = of.listener[requests], of.time_us[requests]
        following = self._following(rows, now_us)
        is_there = following >= 0
        follows = np.maximum(following, 0)
        session = plays.session[follows] if len(plays) else follows
        is_soon = is_there.copy()
        is_soon[is_there] &= plays.start_us[follows[is_there]] - now_us[is_there] <= _GAP_US
        is_inside = is_there.copy()
        is_inside[is_there] &= self._has_begun[session[is_there]]
        begins = is_soon & ~is_inside
        if begins.any():
            some = follows[begins]
            self._begin(rows[begins], now_us[begins], plays.context[some], plays.device[some])
            self._has_begun[session[begins]] = True
        is_after = (state.plays[rows] > 0) & (now_us - state.ended_us[rows] <= _GAP_US)
        alone = ~is_soon & ~is_inside & ~is_after
        if alone.any():  # a visit without a play
            nothing = np.zeros(int(alone.sum()), np.int64)
            self._begin(rows[alone], now_us[alone], nothing, nothing)
        state.at(rows, now_us)
        self._current[rows] = requests
        candidates = of.candidates[requests]
        self._familiarity.begin(state, rows, candidates)
        seen = observed(state, rows, candidates, self._away_us[rows], np.full(len(rows), self._begin_us))
        ask(of, requests, seen | self._familiarity.told(state, rows, candidates))

    def _following(self, rows: Int[np.ndarray, " some"], now_us: Int[np.ndarray, " some"]) -> Int[np.ndarray, " some"]:
        """Returns the next play of each listener from an instant on; -1 where there is none."""
        plays = self._plays
        since = self._begin_us
        width = self._end_us - since + 1
        keys = plays.listener * width + (plays.start_us - since)
        found = np.searchsorted(keys, rows * width + (now_us - since))
        is_own = np.append(plays.listener, -1)[np.minimum(found, len(plays))] == rows
        return np.where(is_own, found, -1)

    def _begin(
        self,
        rows: Int[np.ndarray, " some"],
        time_us: Int[np.ndarray, " some"],
        context: Int[np.ndarray, " some"],
        device: Int[np.ndarray, " some"],
    ) -> None:
        state = self._state
        self._away_us[rows] = np.where(state.sessions[rows] > 0, np.maximum(time_us - state.ended_us[rows], 0), 0)
        state.begin_session(rows, time_us, context, device)

    def _play(self, played: Int[np.ndarray, " some"]) -> None:
        plays, state, space = self._plays, self._state, self._space
        rows, content, start_us = plays.listener[played], plays.content[played], plays.start_us[played]
        is_new = ~self._has_begun[plays.session[played]]
        if is_new.any():
            at = played[is_new]
            self._begin(rows[is_new], start_us[is_new], plays.context[at], plays.device[at])
            self._has_begun[plays.session[at]] = True
        state.at(rows, start_us)
        was_known = self._rewards.known_before(state, rows, content, np.full(len(rows), self._begin_us))
        state.play(rows, content, plays.outcome[played], plays.fraction[played])
        reaction = Reaction(
            outcome=plays.outcome[played], fraction=plays.fraction[played], liked=plays.liked[played],
            saved=plays.saved[played], disliked=plays.disliked[played],
        )  # fmt: skip
        found = self._rewards.of(rows, space.artist[content], was_known, start_us, reaction)
        after = self._current[rows]
        for name, part in found.items():
            self.parts[name][after[after >= 0]] += part[after >= 0]
