"""Policies that know a listener by his segment alone: counts of each card in each segment, and a rule that scores them.

They rank cards once for each segment and member, not for each listener, which is what makes rounds of many thousand
listeners cheap. Whatever is random in a rule is drawn anew at every update, from the seed, the number of updates and
the segment; a policy's members are the draws. So a choice and its chance follow from (seed, state) bit for bit.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from towers.contract.policy import Candidates, Context, Outcomes
from towers.contract.slate import NOTHING, Slate
from towers.errors import require_counts
from towers.policies.bandit.counts import NOT_KNOWN, Counts
from towers.policies.bandit.drawing import Draws, chances_of, places_of, rankings_of, slate_of
from towers.policies.bandit.whole_slates import whole_chances_of, whole_slates_of

LISTENERS_AT_ONCE = 2_000
SCORES_AT_ONCE = 8_000_000
CARD_SETS = 8
"""Sets of candidates whose rankings are kept between two updates: the shelves of a page."""


class SegmentWise(ABC):
    """A segment-wise policy, but for its rule.

    Args:
        slots: cards in a slate.
        by_segment: whether segments are told apart; otherwise all listeners are one.
        members: draws of whatever the rule draws, of which each slot takes one.
        floor: chance of any card, in [0, 1].
        per_slate: whether a member, or the floor, decides for a whole slate, as published, and not in each slot anew.
        discount: share of its counts that an update keeps before it adds its own, above 0 and at most 1; below 1 the
            policy forgets.
        seed: of the draws.
        shelf: name of the shelf in its slates.
        policy_id: its name in the log.

    Raises:
        ValueError: a number below 1, or a share outside its bounds.
    """

    def __init__(
        self,
        *,
        slots: int,
        by_segment: bool,
        members: int,
        floor: float,
        per_slate: bool,
        discount: float,
        seed: int,
        shelf: str,
        policy_id: str,
    ):
        require_counts(slots=slots, members=members)
        if not 0 <= floor <= 1:
            raise ValueError(f"floor must be between 0 and 1, got {floor}")
        if not 0 < discount <= 1:
            raise ValueError(f"discount must be above 0 and at most 1, got {discount}")
        self.slots, self.by_segment, self.members, self.floor = slots, by_segment, members, floor
        self.per_slate, self.discount, self.seed = per_slate, discount, seed
        self.shelf, self.policy_id = shelf, policy_id
        self._counts = Counts()
        self._updates = 0
        # Rankings of each segment since the last update, by the candidates' content_rows.
        self._ranked: dict[bytes, dict[int, Int[np.ndarray, "members slots"]]] = {}

    def settings(self) -> dict[str, Any]:
        """Keywords of the constructor that all segment-wise policies have."""
        return {
            "slots": self.slots, "by_segment": self.by_segment, "members": self.members, "floor": self.floor,
            "per_slate": self.per_slate, "discount": self.discount, "seed": self.seed, "shelf": self.shelf,
            "policy_id": self.policy_id,
        }  # fmt: skip

    @abstractmethod
    def scores(
        self,
        seen: Float[np.ndarray, " cards"],
        rewarded: Float[np.ndarray, " cards"],
        generator: np.random.Generator,
    ) -> Float[np.ndarray, "members cards"]:
        """The rule: what each member thinks of each card of a segment; higher is better.

        Args:
            seen: how often each card was seen in the segment.
            rewarded: the sum of its rewards.
            generator: the members are drawn from it.
        """
        ...

    @abstractmethod
    def means(
        self, seen: Float[np.ndarray, " cards"], rewarded: Float[np.ndarray, " cards"]
    ) -> Float[np.ndarray, " cards"]:
        """The mean reward that the rule expects of cards; its parameters are those of `scores`."""
        ...

    def select(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        """One slate for each listener, as long as the candidates allow."""
        listeners = len(context)
        draws = Draws.of(generator, listeners, self.slots)
        at_once = LISTENERS_AT_ONCE
        if candidates.is_allowed is not None:
            at_once = max(1, min(at_once, SCORES_AT_ONCE // (self.members * max(1, len(candidates)))))
        segments = self._segments(context)
        drawn = whole_slates_of if self.per_slate else slate_of
        parts = []
        for start in range(0, listeners, at_once) or (0,):
            part = slice(start, start + at_once)
            own = candidates.for_(part)
            rankings = self._rankings(segments[part], own)
            parts.append(drawn(rankings, draws.for_(part), self.floor, own.content_rows, own.is_allowed, self.shelf))
        return Slate(
            content_rows=np.concatenate([slate.content_rows for slate in parts]),
            propensities=np.concatenate([slate.propensities for slate in parts]),
            shelf=self.shelf,
        )

    def chances(
        self, context: Context, candidates: Candidates, shown: Int[np.ndarray, "listeners slots"]
    ) -> Float[np.ndarray, "listeners slots cards"]:
        """The chance of each candidate for each slot, given what is shown in the slots before."""
        places = places_of(candidates.content_rows, shown)
        rankings = self._rankings(self._segments(context), candidates)
        of = whole_chances_of if self.per_slate else chances_of
        return of(rankings, places, self.floor, len(candidates), candidates.is_allowed)

    def update(self, outcomes: Outcomes) -> None:
        """Counts what was seen, after what was counted before has faded."""
        self._counts.fade(self.discount)
        self._counts.add(outcomes, self._segments(outcomes.context))
        self._updates += 1
        self._ranked = {}

    def expected(self, outcomes: Outcomes) -> Float[np.ndarray, " rows"]:
        """The mean reward that it expects of each row's card in the listener's segment, in whichever slot."""
        segments = self._segments(outcomes.context)
        found = np.zeros(len(outcomes))
        for segment in np.unique(segments).tolist():
            own = segments == segment
            found[own] = self.means(*self._counts.of(segment, outcomes.content_rows[own]))
        return found

    def state(self) -> dict[str, np.ndarray]:
        """Counts by segment, and the number of updates."""
        return {**self._counts.state(), "updates": np.array(self._updates)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes what `state` gave.

        Raises:
            ValueError: an array is missing, or has another shape.
        """
        if "updates" not in state:
            raise ValueError("updates is missing from the state")
        self._counts.restore(state)
        self._updates = int(state["updates"])
        self._ranked = {}

    def _segments(self, context: Context) -> Int[np.ndarray, " listeners"]:
        """The segments as far as they are told apart."""
        return context.segments if self.by_segment else np.full(len(context), NOT_KNOWN)

    def _rankings(
        self, segments: Int[np.ndarray, " listeners"], candidates: Candidates
    ) -> Int[np.ndarray, "members listeners depth"]:
        """Each member's ranking for each listener."""
        different, own = np.unique(segments, return_inverse=True)
        if candidates.is_allowed is not None:
            scores = [self._scored(segment, candidates) for segment in different.tolist()]
            each = np.stack(scores, axis=1)[:, own] if scores else np.zeros((self.members, 0, len(candidates)))
            return rankings_of(each, self.slots, candidates.is_allowed)
        key = candidates.content_rows.tobytes()
        if key not in self._ranked and len(self._ranked) >= CARD_SETS:
            self._ranked = {}
        ranked = self._ranked.setdefault(key, {})
        for segment in different.tolist():
            if segment not in ranked:
                ranked[segment] = rankings_of(self._scored(segment, candidates)[:, None], self.slots, None)[:, 0]
        if not len(different):
            return np.full((self.members, 0, min(self.slots, len(candidates))), NOTHING)
        return np.stack([ranked[segment] for segment in different.tolist()], axis=1)[:, own]

    def _scored(self, segment: int, candidates: Candidates) -> Float[np.ndarray, "members cards"]:
        """What each member thinks of the candidates: the same whenever it is asked between two updates."""
        seen, rewarded = self._counts.of(segment, candidates.content_rows)
        drawing = np.random.default_rng([self.seed, self._updates, segment + 1])
        return self.scores(seen, rewarded, drawing)


def mean_of(
    seen: Float[np.ndarray, " cards"], rewarded: Float[np.ndarray, " cards"], unseen: float
) -> Float[np.ndarray, " cards"]:
    """The mean reward of each card, and another number where it was never seen."""
    return np.divide(rewarded, seen, out=np.full(len(seen), unseen), where=seen > 0)


def ties_broken(
    scores: Float[np.ndarray, " cards"], members: int, generator: np.random.Generator
) -> Float[np.ndarray, "members cards"]:
    """The same scores for each member, with equal ones in an order of its own."""
    order = np.argsort(generator.random((members, len(scores))), axis=1)
    # Ranks among different scores, not tiny numbers added to them, so that no two that differ change places.
    rank = np.unique(scores, return_inverse=True)[1]
    return rank + order / max(len(scores), 1)
