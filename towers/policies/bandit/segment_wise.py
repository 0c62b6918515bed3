"""Policies that know a listener only by his segment: counts of each card in each segment, and a rule that scores them.

They rank cards once for each segment and member, not for each listener, which makes rounds of many thousand listeners
cheap. The random part of a rule is drawn anew at every update, from the seed, the number of updates and the segment; a
policy's members are the draws. So a choice and its probability follow from (seed, state) bit for bit.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from towers.contract.policy import Candidates, Context, Outcomes
from towers.contract.slate import NOTHING, Slate
from towers.policies.bandit.choosing import SCORES_AT_ONCE, Drawing
from towers.policies.bandit.counts import NOT_KNOWN, Counts
from towers.policies.bandit.drawing import rankings_of
from towers.policies.bandit.segment_rules import Counted, Rule

LISTENERS_AT_ONCE = 2_000
CARD_SETS = 8
"""Number of candidate sets whose rankings are cached between two updates: the shelves of a page."""


class SegmentWise:
    """Chooses by what listeners of the same segment did, scored by a rule.

    Args:
        rule: rule that scores a card by its counts (`segment_rules`).
        policy_id: name in the log.
        slots: number of cards in a slate.
        by_segment: whether segments are distinguished; otherwise all listeners count as one.
        members: number of draws of the rule's random part: of the posterior, or of the order of cards with equal
            scores.
        floor: probability of taking any card at random, in [0, 1]; the epsilon of epsilon-greedy.
        per_slate: whether a member, or the floor, decides for a whole slate, as published, instead of anew in each
            slot.
        discount: share of the counts that an update keeps before it adds its own, above 0 and at most 1; below 1 the
            policy forgets.
        seed: seed of the draws.
        shelf: name of the shelf in its slates.

    Raises:
        ValueError: a number is below 1, or a share is out of range.
    """

    def __init__(
        self,
        *,
        rule: Rule,
        policy_id: str,
        slots: int = 12,
        by_segment: bool = True,
        members: int = 32,
        floor: float = 0.05,
        per_slate: bool = False,
        discount: float = 1.0,
        seed: int = 0,
        shelf: str = "home",
    ):
        self._drawing = Drawing(slots=slots, members=members, floor=floor, per_slate=per_slate, shelf=shelf)
        if not 0 < discount <= 1:
            raise ValueError(f"discount must be above 0 and at most 1, got {discount}")
        self.slots, self.policy_id = slots, policy_id
        self._rule, self._by_segment, self._discount, self._seed = rule, by_segment, discount, seed
        self._counts = Counts()
        self._updates = 0
        # Rankings of each segment since the last update, by the candidates' content_rows.
        self._ranked: dict[bytes, dict[int, Int[np.ndarray, "members slots"]]] = {}

    def settings(self) -> dict[str, Any]:
        """Returns the keyword arguments as JSON values."""
        rule = {"_target_": f"{type(self._rule).__module__}.{type(self._rule).__qualname__}", **asdict(self._rule)}
        return {"rule": rule, **self._drawing.settings(), "by_segment": self._by_segment,
                "discount": self._discount, "seed": self._seed, "policy_id": self.policy_id}  # fmt: skip

    def select(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        """Draws one slate for each listener, as long as the candidates allow."""
        return self._drawing.select(self._rankings, context, candidates, generator, at_once=self._at_once(candidates))

    def chances(
        self, context: Context, candidates: Candidates, shown: Int[np.ndarray, "listeners slots"]
    ) -> Float[np.ndarray, "listeners slots cards"]:
        """Returns the probability of each candidate for each slot, given the earlier slots as shown."""
        return self._drawing.chances(self._rankings, context, candidates, shown, at_once=self._at_once(candidates))

    def update(self, outcomes: Outcomes) -> None:
        """Adds the counts of what was seen, after earlier counts have faded."""
        self._counts.fade(self._discount)
        self._counts.add(outcomes, self._segments(outcomes.context))
        self._updates += 1
        self._ranked = {}

    def expected(self, outcomes: Outcomes) -> Float[np.ndarray, " rows"]:
        """Returns the mean reward expected of each row's card in the listener's segment; it does not depend on the
        slot."""
        segments = self._segments(outcomes.context)
        found = np.zeros(len(outcomes))
        for segment in np.unique(segments).tolist():
            own = segments == segment
            found[own] = self._rule.means(self._counted(segment, outcomes.content_rows[own]))
        return found

    def state(self) -> dict[str, np.ndarray]:
        """Returns the counts by segment, and the number of updates."""
        return {**self._counts.state(), "updates": np.array(self._updates)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores what `state` returned.

        Raises:
            ValueError: an array is missing, or has another shape.
        """
        if "updates" not in state:
            raise ValueError("updates is missing from the state")
        self._counts.restore(state)
        self._updates = int(state["updates"])
        self._ranked = {}

    def _segments(self, context: Context) -> Int[np.ndarray, " listeners"]:
        """Returns the segments, or `NOT_KNOWN` for all where segments are not distinguished."""
        return context.segments if self._by_segment else np.full(len(context), NOT_KNOWN)

    def _at_once(self, candidates: Candidates) -> int:
        """Returns how many listeners are processed at once: fewer where each has a ranking of his own."""
        if candidates.is_allowed is None:
            return LISTENERS_AT_ONCE
        return max(1, min(LISTENERS_AT_ONCE, SCORES_AT_ONCE // (self._drawing.members * max(1, len(candidates)))))

    def _rankings(self, context: Context, candidates: Candidates) -> Int[np.ndarray, "members listeners depth"]:
        """Returns each member's ranking for each listener."""
        different, own = np.unique(self._segments(context), return_inverse=True)
        if candidates.is_allowed is not None:
            scores = [self._scored(segment, candidates) for segment in different.tolist()]
            each = np.stack(scores, axis=1)[:, own] if scores else np.zeros((self._drawing.members, 0, len(candidates)))
            return rankings_of(each, self.slots, candidates.is_allowed)
        key = candidates.content_rows.tobytes()
        if key not in self._ranked and len(self._ranked) >= CARD_SETS:
            self._ranked = {}
        ranked = self._ranked.setdefault(key, {})
        for segment in different.tolist():
            if segment not in ranked:
                ranked[segment] = rankings_of(self._scored(segment, candidates)[:, None], self.slots, None)[:, 0]
        if not len(different):
            return np.full((self._drawing.members, 0, min(self.slots, len(candidates))), NOTHING)
        return np.stack([ranked[segment] for segment in different.tolist()], axis=1)[:, own]

    def _scored(self, segment: int, candidates: Candidates) -> Float[np.ndarray, "members cards"]:
        """Returns each member's scores of the candidates, which stay the same between two updates."""
        drawing = np.random.default_rng([self._seed, self._updates, segment + 1])
        return self._rule.scores(self._counted(segment, candidates.content_rows), self._drawing.members, drawing)

    def _counted(self, segment: int, content_rows: Int[np.ndarray, " cards"]) -> Counted:
        """Returns the counts of cards in a segment."""
        seen, rewarded = self._counts.of(segment, content_rows)
        return Counted(seen=seen, rewarded=rewarded, total=self._counts.total)
