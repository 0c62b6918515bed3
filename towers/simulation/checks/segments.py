"""Segments of listeners that a check reports separately, by their plays before the period."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from towers.simulation.checks.heard import Heard
from towers.simulation.listeners.space import Space

NEW_PLAYS = 25
"""Number of plays before the period below which a listener is new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A group of listeners.

    Args:
        name: name, of letters, digits and `_`.
        words: description of the listeners.
        among: whether each listener belongs to the group.
    """

    name: str
    words: str
    among: Bool[np.ndarray, " listeners"]


def segments(heard: Heard, space: Space) -> tuple[Segment, ...]:
    """Returns new listeners, and of the others outer thirds by plays before the period and by the entropy of regions.

    Groups without listeners are left out.
    """
    plays, entropy = heard.plays_before, region_entropy(heard, space)
    is_known = plays >= NEW_PLAYS
    found = [
        Segment(name="new", words=f"fewer than {NEW_PLAYS} plays before the period", among=~is_known),
        *_thirds(plays.astype(np.float64), is_known, ("light", "least plays before"), ("heavy", "most plays before")),
        *_thirds(entropy, is_known, ("specialists", "fewest regions before"), ("generalists", "most regions before")),
    ]
    return tuple(one for one in found if one.among.any())


def region_entropy(heard: Heard, space: Space) -> Float[np.ndarray, " listeners"]:
    """Returns the entropy in nats of the regions of each listener's earlier plays; no region counts as a region."""
    regions = len(space.region_names) + 1
    region = np.where(space.region < 0, regions - 1, space.region)[heard.before.content]
    size = heard.listeners * regions
    counts = np.bincount(heard.before.listener * regions + region, minlength=size).reshape(-1, regions)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=1)


def _thirds(
    figure: Float[np.ndarray, " listeners"],
    is_known: Bool[np.ndarray, " listeners"],
    low: tuple[str, str],
    high: tuple[str, str],
) -> list[Segment]:
    if not is_known.any():
        return []
    least, most = np.quantile(figure[is_known], (1 / 3, 2 / 3))
    return [
        Segment(name=low[0], words=f"third with {low[1]}", among=is_known & (figure <= least)),
        Segment(name=high[0], words=f"third with {high[1]}", among=is_known & (figure >= most)),
    ]
