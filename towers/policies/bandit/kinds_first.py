"""A policy that first shares slots out among kinds, then lets any other policy choose cards of each kind.

The expected reward of a kind for a listener, a time of day and a day of the week is learned by a Bayesian linear model
for each kind, and slots are shared in proportion to it, in the manner of Feijer et al. 2025, "Calibrated
Recommendations with Contextual Bandits" (arXiv 2509.05460): what a listener wants in the morning differs from the
average of the past three months. Within a kind the wrapped policy chooses among its cards as if there were no others.

For each slot a kind is drawn in proportion to how far it is behind its share of the slots so far, or with a small
probability any kind that has cards left. The probability of a card in a slot is that of its kind times the one that the
wrapped policy gives it among cards of that kind, given the earlier ones: a product of two exact probabilities.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from towers.contract.policy import Candidates, Context, Outcomes
from towers.contract.schema import KINDS
from towers.contract.slate import NOTHING, Slate
from towers.policies.bandit.arrays import taken
from towers.policies.bandit.drawing import places_of
from towers.policies.bandit.features import CYCLES, cycles
from towers.policies.bandit.policy_file import WritablePolicy, described

LEAST_WORTH = 1e-4
"""Least expected reward of a kind, however low its estimate."""
POLICY = "policy."
"""Prefix of the names of the wrapped policy's arrays in the state."""


