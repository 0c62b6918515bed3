"""What a policy has shown to listeners step by step, and what came of it, beside what another policy would do."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.evaluation.off_policy.log import LoggedBandit, Slates


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialLog:
    """A row for each step of each listener: a slate that was shown in the state that all steps before have led to.

    A listener who has fewer steps than others has left: nothing more comes of them, whatever is shown.

    Args:
        listeners: `[rows]`, whose step it is, as any whole number.
        steps: `[rows]`, from 0 without a gap for each listener.
        propensities: `[rows]`, chance with which the policy that logged showed the slate in this state; in (0, 1]. Of
            a slate drawn slot by slot, the product over its slots.
        new_propensities: `[rows]`, chance with which the new policy shows the same slate in the same state; 0 to 1.
        parts: by name what came of each step until the next one, `[rows]` each: rewards, and what is counted beside.
        reward_weights: by name of a part, what it is worth; a part without one is no reward.
        states: `[rows, features]`, what is known of the listener before the step; null: not known.
        actions: `[rows, features]`, of the slate that was shown; null: not known.
        new_actions: `[rows, features]`, mean of the same over the slates that the new policy shows in the same state.
        exposures: `[rows, kinds]`, how many contents of each kind were shown; null: not known.
        discount: what a reward one step later is worth beside one now.

    Raises:
        ValueError: a chance outside its range, a number that is not finite, a step that is missing or stands twice, a
            reward without a part, a discount outside (0, 1], or one of `actions` and `new_actions` alone.
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
        """Steps of the listener who has most."""
        return int(self.steps.max()) + 1

    @property
    def rewards(self) -> Float[np.ndarray, " rows"]:
        """What each step was worth."""
        return sum((weight * self.parts[name] for name, weight in self.reward_weights.items()), np.zeros(len(self)))

    @property
    def discounts(self) -> Float[np.ndarray, " rows"]:
        """What a reward of each step is worth at the first one."""
        return self.discount ** self.steps.astype(float)

    def of(self, chosen: Bool[np.ndarray, " rows"]) -> "SequentialLog":
        """Keeps some of the rows, chosen by a mask."""
        kept: dict[str, Any] = {}
        for each in fields(self):
            values = getattr(self, each.name)
            kept[each.name] = values[chosen] if isinstance(values, np.ndarray) else values
        kept["parts"] = {name: values[chosen] for name, values in self.parts.items()}
        return replace(self, **kept)

    def first(self, steps: int, with_rest: bool = False) -> "SequentialLog":
        """Keeps the first steps of each listener, in which the new policy acts.

        Args:
            steps: how many, at least 1.
            with_rest: whether what came of later steps counts as well, as of the last step kept, discounted to it. The
                value is then that of the new policy in the first steps, followed by the one that logged; without, that
                of the first steps alone.
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
        """The log as if the new policy were the one that logged."""
        return replace(self, new_propensities=self.propensities, new_actions=self.actions)

    def bandit(self) -> LoggedBandit:
        """Returns the log as one of slates: a listener is a request, a step is a slot, and rewards are discounted.

        A cascade's weights, IPS, SNIPS and doubly robust over slots are the per-decision ones over steps.
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
        """`bandit` laid out, a row a listener and a column a step; a listener who has left weighs what they did."""
        return self.bandit().slates()

    def laid(self, values: Float[np.ndarray, " rows"], empty: float = 0.0) -> Float[np.ndarray, "listeners steps"]:
        """One number of each step in the order of `slates`, and `empty` where a listener has left."""
        names, listener = np.unique(self.listeners, return_inverse=True)
        table = np.full((len(names), self.horizon), empty, float)
        table[listener, self.steps] = values
        return table
