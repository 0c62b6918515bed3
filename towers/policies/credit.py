"""Places of one list shared among several members: the Nash product of what they get, with equal credit.

Members' utilities have no common scale, so only their order counts: a candidate at a member's rank r (0 is the best) is
worth 1 / (r + `RANK_OFFSET`) to them, which is how the probability of a listen falls, and sums of worth have a common
zero. Contents are added one by one, each the one by which the product of the members' sums, discounted by place as in
DCG, grows most (Nash 1950; for public goods Conitzer, Freeman and Shah 2017, "Fair Public Decision Making").

Each place is a credit of 1, which members share in proportion to what the content is worth to them. After every place
each member's credit is within one place of equal. That can be kept up for ever where the arrears (places / members -
credit) of n members, in descending order, are at most 1, 1 - 1 / n, ..., 1 / n: then whole places can go to the member
who is furthest behind, and none comes too late (earliest deadline first; cf. the chairman assignment problem, Tijdeman
1980). So a content is added only if this holds afterwards; if there is none, the place goes to the best content of the
member who is furthest behind, and is credited to that member alone.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

RANK_OFFSET = 5
"""Offset of ranks: the best content is worth twice as much as the one at rank 5."""
ROUNDING = 1e-9
"""Tolerance of credits, which are rounded sums of shares."""
_BLOCK = 128
"""Number of candidates that are checked against the limits of credit at once, the best first."""


def worth_by_rank(utilities: Float[np.ndarray, "members candidates"]) -> Float[np.ndarray, "members candidates"]:
    """Returns what candidates are worth to members, above 0; of equal utilities the first is worth more."""
    order = np.argsort(-utilities, axis=1, kind="stable")
    worth = np.empty(utilities.shape)
    np.put_along_axis(worth, order, 1 / (np.arange(utilities.shape[1]) + RANK_OFFSET)[None], axis=1)
    return worth


def share_places(
    worth: Float[np.ndarray, "members candidates"],
    num_places: int,
    is_open: Callable[[list[int]], Bool[np.ndarray, " candidates"]] | None = None,
) -> tuple[Int[np.ndarray, " picks"], Float[np.ndarray, "picks members"]]:
    """Chooses candidates in order, and the members that each place is credited to.

    Args:
        worth: what candidates are worth to each member, above 0.
        num_places: largest number of picks.
        is_open: function that returns which candidates may follow the given picks, without the picks themselves; null:
            all others.

    Returns:
        Indices of candidates, and credits, which sum to 1 for each place.
    """
    num_members, num_candidates = worth.shape
    discounts = 1 / np.log2(np.arange(num_places) + 2)
    # Relative to the best list that one member alone could have, so that the start of 1 / num_places for each member is
    # about what one place gives; with a start of 0 the first places would go to contents that please every member a
    # little.
    best = -np.sort(-worth, axis=1)[:, :num_places]
    relative = worth / (best @ discounts[: best.shape[1]])[:, None]
    shares = (relative / relative.sum(axis=0)).T
    received, credit = np.full(num_members, 1 / num_places), np.zeros(num_members)
    picks: list[int] = []
    credits: list[np.ndarray] = []
    open_now = np.ones(num_candidates, bool)
    for place, discount in enumerate(discounts):
        if is_open is not None:
            open_now = is_open(picks)
        candidates = np.flatnonzero(open_now)
        if not len(candidates):
            break
        products = np.log(received[:, None] + discount * relative[:, candidates]).sum(axis=0)
        best_first = candidates[np.argsort(-products, kind="stable")]
        pick = _first_fair(best_first, shares, (place + 1) / num_members - credit)
        if pick is None:
            behind = int(credit.argmin())
            pick = int(candidates[relative[behind, candidates].argmax()])
            share = np.eye(num_members)[behind]
        else:
            share = shares[pick]
        picks.append(pick)
        credits.append(share)
        open_now[pick] = False
        credit = credit + share
        received = received + discount * relative[:, pick]
    return np.array(picks, np.int64), np.array(credits).reshape(-1, num_members)


def is_fair(credits: Float[np.ndarray, "picks members"]) -> bool:
    """Returns whether credits are within one place of equal after every place."""
    return bool((np.abs(_ahead(credits)) <= 1 + ROUNDING).all())


def in_sequence(
    gains: Float[np.ndarray, "picks picks"], credits: Float[np.ndarray, "picks members"], reach: int | float
) -> Int[np.ndarray, " picks"]:
    """Returns an order in which neighbours fit and credits are still within one place of equal after every place.

    Two contents change places as long as this raises the sum of the gains of neighbours, and neither moves further from
    its first place than a share of that place, so that what is worth most still comes early.

    Args:
        gains: gain of two contents as neighbours, such as their cosine; symmetric.
        credits: credits of the contents in the order of their worth; within one place of equal after every place.
        reach: the share, such as 0.25: the content in place 4 may come third, fourth or fifth. 0 leaves the order as it
            is.
    """
    order = np.arange(len(gains))
    reaches = (reach * (order + 1)).astype(np.int64)
    pairs = [
        (one, other) for one in order.tolist() for other in range(one + 1, len(order)) if other - one <= reaches[-1]
    ]
    has_changed = True
    while has_changed:
        has_changed = False
        for first, second in pairs:
            one, other = order[first], order[second]
            if abs(second - one) > reaches[one] or abs(first - other) > reaches[other]:
                continue
            changed = order.copy()
            changed[[first, second]] = other, one
            around = slice(max(first - 1, 0), second + 2)
            is_better = _flow(gains, changed[around]) > _flow(gains, order[around]) + ROUNDING
            if is_better and is_fair(credits[changed]):
                order, has_changed = changed, True
    return order


def _flow(gains: Float[np.ndarray, "picks picks"], order: Int[np.ndarray, " some"]) -> float:
    return float(gains[order[:-1], order[1:]].sum())


def _first_fair(
    best_first: Int[np.ndarray, " candidates"],
    shares: Float[np.ndarray, "all_candidates members"],
    arrears: Float[np.ndarray, " members"],
) -> int | None:
    """Returns the first candidate after which credits can be kept within one place of equal for ever; null without any.

    Args:
        best_first: indices into `shares`.
        shares: members' shares of the place's credit.
        arrears: arrears of the members after the place, before its credit.
    """
    num_members = len(arrears)
    limits = 1 - np.arange(num_members) / num_members + ROUNDING
    for start in range(0, len(best_first), _BLOCK):
        block = best_first[start : start + _BLOCK]
        after = -np.sort(shares[block] - arrears, axis=1)
        is_held = (after <= limits).all(axis=1) & (after[:, -1] >= -1 - ROUNDING)
        if is_held.any():
            return int(block[is_held.argmax()])
    return None


def _ahead(credits: Float[np.ndarray, "picks members"]) -> Float[np.ndarray, "picks members"]:
    """Returns by how many places each member is ahead of equal credit after every place."""
    places = np.arange(1, len(credits) + 1)[:, None]
    return np.cumsum(credits, axis=0) - places / credits.shape[1]
