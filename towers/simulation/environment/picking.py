"""Picking: a listener who is offered a slate plays one of its contents, or makes an own choice."""

from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Integer

from towers.contract.slate import NOTHING
from towers.simulation.listeners.live import Acting

OWN_PULL: Final = 5.0
OWN: Final = -1
"""Slot of a listener's own choice."""

Rows = Integer[np.ndarray, " some"]


@runtime_checkable
class LivingListeners(Acting, Protocol):
    """Acting listeners, fitted or planted, that can be replaced by others."""

    rng: np.random.Generator
    who: Int[np.ndarray, " listeners"]
    """Number of the person in each row, in the population that they were drawn from."""

    def renew(self, rows: Rows) -> None:
        """Replaces the listeners in some rows by others of the population."""
        ...

    def attraction(self, rows: Rows, content: Integer[np.ndarray, "some many"]) -> Float[np.ndarray, "some many"]:
        """Returns the log-weight of each content for its listener, relative to an average content."""
        ...

    def sessions_a_day(self, rows: Rows) -> Float[np.ndarray, " some"]:
        """Returns each listener's true long-run number of sessions a day."""
        ...

    def skip_chance(self, rows: Rows, content: Integer[np.ndarray, "some many"]) -> Float[np.ndarray, "some many"]:
        """Returns the true chance that each listener would skip each content if it played now."""
        ...


def picked(
    listeners: LivingListeners, rows: Rows, slates: Integer[np.ndarray, "some slate"], own_pull: float
) -> tuple[Int[np.ndarray, " some"], Int[np.ndarray, " some"]]:
    """Draws what each listener plays, by a softmax of the weights of each content and of own choice.

    A content's weight is its likelihood under the listener's fitted own choice relative to that of an average content;
    own choice weighs as much as `exp(own_pull)` average contents. A log without impressions cannot determine
    `own_pull`: it is an assumption. Contents that cannot be played, are not released yet or are already in the slate
    are never picked.

    Args:
        listeners: listeners, each in a session; the picked contents are not played yet.
        rows: rows of the listeners.
        slates: rows of contents that each is offered; `NOTHING` in an empty slot.
        own_pull: log-weight of own choice relative to an average content.

    Returns:
        Rows of contents, and the slot of each; `OWN` for a listener's own choice.
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
