"""Lists under rules of the form "at least this many and at most that many of these": whether one exists, and the best.

A pin is also such a rule, with one content. Where any two groups are nested or disjoint, the sets that obey the rules
are the bases of a matroid, so that taking the best content that still leaves a way to obey is exact, for any discount
by place (Edmonds 1971, "Matroids and the greedy algorithm"). This is done for many listeners at once. Rules that cross,
such as those of a genre and of an artist with contents in other genres too, need an integer program for those listeners
whose list breaks one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

EXACT = {"mip_rel_gap": 0.0}
"""Options of the solver, which by default accepts a list that is nearly the best."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """Bounds on the number of some contents of a pool in a list.

    Args:
        words: the rule as its author wrote it.
        among: `[pool]`, the contents that count.
        least: least number of them in a list.
        most: largest number of them in a list.
    """

    words: str
    among: Bool[np.ndarray, " pool"]
    least: int
    most: int

    def holds(self, chosen: Bool[np.ndarray, "lists pool"]) -> Bool[np.ndarray, " lists"]:
        """Returns whether the rule holds, for each list."""
        count = chosen[:, self.among].sum(axis=1)
        return (count >= self.least) & (count <= self.most)


def clashing(rules: Sequence[Rule], share: Float[np.ndarray, " pool"] | None = None) -> list[Rule]:
    """Returns a minimal set of rules that cannot hold together; any of them removed, the others can. Empty where all
    can hold.

    Args:
        rules: at least one rule.
        share: least share of all lists that must have each content; if given, a mean over lists has to obey, not a
            single list.
    """
    if _can_hold(rules, share):
        return []
    found = list(rules)
    for rule in rules:
        without = [other for other in found if other is not rule]
        if without and not _can_hold(without, share):
            found = without
    return found


def _can_hold(rules: Sequence[Rule], share: Float[np.ndarray, " pool"] | None) -> bool:
    if any(rule.least > min(rule.most, int(rule.among.sum())) for rule in rules):
        return False
    pool = len(rules[0].among)
    lowest: Any = np.zeros(pool) if share is None else share
    integrality = np.full(pool, share is None, int)
    return milp(
        np.zeros(pool), constraints=_constraint(rules), bounds=Bounds(lowest, 1), integrality=integrality
    ).success


def _constraint(rules: Sequence[Rule], others: int = 0) -> LinearConstraint:
    """Returns the rules as constraints on whether each content is chosen, followed by `others` unconstrained
    variables."""
    among: Any = np.stack([rule.among for rule in rules]).astype(np.float64)
    among = sparse.hstack([sparse.csr_array(among), sparse.csr_array((len(rules), others))]) if others else among
    bounds: Any = np.array([[rule.least, rule.most] for rule in rules]).T
    return LinearConstraint(among, *bounds)


@dataclass(frozen=True, kw_only=True, eq=False)
class Chooser:
    """Chooses the best lists that obey rules which can hold together.

    Args:
        rules: the rules; the first one is of the whole pool and fixes the number of contents in a list.
        discounts: weights of the places that are not pinned, descending; the best content takes the first. Null: all
            contents of a list count equally.
        pinned: `[pool]`, contents whose place is pinned; they take none of `discounts`.
    """

    rules: tuple[Rule, ...]
    discounts: Float[np.ndarray, " places"] | None
    pinned: Bool[np.ndarray, " pool"]

    def best(self, values: Float[np.ndarray, "lists pool"]) -> Bool[np.ndarray, "lists pool"]:
        """Returns which contents each list holds: those with the largest sum of values, discounted by place.

        Args:
            values: value of each content for each list; ties go to the first in the pool.
        """
        chosen = self.nearly_best(values)
        obeys = np.all([rule.holds(chosen) for rule in self._parted[1]], axis=0) if self._parted[1] else True
        for place in np.flatnonzero(~np.broadcast_to(obeys, len(values))):
            chosen[place] = self._by_program(values[place])
        return chosen

    def nearly_best(self, values: Float[np.ndarray, "lists pool"]) -> Bool[np.ndarray, "lists pool"]:
        """Returns the same without the rules that cross others, a thousand times faster."""
        return self._tree.best(values)

    @cached_property
    def _parted(self) -> tuple[list[Rule], list[Rule]]:
        """Rules of which any two are nested or disjoint, and those that cross one of them."""
        nested, crossing = [self.rules[0]], []
        for rule in self.rules[1:]:
            apart = (_are_nested(rule.among, other.among) for other in nested)
            (nested if all(apart) else crossing).append(rule)
        return nested, crossing

    @cached_property
    def _tree(self) -> "_Tree":
        return _Tree.of(self._parted[0])

    def _by_program(self, values: Float[np.ndarray, " pool"]) -> Bool[np.ndarray, " pool"]:
        """Solves for one list: whether each content is chosen, an integer; and how much of each place it takes.

        The assignment to places is integral once the choice of contents is.
        """
        constraints, integrality = self._program
        gain = np.zeros(len(integrality))
        if self.discounts is None:
            gain[:] = values
        else:
            gain[len(values) :] = np.outer(values[~self.pinned] - values.min(), self.discounts).ravel()
        found = milp(-gain, constraints=constraints, bounds=Bounds(0, 1), integrality=integrality, options=EXACT)
        return np.asarray(found.x[: len(values)]) > 0.5

    @cached_property
    def _program(self) -> tuple[list[LinearConstraint], Int[np.ndarray, " variables"]]:
        """Constraints of any list, and which variables are integers: whether each content is chosen. With discounts,
        the share of each place that each content takes follows."""
        pool = len(self.pinned)
        if self.discounts is None:
            return [_constraint(self.rules)], np.ones(pool, int)
        free, places = np.flatnonzero(~self.pinned), len(self.discounts)
        chosen = sparse.csr_array((-np.ones(len(free)), (np.arange(len(free)), free)), shape=(len(free), pool))
        of_content = sparse.kron(sparse.eye_array(len(free)), np.ones((1, places)))
        of_place = sparse.kron(np.ones((1, len(free))), sparse.eye_array(places))
        nothing = sparse.csr_array((places, pool))
        constraints = [
            _constraint(self.rules, len(free) * places),
            LinearConstraint(sparse.hstack([chosen, of_content]), 0, 0),
            LinearConstraint(sparse.hstack([nothing, of_place]), 1, 1),
        ]
        return constraints, np.concatenate([np.ones(pool, int), np.zeros(len(free) * places, int)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Tree:
    """Groups of which any two are nested or disjoint, the whole pool last.

    Args:
        chains: `[pool, depth]`, the groups that a content is in, from the smallest to the whole pool, which repeats.
        reserved: `[groups]`, number of contents still required from the group, beside those required from its
            subgroups.
        room: `[groups]`, number of contents allowed beyond the required ones.
    """

    chains: Int[np.ndarray, "pool depth"]
    reserved: Int[np.ndarray, " groups"]
    room: Int[np.ndarray, " groups"]

    @classmethod
    def of(cls, rules: Sequence[Rule]) -> "_Tree":
        """Builds the tree; the first rule is of the whole pool."""
        by_group: dict[bytes, tuple[np.ndarray, int, int]] = {}
        for rule in rules:
            key = rule.among.tobytes()
            among, least, most = by_group.get(key, (rule.among, 0, len(rule.among)))
            by_group[key] = among, max(least, rule.least), min(most, rule.most)
        groups = sorted(by_group.values(), key=lambda group: int(group[0].sum()))
        reserved, room = np.zeros(len(groups), np.int64), np.zeros(len(groups), np.int64)
        must, may, covered = [0] * len(groups), [0] * len(groups), np.zeros(len(groups[0][0]), bool)
        is_top = [True] * len(groups)
        chains: list[list[int]] = [[] for _ in covered]
        for at, (among, least, most) in enumerate(groups):
            parts = [part for part in range(at) if is_top[part] and (groups[part][0] & among).any()]
            from_parts = sum(must[part] for part in parts)
            must[at] = max(least, from_parts)
            may[at] = min(most, sum(may[part] for part in parts) + int((among & ~covered).sum()))
            reserved[at], room[at] = must[at] - from_parts, may[at] - must[at]
            covered |= among
            for part in parts:
                is_top[part] = False
            for content in np.flatnonzero(among):
                chains[content].append(at)
        depth = max(map(len, chains))
        padded = [chain + [len(groups) - 1] * (depth - len(chain)) for chain in chains]
        return cls(chains=np.array(padded, np.int64), reserved=reserved, room=room)

    def best(self, values: Float[np.ndarray, "lists pool"]) -> Bool[np.ndarray, "lists pool"]:
        """Takes contents in descending order of value, each that leaves a way to obey the rules.

        A content counts towards what its smallest group requires; otherwise it takes room there and asks the next
        larger group.
        """
        order = np.argsort(-values, axis=1, kind="stable")
        chosen = np.zeros(values.shape, bool)
        if len(self.reserved) == 1:
            np.put_along_axis(chosen, order[:, : self.reserved[0]], True, axis=1)
            return chosen
        lists = np.arange(len(values))
        reserved, room = (np.repeat(each[None], len(values), axis=0) for each in (self.reserved, self.room))
        levels = np.arange(self.chains.shape[1])
        for content in order.T:
            chain = self.chains[content]
            is_asked = reserved[lists[:, None], chain] > 0
            ends = is_asked | (room[lists[:, None], chain] == 0)
            end = ends.argmax(axis=1)  # the whole pool at the latest, which has no room
            is_taken = is_asked[lists, end]
            chosen[lists, content] = is_taken
            reserved[lists[is_taken], chain[lists, end][is_taken]] -= 1
            passed, level = np.nonzero(is_taken[:, None] & (levels < end[:, None]))
            room[passed, chain[passed, level]] -= 1
            if not reserved.any():
                break  # every list is full
        return chosen


def _are_nested(one: Bool[np.ndarray, " pool"], other: Bool[np.ndarray, " pool"]) -> bool:
    """Returns whether one group contains the other, or they are disjoint."""
    both = one & other
    return not both.any() or bool((both == one).all() or (both == other).all())