class KindsFirst:
    """A policy that shares slots out among kinds and asks another policy for the cards of each.

    Args:
        policy: policy that chooses among cards of a kind; this policy has as many slots.
        dim: dimension of the listeners' vectors, which a kind's reward may depend on; 0: vectors are not read.
        sharpness: exponent; a kind's share of the slots is in proportion to this power of its expected reward. 0: all
            kinds get the same share.
        kind_floor: probability of any kind that has cards left, for a slot.
        prior_reward: expected reward of a card of a kind without outcomes.
        prior_outcomes: number of outcomes that the prior counts as.
        keep: share of the kinds' evidence that is kept at each update.
        policy_id: name in the log.
    """

    def __init__(
        self,
        *,
        policy: WritablePolicy,
        dim: int = 0,
        sharpness: float = 1.0,
        kind_floor: float = 0.05,
        prior_reward: float = 0.05,
        prior_outcomes: float = 20.0,
        keep: float = 1.0,
        policy_id: str = "kinds-first",
    ):
        self.policy_id, self.slots = policy_id, policy.slots
        self._policy, self._dim = policy, dim
        self._numbers = {"sharpness": sharpness, "kind_floor": kind_floor, "prior_reward": prior_reward,
                         "prior_outcomes": prior_outcomes, "keep": keep}  # fmt: skip
        width = 1 + len(CYCLES) + dim
        self._products = np.zeros((len(KINDS), width, width))
        self._rewards = np.zeros((len(KINDS), width))

    def settings(self) -> dict[str, Any]:
        """Returns the keyword arguments as JSON values; the wrapped policy as its class and settings."""
        return {"policy": described(self._policy), "dim": self._dim, **self._numbers, "policy_id": self.policy_id}

    def select(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        """Draws one slate for each listener."""
        listeners = len(context)
        kinds = np.unique(candidates.kinds)
        drawn = generator.random((listeners, self.slots))
        slates = [self._policy.select(context, _of_kind(candidates, kind), generator) for kind in kinds.tolist()]
        empty = np.full((0, listeners, self.slots), NOTHING)
        rows = np.stack([slate.content_rows for slate in slates]) if slates else empty
        within = np.stack([slate.propensities for slate in slates]) if slates else np.ones(empty.shape)
        room = (rows != NOTHING).sum(axis=2)
        shares = self._shares(context)[:, kinds].T
        used = np.zeros((len(kinds), listeners), dtype=np.int64)
        chosen = np.full((listeners, self.slots), NOTHING)
        chances = np.ones((listeners, self.slots))
        everybody = np.arange(listeners)
        for slot in range(self.slots if len(kinds) else 0):
            is_open = used < room
            of_kinds = _next_kind(shares, used, is_open, slot, self._numbers["kind_floor"])
            kind = (drawn[:, slot] >= np.cumsum(of_kinds, axis=0)).sum(axis=0)
            # By rounding a sum may be just below 1: then it is the last kind with a probability above 0.
            last = len(kinds) - 1 - np.argmax(of_kinds[::-1] > 0, axis=0)
            kind = np.minimum(kind, last)
            has_any = is_open.any(axis=0)
            place = np.minimum(used[kind, everybody], self.slots - 1)
            chance = of_kinds[kind, everybody] * within[kind, everybody, place]
            chosen[:, slot] = np.where(has_any, rows[kind, everybody, place], NOTHING)
            chances[:, slot] = np.where(has_any, chance, 1.0)
            used[kind, everybody] += has_any
        return Slate(content_rows=chosen, propensities=chances, shelf=slates[0].shelf if slates else "home")

    def chances(
        self, context: Context, candidates: Candidates, shown: Int[np.ndarray, "listeners slots"]
    ) -> Float[np.ndarray, "listeners slots cards"]:
        """Returns the probability of each candidate for each slot, given the earlier slots as shown."""
        kinds = np.unique(candidates.kinds)
        places = places_of(candidates.content_rows, shown)
        of_place = np.append(candidates.kinds, NOTHING)[places]
        everybody = np.arange(len(context))
        own, room, within = [], [], []
        for kind in kinds.tolist():
            cards = _of_kind(candidates, kind)
            # Cards of this kind that were shown, in order: the slate as the wrapped policy would see it.
            order = np.argsort(of_place != kind, axis=1, kind="stable")
            of_kind = np.where(
                np.take_along_axis(of_place, order, axis=1) == kind, np.take_along_axis(shown, order, axis=1), NOTHING
            )
            allowed = cards.is_allowed
            left = np.full(len(context), len(cards)) if allowed is None else allowed.sum(axis=1)
            own.append(np.flatnonzero(candidates.kinds == kind))
            room.append(np.minimum(left, self.slots))
            within.append(self._policy.chances(context, cards, of_kind))
        shares = self._shares(context)[:, kinds].T
        used = np.zeros((len(kinds), len(context)), dtype=np.int64)
        found = np.zeros((*shown.shape, len(candidates)))
        for slot in range(shown.shape[1] if len(kinds) else 0):
            of_kinds = _next_kind(shares, used, used < np.stack(room), slot, self._numbers["kind_floor"])
            for number, cards in enumerate(own):
                place = np.minimum(used[number], shown.shape[1] - 1)
                found[:, slot, cards] = of_kinds[number][:, None] * within[number][everybody, place]
            used += of_place[:, slot] == kinds[:, None]
        return found

    def update(self, outcomes: Outcomes) -> None:
        """Learns from the slots that were seen: the kinds, and the wrapped policy."""
        seen = outcomes.of(outcomes.is_seen)
        if not len(seen):
            return
        features = self._features(seen.context)
        products, rewards = self._numbers["keep"] * self._products, self._numbers["keep"] * self._rewards
        for kind in np.unique(seen.kinds):
            own = features[seen.kinds == kind]
            products[kind] += own.T @ own
            rewards[kind] += own.T @ seen.rewards[seen.kinds == kind]
        self._products, self._rewards = products, rewards
        self._policy.update(outcomes)

    def state(self) -> dict[str, np.ndarray]:
        """Returns what was learned about kinds, and the wrapped policy's state."""
        inner = {POLICY + name: array for name, array in self._policy.state().items()}
        return {"kind_products": self._products, "kind_rewards": self._rewards, **inner}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores what `state` returned.

        Raises:
            ValueError: an array is missing, or has another shape.
        """
        products = taken(state, "kind_products", self._products.shape)
        rewards = taken(state, "kind_rewards", self._rewards.shape)
        missing = [POLICY + name for name in self._policy.state() if POLICY + name not in state]
        if missing:
            raise ValueError(f"the policy's state has no {missing[0]!r}")
        inner = {name.removeprefix(POLICY): array for name, array in state.items() if name.startswith(POLICY)}
        self._policy.restore(inner)
        self._products, self._rewards = products, rewards

    def _features(self, context: Context) -> Float[np.ndarray, "listeners width"]:
        """Returns 1, the time, and the vector of each listener."""
        users = context.user_vectors[:, : self._dim]
        if users.shape[1] != self._dim:
            raise ValueError(f"vectors have {users.shape[1]} columns, and the policy was made for {self._dim}")
        return np.column_stack([np.ones(len(context)), cycles(context.times_us), users])

    def _shares(self, context: Context) -> Float[np.ndarray, "listeners kinds"]:
        """Returns the share of the slots that each kind should get."""
        strength, prior = self._numbers["prior_outcomes"], self._numbers["prior_reward"]
        width = self._products.shape[1]
        wanted = self._rewards + strength * np.eye(width)[0] * prior
        weights = np.linalg.solve(self._products + strength * np.eye(width), wanted[..., None])[..., 0]
        worth = np.maximum(self._features(context) @ weights.T, LEAST_WORTH) ** self._numbers["sharpness"]
        return worth / worth.sum(axis=1, keepdims=True)


def _of_kind(candidates: Candidates, kind: int) -> Candidates:
    """Returns the cards of a kind."""
    own = candidates.kinds == kind
    allowed = candidates.is_allowed
    return Candidates(
        content_rows=candidates.content_rows[own],
        vectors=candidates.vectors[own],
        kinds=candidates.kinds[own],
        is_allowed=None if allowed is None else allowed[:, own],
        pairs={name: array[:, own] for name, array in candidates.pairs.items()},
    )


def _next_kind(
    shares: Float[np.ndarray, "kinds listeners"],
    used: Int[np.ndarray, "kinds listeners"],
    is_open: np.ndarray,
    slot: int,
    floor: float,
) -> Float[np.ndarray, "kinds listeners"]:
    """Returns the probability of each kind for a slot: in proportion to how far it is behind its share, with a floor.

    Args:
        shares: shares of all slots that kinds should get.
        used: number of slots that each kind has so far.
        is_open: whether the kind has cards left.
        slot: number of the slot, from 0.
        floor: probability of taking any open kind at random.
    """
    own = np.where(is_open, shares, 0)
    own = own / np.maximum(own.sum(axis=0), 1e-12)
    behind = np.where(is_open, np.maximum((slot + 1) * own - used, 0), 0)
    total = behind.sum(axis=0)
    drawn = np.where(total > 0, behind / np.where(total > 0, total, 1), own)
    anything = is_open / np.maximum(is_open.sum(axis=0), 1)
    return (1 - floor) * drawn + floor * anything
