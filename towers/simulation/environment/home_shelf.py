"""A home page of one shelf for listeners who otherwise choose for themselves; its slates are recorded, so that a log
says with what probability each content was shown and what the listener picked."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Integer

from towers.contract import schema
from towers.contract.policy import Candidates, Context, Policy
from towers.simulation.environment.candidates import CandidateRetrieval
from towers.simulation.environment.observation import recent_taste
from towers.simulation.environment.picking import LivingListeners, picked
from towers.simulation.listeners.session_log import SessionLog

_BLOCK: Final = 256
"""Listeners whose slates are drawn at once: the candidates of all of them are scored for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """Pages shown at the first plays of sessions, a row for each session with a page.

    Args:
        play: `[pages]`, index in the log of the session's first play, ascending.
        candidates: `[pages, candidates]`, contents that could have been shown; -1 in empty places.
        slates: `[pages, slots]`, contents that were shown; `NOTHING` in empty slots.
        propensities: `[pages, slots]`, see `Slate`.
        slot: `[pages]`, picked slot; `OWN` where the listener chose a content outside the page.
    """

    play: Int[np.ndarray, " pages"]
    candidates: Int[np.ndarray, "pages candidates"]
    slates: Int[np.ndarray, "pages slots"]
    propensities: Float[np.ndarray, "pages slots"]
    slot: Int[np.ndarray, " pages"]

    def __len__(self) -> int:
        return len(self.play)


class HomeShelf:
    """Chooses what listeners play, for `rollout.lived`.

    At the first play of a session in some contexts listeners are shown a shelf, and pick one of its contents or choose
    another content (`picking`). All other plays are their own choice.

    Args:
        listeners: simulated listeners.
        policy: policy that chooses the shelf's contents from the listener's candidates; a listener's vector is the mean
            of the latest plays (`recent_taste`).
        num_candidates: number of candidates of a listener (`CandidateRetrieval`).
        contexts: codes of the contexts with a shelf.
        own_pull: see `picking.picked`.
        generator: generator of the policy's draws.
    """

    def __init__(
        self,
        listeners: LivingListeners,
        policy: Policy,
        num_candidates: int,
        contexts: Collection[int],
        own_pull: float,
        generator: np.random.Generator,
    ):
        self._listeners, self._policy, self._own_pull, self._generator = listeners, policy, own_pull, generator
        space = listeners.state.space
        self._contexts = np.array(sorted(contexts), np.int64)
        self._retrieval = CandidateRetrieval(space, num_candidates)
        self._kinds = np.array([schema.KIND_CODES[name] for name in space.kinds], np.int64)[space.kind]
        none = np.zeros(0, np.int64)
        # By column; the first two, listener and time, identify a session's first play.
        self._shown: list[tuple[np.ndarray, ...]] = [
            (none, none, np.zeros((0, self._retrieval.number), np.int32), np.zeros((0, policy.slots), np.int64),
             np.zeros((0, policy.slots)), none)
        ]  # fmt: skip

    def choose(self, rows: Integer[np.ndarray, " some"]) -> Int[np.ndarray, " some"]:
        """Returns the content that each listener plays now."""
        listeners, state = self._listeners, self._listeners.state
        is_shown = (state.position[rows] == 0) & np.isin(state.context[rows], self._contexts)
        content = np.zeros(len(rows), np.int64)
        if not is_shown.all():
            content[~is_shown] = listeners.choose(rows[~is_shown])
        if is_shown.any():
            content[is_shown] = self._shown_to(rows[is_shown])
        return content

    def _shown_to(self, rows: Integer[np.ndarray, " some"]) -> Int[np.ndarray, " some"]:
        state = self._listeners.state
        candidates = self._retrieval.for_listeners(state, rows)
        slates, propensities = self._drawn(rows, candidates)
        content, slot = picked(self._listeners, rows, slates, self._own_pull)
        self._shown.append((rows.copy(), state.now_us[rows], candidates, slates, propensities, slot))
        return content

    def _drawn(
        self, rows: Integer[np.ndarray, " some"], candidates: Int[np.ndarray, "some candidates"]
    ) -> tuple[Int[np.ndarray, "some slots"], Float[np.ndarray, "some slots"]]:
        """Returns the policy's slates and their propensities."""
        state = self._listeners.state
        slates = []
        for begin in range(0, len(rows), _BLOCK):
            some, own = rows[begin : begin + _BLOCK], candidates[begin : begin + _BLOCK]
            cards = np.unique(own[own >= 0]).astype(np.int64)
            is_allowed = np.zeros((len(some), len(cards)), bool)
            listener, place = np.nonzero(own >= 0)
            is_allowed[listener, np.searchsorted(cards, own[listener, place])] = True
            context = Context(
                user_vectors=recent_taste(state, some), segments=np.full(len(some), -1), times_us=state.now_us[some]
            )
            offered = Candidates(
                content_rows=cards, vectors=state.space.vectors[cards], kinds=self._kinds[cards], is_allowed=is_allowed
            )
            slates.append(self._policy.select(context, offered, self._generator))
        return (
            np.concatenate([slate.content_rows for slate in slates]),
            np.concatenate([slate.propensities for slate in slates]),
        )

    def pages(self, log: SessionLog) -> Pages:
        """Returns all pages shown so far.

        Args:
            log: log of the listening that followed the choices.

        Raises:
            ValueError: the log is of other listening.
        """
        listener, at_us, *columns = (np.concatenate(pieces) for pieces in zip(*self._shown, strict=True))
        order = np.lexsort((at_us, listener))
        begins = log.session_begins
        play = begins[np.isin(log.context[begins], self._contexts)]
        is_same = len(play) == len(order) and (log.listener[play] == listener[order]).all()
        if not is_same or (log.start_us[play] != at_us[order]).any():
            raise ValueError(f"{len(order)} pages were shown, and they are not the starts of {len(play)} sessions")
        candidates, slates, propensities, slot = (column[order] for column in columns)
        return Pages(play=play, candidates=candidates, slates=slates, propensities=propensities, slot=slot)
