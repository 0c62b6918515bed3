"""Log of the slates that a policy showed step by step, with rewards and the probabilities of another policy."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.evaluation.off_policy.log import LoggedBandit, Slates


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialLog:
    """A row for each step of each listener: the slate that was shown in the state after all earlier steps.

    A listener with fewer steps than others has left: they give no further reward, for any slates.

    Args:
        listeners: `[rows]`, id of the step's listener, any integer.
        steps: `[rows]`, step, numbered from 0 without gaps for each listener.
        propensities: `[rows]`, probability with which the logging policy showed the slate in this state; in (0, 1]. For
            a slate drawn slot by slot, the product over its slots.
        new_propensities: `[rows]`, probability with which the new policy shows the same slate in the same state; 0 to
            1.
        parts: outcomes of each step until the next one, by name, `[rows]` each: rewards and other counts.
        reward_weights: weight of a part in the reward, by name; other parts are not in the reward.
        states: `[rows, features]`, features of the listener before the step; null: unknown.
        actions: `[rows, features]`, features of the shown slate; null: unknown.
        new_actions: `[rows, features]`, mean of these features over the new policy's slates in the same state.
        exposures: `[rows, kinds]`, number of shown contents of each kind; null: unknown.
        discount: factor by which a reward is multiplied for each later step.

    Raises:
        ValueError: a probability is out of range, a number is not finite, a step is missing or occurs twice, a reward
            weight has no part, the discount is outside (0, 1], or only one of `actions` and `new_actions` is given.
    """

    listeners: Int[np.ndarray, " rows"]
    steps: Int[np.ndarray, " rows"]
    propensities: Float[np.ndarray, " rows"]
    new_propensities: Float[np.ndarray, " rows"]
    parts: dict[str, Float[np.ndarray, " rows"]]
    reward_weights: dict[str, float] = field(default_factory=lambda: {"reward": 1.0})
    states: Float[np.ndarray, "rows states"] | None = None
    actions: Float[np.ndarray, "rows actions"] | None = None
    new_actions: Float[np.ndarray, "rows actions"] | None = None
    exposures: Float[np.ndarray, "rows kinds"] | None = None
    discount: float = 1.0

    def __post_init__(self):
        if not len(self):
            raise ValueError("nothing was logged")
        if not 0 < self.discount <= 1:
            raise ValueError(f"discount must be above 0 and at most 1, got {self.discount}")
        if (self.actions is None) != (self.new_actions is None):
            raise ValueError("actions and new_actions belong together, and one of them is missing")
        if lacking := [name for name in self.reward_weights if name not in self.parts]:
            raise ValueError(f"the reward counts {lacking[0]!r}, none of the log's parts ({', '.join(self.parts)})")
        for name in ("states", "actions", "new_actions", "exposures"):
            if (values := getattr(self, name)) is not None and not np.isfinite(values).all():
                raise ValueError(f"{name} must be finite, and {(~np.isfinite(values)).sum():,} numbers are not")
        order = np.lexsort((self.steps, self.listeners))
        names, first, of = np.unique(self.listeners[order], return_index=True, return_inverse=True)
        place = np.arange(len(order)) - first[of]
        if (odd := self.steps[order] != place).any():
            at = int(odd.argmax())
            raise ValueError(f"listener {names[of[at]]}: step {place[at]} is missing, or one stands twice")
        self.bandit()  # checks chances and numbers

    def __len__(self) -> int:
        return len(self.listeners)

    @property
    def horizon(self) -> int:
        """Largest number of steps of a listener."""
        return int(self.steps.max()) + 1

    @property
    def rewards(self) -> Float[np.ndarray, " rows"]:
        """Reward of each step, before discounting."""
        return sum((weight * self.parts[name] for name, weight in self.reward_weights.items()), np.zeros(len(self)))

    @property
    def discounts(self) -> Float[np.ndarray, " rows"]:
        """Discount factor of each step, relative to the first one."""
        return self.discount ** self.steps.astype(float)

    def of(self, chosen: Bool[np.ndarray, " rows"]) -> "SequentialLog":
        """Returns the rows that a mask selects."""
        kept: dict[str, Any] = {}
        for each in fields(self):
            values = getattr(self, each.name)
            kept[each.name] = values[chosen] if isinstance(values, np.ndarray) else values
        kept["parts"] = {name: values[chosen] for name, values in self.parts.items()}
        return replace(self, **kept)

    def first(self, steps: int, with_rest: bool = False) -> "SequentialLog":
        """Returns the first steps of each listener, in which the new policy acts.

        Args:
            steps: number of steps, at least 1.
            with_rest: whether outcomes of later steps are added to the last step kept, discounted to it. The value is
                then that of the new policy in the first steps followed by the logging policy; otherwise that of the
                first steps alone.
        """
        if not with_rest:
            return self.of(self.steps < steps)
        late, last = self.steps >= steps, self.steps == steps - 1
        names, listener = np.unique(self.listeners, return_inverse=True)
        worth = self.discount ** (self.steps[late] - (steps - 1.0))
        parts = {}
        for name, part in self.parts.items():
            rest = np.bincount(listener[late], part[late] * worth, len(names))
            parts[name] = part + np.where(last, rest[listener], 0.0)
        return replace(self, parts=parts).of(~late)

    def on_policy(self) -> "SequentialLog":
        """Returns the log with the logging policy as the new policy."""
        return replace(self, new_propensities=self.propensities, new_actions=self.actions)

    def bandit(self) -> LoggedBandit:
        """Returns the log as a log of slates: listeners as requests, steps as slots, and discounted rewards.

        Cascade weights, IPS, SNIPS and doubly robust over slots are then the per-decision ones over steps.
        """
        return LoggedBandit(
            requests=self.listeners,
            listeners=self.listeners,
            slots=self.steps,
            propensities=self.propensities,
            new_propensities=self.new_propensities,
            rewards=self.rewards * self.discounts,
            guards=dict(self.parts),
        )

    def slates(self) -> Slates:
        """Arranges `bandit` with a row per listener and a column per step; who has left keeps the last weight."""
        return self.bandit().slates()

    def laid(self, values: Float[np.ndarray, " rows"], empty: float = 0.0) -> Float[np.ndarray, "listeners steps"]:
        """Arranges one number per step in the order of `slates`, with `empty` after a listener has left."""
        names, listener = np.unique(self.listeners, return_inverse=True)
        table = np.full((len(names), self.horizon), empty, float)
        table[listener, self.steps] = values
        return table
