"""Slates from a policy's rankings: drawn anew in each slot or once for a slate, for listeners in parts."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from towers.contract.policy import Candidates, Context
from towers.contract.slate import Slate
from towers.errors import require_counts
from towers.policies.bandit.drawing import Draws, chances_of, places_of, rankings_of, slate_of
from towers.policies.bandit.whole_slates import whole_chances_of, whole_slates_of

SCORES_AT_ONCE = 8_000_000
"""Number of scores (members times listeners times cards) that are held at once: 32 MB."""

Rank = Callable[[Context, Candidates], Int[np.ndarray, "members listeners depth"]]
SlatesOf = Callable[..., Slate]
"""`drawing.slate_of`, or a function of the same signature."""
ChancesOf = Callable[..., Float[np.ndarray, "listeners slots cards"]]
"""`drawing.chances_of`, or a function of the same signature."""
Scores = Callable[[Context, Candidates], Float[np.ndarray, "members listeners cards"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Settings by which every policy that explores draws its slates.

    Args:
        slots: number of cards in a slate.
        members: number of equally likely rankings; 1 for a policy whose scores are not drawn.
        floor: probability of taking any card at random, in [0, 1].
        per_slate: whether a member, or the floor, decides for a whole slate (`whole_slates`), as published, instead of
            anew in each slot (`drawing`).
        shelf: name of the shelf in its slates.

    Raises:
        ValueError: `slots` or `members` is below 1, or `floor` is out of range.
    """

    slots: int = 12
    members: int = 1
    floor: float = 0.05
    per_slate: bool = False
    shelf: str = "home"

    def __post_init__(self) -> None:
        require_counts(slots=self.slots, members=self.members)
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor must be between 0 and 1, got {self.floor}")

    def settings(self) -> dict[str, Any]:
        """Returns the keyword arguments, in the form of a policy's settings."""
        return asdict(self)

    def select(
        self, rank: Rank, context: Context, candidates: Candidates, generator: np.random.Generator, *, at_once: int
    ) -> Slate:
        """Draws a slate for each listener; the size of the parts does not change the result.

        Args:
            rank: function that returns each member's ranking for each listener, in the form of `drawing.slate_of`.
            context: the listeners.
            candidates: the cards.
            generator: source of the random numbers.
            at_once: number of listeners in a part.
        """
        draws = Draws.of(generator, len(context), self.slots)
        draw = self._ways()[0]
        slates = [
            draw(rank(of_part, own), draws.for_(part), self.floor, own.content_rows, own.is_allowed, self.shelf)
            for part, of_part, own in _parts(context, candidates, at_once)
        ]
        if len(slates) == 1:
            return slates[0]
        return Slate(
            content_rows=np.concatenate([slate.content_rows for slate in slates]),
            propensities=np.concatenate([slate.propensities for slate in slates]),
            shelf=self.shelf,
        )

    def chances(
        self,
        rank: Rank,
        context: Context,
        candidates: Candidates,
        shown: Int[np.ndarray, "listeners slots"],
        *,
        at_once: int,
    ) -> Float[np.ndarray, "listeners slots cards"]:
        """Returns the probability with which `select` takes each card for each slot, given the earlier slots as shown.

        Args:
            rank: as in `select`.
            context: the listeners.
            candidates: the cards.
            shown: rows of the cards that were shown.
            at_once: number of listeners in a part.
        """
        places = places_of(candidates.content_rows, shown)
        chances = self._ways()[1]
        found = np.zeros((*shown.shape, len(candidates)))
        for part, of_part, own in _parts(context, candidates, at_once):
            found[part] = chances(rank(of_part, own), places[part], self.floor, len(own), own.is_allowed)
        return found

    def _ways(self) -> tuple[SlatesOf, ChancesOf]:
        """Returns the functions that draw slates from rankings and that return the probabilities of the cards."""
        return (whole_slates_of, whole_chances_of) if self.per_slate else (slate_of, chances_of)


def chosen(
    drawing: Drawing,
    scores: Scores,
    context: Context,
    candidates: Candidates,
    generator: np.random.Generator,
    *,
    per_card: int | None = None,
) -> Slate:
    """Draws a slate for each listener by scores.

    Args:
        drawing: settings of the draw.
        scores: function of a context and its candidates that returns scores, one for each member; higher is better.
        context: the listeners.
        candidates: the cards.
        generator: source of the random numbers.
        per_card: numbers that `scores` holds for each listener and card; null: one for each member.
    """
    at_once = _at_once(per_card or drawing.members, candidates)
    return drawing.select(_by(scores, drawing.slots), context, candidates, generator, at_once=at_once)


def chances_by(
    drawing: Drawing,
    scores: Scores,
    context: Context,
    candidates: Candidates,
    shown: Int[np.ndarray, "listeners slots"],
    *,
    per_card: int | None = None,
) -> Float[np.ndarray, "listeners slots cards"]:
    """Returns the probability with which `chosen` takes each card for each slot, given the earlier slots as shown.

    Args:
        drawing: settings of the draw.
        scores: as in `chosen`.
        context: the listeners.
        candidates: the cards.
        shown: rows of the cards that were shown.
        per_card: as in `chosen`.
    """
    at_once = _at_once(per_card or drawing.members, candidates)
    return drawing.chances(_by(scores, shown.shape[1]), context, candidates, shown, at_once=at_once)


def _by(scores: Scores, slots: int) -> Rank:
    """Returns a function that ranks by scores."""
    return lambda context, candidates: rankings_of(scores(context, candidates), slots, candidates.is_allowed)


def _at_once(per_card: int, candidates: Candidates) -> int:
    """Returns the number of listeners whose scores are held at once."""
    return max(1, SCORES_AT_ONCE // (per_card * max(1, len(candidates))))


def _parts(context: Context, candidates: Candidates, at_once: int) -> Iterator[tuple[slice, Context, Candidates]]:
    """Yields the listeners in parts, with their contexts and candidates; up to `at_once` listeners are one part."""
    if len(context) <= at_once:
        yield slice(None), context, candidates
        return
    for start in range(0, len(context), at_once):
        part = slice(start, start + at_once)
        yield part, context.of(part), candidates.for_(part)
