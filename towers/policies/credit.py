"""Places of one list shared out among several members: the Nash product of what they get, held to equal credit.

Members' utilities are on no common scale, so that only their order counts: what a member has at rank r of the
candidates (0 is the best) is worth 1 / (r + `RANK_OFFSET`) to them, which is how the chance of a listen falls, and sums
of worth have a common zero. Contents come one by one, each of them the one by which the product of the members' sums,
discounted by place as in DCG, grows most (Nash 1950; for public goods Conitzer, Freeman and Shah 2017, "Fair Public
Decision Making").

Each place is a credit of 1, which members share in proportion to what the content is worth to them. After every place
each member's credit is within one place of equal. That can go on for ever where the arrears (places / members - credit)
of n members, sorted falling, are at most 1, 1 - 1 / n, ..., 1 / n: then whole places can go to whoever is the furthest
behind, and none comes too late (earliest deadline first; cf. the chairman assignment problem, Tijdeman 1980). So a
content comes only where that holds after it, and where there is none, the place goes to the best content of whoever is
the furthest behind, as theirs alone.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

RANK_OFFSET = 5
"""The best content is worth twice as much as the one at rank 5."""
ROUNDING = 1e-9
"""Credits are sums of shares."""
_BLOCK = 128
"""So many candidates at once are held against the limits of credit, the best first."""


def worth_by_rank(utilities: Float[np.ndarray, "members candidates"]) -> Float[np.ndarray, "members candidates"]:
    """What candidates are worth to members, above 0; of equal utilities the first is worth more."""
    order = np.argsort(-utilities, axis=1, kind="stable")
    worth = np.empty(utilities.shape)
    np.put_along_axis(worth, order, 1 / (np.arange(utilities.shape[1]) + RANK_OFFSET)[None], axis=1)
    return worth


def share_places(
    worth: Float[np.ndarray, "members candidates"],
    num_places: int,
    is_open: Callable[[list[int]], Bool[np.ndarray, " candidates"]] | None = None,
) -> tuple[Int[np.ndarray, " picks"], Float[np.ndarray, "picks members"]]:
    """Which candidates come, in order, and whom each place is credited to.

    Args:
        worth: to each member, above 0.
        num_places: at most so many come.
        is_open: which candidates may come after those that came, which themselves may not; null: all others.

    Returns:
        Indices of candidates, and credits, of which each place has 1.
    """
    num_members, num_candidates = worth.shape
    discounts = 1 / np.log2(np.arange(num_places) + 2)
    # Relative to the best list that one member alone could have, so that 1 / num_places, from which everybody starts,
    # is about what one place gives; without a start the first places would go to what nobody minds.
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
    """Whether credits are within one place of equal after every place."""
    return bool((np.abs(_ahead(credits)) <= 1 + ROUNDING).all())


def in_sequence(
    gains: Float[np.ndarray, "picks picks"], credits: Float[np.ndarray, "picks members"], reach: int | float
) -> Int[np.ndarray, " picks"]:
    """An order in which neighbours fit, and credits still within one place of equal after every place.

    Two contents change places as long as the sum of the gains of neighbours grows by it, and neither comes to stand
    further from its first place than a share of that: what is worth most still comes first.

    Args:
        gains: what two contents are worth as neighbours, such as their cosine; symmetric.
        credits: of the contents in the order of their worth; within one place of equal after every place.
        reach: the share, such as 0.25: what came fourth may come third, fourth or fifth. 0 leaves the order as it is.
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
    """The first candidate after which credits can be held within one place of equal for ever; null where none is.

    Args:
        best_first: indices into `shares`.
        shares: of the place's credit.
        arrears: after the place, before its credit.
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
    """By how many places each member is ahead of equal credit after every place."""
    places = np.arange(1, len(credits) + 1)[:, None]
    return np.cumsum(credits, axis=0) - places / credits.shape[1]
