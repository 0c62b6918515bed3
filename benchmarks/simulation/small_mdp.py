"""A small Markov decision process whose policies' worth is known by dynamic programming, and logs of it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from towers.evaluation.off_policy.sequential.log import SequentialLog


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallMdp:
    """States in which actions are drawn; both decide what is earned and where it goes on.

    Args:
        begin: `[states]`, chance to begin in each.
        moves: `[states, actions, states]`, chance to go on in each.
        earns: `[states, actions]`, chance to earn 1, or what is earned where `is_certain`.
        is_certain: whether what is earned is `earns` itself.
        goes: chance to leave for good after each step.
    """

    begin: Float[np.ndarray, " states"]
    moves: Float[np.ndarray, "states actions next"]
    earns: Float[np.ndarray, "states actions"]
    is_certain: bool = False
    goes: float = 0.0

    @classmethod
    def drawn(cls, states: int, actions: int, seed: int, goes: float = 0.0) -> "SmallMdp":
        """Any process of so many states and actions."""
        rng = np.random.default_rng(seed)
        return cls(
            begin=rng.dirichlet(np.ones(states)),
            moves=rng.dirichlet(np.full(states, 0.7), size=(states, actions)),
            earns=rng.random((states, actions)),
            goes=goes,
        )

    def worth(
        self, policy: Float[np.ndarray, "states actions"], steps: int, discount: float = 1.0
    ) -> tuple[float, Float[np.ndarray, "steps states actions"]]:
        """Returns what a policy earns in a number of steps, and what each action of each step is worth (Q),
        backwards."""
        of_state = np.zeros(len(self.begin))
        found = np.empty((steps, *self.earns.shape))
        for step in range(steps - 1, -1, -1):
            found[step] = self.earns + discount * (1 - self.goes) * self.moves @ of_state
            of_state = (policy * found[step]).sum(axis=1)
        return float(self.begin @ of_state), found

    def greedy(self, steps: int) -> Float[np.ndarray, "states actions"]:
        """The policy that acts in every step as is best in the first."""
        policy = np.full(self.earns.shape, 1 / self.earns.shape[1])
        for _ in range(10):
            _, worth = self.worth(policy, steps)
            policy = np.eye(self.earns.shape[1])[worth[0].argmax(axis=1)]
        return policy

    def log(
        self,
        old: Float[np.ndarray, "states actions"],
        new: Float[np.ndarray, "states actions"],
        listeners: int,
        steps: int,
        seed: int,
        discount: float = 1.0,
    ) -> SequentialLog:
        """Returns a log of the old policy, judged for the new one; features are the states and actions themselves."""
        rng = np.random.default_rng(seed)
        rows: list[tuple[np.ndarray, ...]] = []
        here = np.arange(listeners)
        state = _drawn(np.tile(self.begin, (listeners, 1)), rng)
        for step in range(steps):
            action = _drawn(old[state], rng)
            earned = self.earns[state, action]
            if not self.is_certain:
                earned = (rng.random(len(here)) < earned).astype(float)
            rows.append((here, np.full(len(here), step), old[state, action], new[state, action], earned, state, action))
            stays = rng.random(len(here)) >= self.goes
            state = _drawn(self.moves[state, action], rng)[stays]
            here = here[stays]
        listener, step, propensity, new_propensity, earned, state, action = (
            np.concatenate(column) for column in zip(*rows, strict=True)
        )
        return SequentialLog(
            listeners=listener, steps=step, propensities=propensity, new_propensities=new_propensity,
            parts={"reward": earned}, states=np.eye(len(self.begin))[state],
            actions=np.eye(self.earns.shape[1])[action], new_actions=new[state], discount=discount,
        )  # fmt: skip


def _drawn(chances: Float[np.ndarray, "rows choices"], rng: np.random.Generator) -> Int[np.ndarray, " rows"]:
    above = rng.random(len(chances))[:, None] > chances.cumsum(axis=1)
    return np.minimum(above.sum(axis=1), chances.shape[1] - 1)
