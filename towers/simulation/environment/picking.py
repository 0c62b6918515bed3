"""What a listener plays who is offered a slate: one of its contents, or something that they put on themselves."""

from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Integer

from towers.contract.slate import NOTHING
from towers.simulation.listeners.live import Acting

OWN_PULL: Final = 5.0
OWN: Final = -1
"""Slot of what a listener puts on themselves."""

Rows = Integer[np.ndarray, " some"]


@runtime_checkable
class LivingListeners(Acting, Protocol):
    """Listeners who act, fitted or planted, and make room for others."""

    rng: np.random.Generator
    who: Int[np.ndarray, " listeners"]
    """The person in each row, as a number in the population that they were drawn from."""

    def renew(self, rows: Rows) -> None:
        """Rows are taken by other listeners of a population."""
        ...

    def attraction(self, rows: Rows, content: Integer[np.ndarray, "some many"]) -> Float[np.ndarray, "some many"]:
        """Logarithm of how many average contents each content weighs for its listener."""
        ...

    def sessions_a_day(self, rows: Rows) -> Float[np.ndarray, " some"]:
        """How often each listener truly comes, in the long run."""
        ...

    def skip_chance(self, rows: Rows, content: Integer[np.ndarray, "some many"]) -> Float[np.ndarray, "some many"]:
        """The true chance that each listener would skip each content if it played now."""
        ...


def picked(
    listeners: LivingListeners, rows: Rows, slates: Integer[np.ndarray, "some slate"], own_pull: float
) -> tuple[Int[np.ndarray, " some"], Int[np.ndarray, " some"]]:
    """Draws what each listener plays, by a softmax of what each content and own choice weigh.

    A content weighs as much as its likelihood under the listener's fitted own choice beside that of an average content,
    own choice `exp(own_pull)` such contents. A log without impressions does not tell `own_pull`: it is an assumption.
    What cannot be played, is not out yet or stands in the slate already is never picked.

    Args:
        listeners: in a session each; what they pick is not played yet.
        rows: of them.
        slates: rows of contents that each is offered; `NOTHING` in an empty slot.
        own_pull: logarithm of how many average contents weigh as much as own choice.

    Returns:
        Rows of contents, and the slot of each; `OWN` where the listener put it on themselves.
    """
    space, now_us = listeners.state.space, listeners.state.now_us[rows]
    is_there = slates != NOTHING
    slates = np.where(is_there, slates, 0)
    weighs = np.full((len(rows), slates.shape[1] + 1), own_pull)
    weighs[:, :-1] = listeners.attraction(rows, slates)
    may_come = is_there & space.is_playable[slates] & (space.released_us[slates] <= now_us[:, None])
    earlier = np.tril(np.ones((slates.shape[1],) * 2, bool), -1)
    may_come &= ~((slates[:, :, None] == slates[:, None]) & is_there[:, None] & earlier).any(axis=2)
    weighs[:, :-1][~may_come] = -np.inf
    slot = (weighs + listeners.rng.gumbel(size=weighs.shape)).argmax(axis=1)
    is_own = slot == slates.shape[1]
    content = slates[np.arange(len(rows)), np.where(is_own, 0, slot)].astype(np.int64)
    if is_own.any():
        content[is_own] = listeners.choose(rows[is_own])
    return content, np.where(is_own, OWN, slot)
