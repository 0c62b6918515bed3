"""How a policy that gives every card a score, once for each member, chooses slates for listeners in parts."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from towers.contract.policy import Candidates, Context
from towers.contract.slate import Slate
from towers.policies.bandit.drawing import Draws, chances_of, places_of, rankings_of, slate_of

SCORES_AT_ONCE = 8_000_000
"""Scores of members, listeners and cards that are held at once: 32 MB."""

Scores = Callable[[Context, Candidates], Float[np.ndarray, "members listeners cards"]]


def chosen(
    scores: Scores,
    context: Context,
    candidates: Candidates,
    generator: np.random.Generator,
    *,
    members: int,
    slots: int,
    floor: float,
    shelf: str,
) -> Slate:
    """Draws a slate for each listener, the same in parts of any size.

    Args:
        scores: of a context and the candidates that it may be shown; higher is better.
        context: the listeners.
        candidates: the cards.
        generator: the random numbers are drawn from it.
        members: that `scores` has.
        slots: of a slate.
        floor: chance of any card.
        shelf: of the slate.
    """
    draws = Draws.of(generator, len(context), slots)
    at_once = max(1, SCORES_AT_ONCE // (members * max(1, len(candidates))))
    if len(context) <= at_once:
        return _part(scores(context, candidates), draws, candidates, floor, shelf)
    parts = [slice(start, start + at_once) for start in range(0, len(context), at_once)]
    slates = []
    for part in parts:
        own = candidates.for_(part)
        slates.append(_part(scores(context.of(part), own), draws.for_(part), own, floor, shelf))
    return Slate(
        content_rows=np.concatenate([slate.content_rows for slate in slates]),
        propensities=np.concatenate([slate.propensities for slate in slates]),
        shelf=shelf,
    )


def chances_by(
    scores: Scores,
    context: Context,
    candidates: Candidates,
    shown: Int[np.ndarray, "listeners slots"],
    *,
    members: int,
    floor: float,
) -> Float[np.ndarray, "listeners slots cards"]:
    """The chance with which `chosen` takes each card for each slot, given what is shown in the slots before.

    Args:
        scores: as `chosen` takes it.
        context: the listeners.
        candidates: the cards.
        shown: rows of the cards that were shown.
        members: that `scores` has.
        floor: chance of any card.
    """
    places, slots = places_of(candidates.content_rows, shown), shown.shape[1]
    at_once = max(1, SCORES_AT_ONCE // (members * max(1, len(candidates))))
    found = np.zeros((len(context), slots, len(candidates)))
    for start in range(0, len(context), at_once):
        part = slice(start, start + at_once)
        own = candidates.for_(part)
        rankings = rankings_of(scores(context.of(part), own), slots, own.is_allowed)
        found[part] = chances_of(rankings, places[part], floor, len(own), own.is_allowed)
    return found


def _part(
    scores: Float[np.ndarray, "members listeners cards"],
    draws: Draws,
    candidates: Candidates,
    floor: float,
    shelf: str,
) -> Slate:
    """Slates of as many listeners as are worked on at once."""
    rankings = rankings_of(scores, draws.coins.shape[1], candidates.is_allowed)
    return slate_of(rankings, draws, floor, candidates.content_rows, candidates.is_allowed, shelf)
