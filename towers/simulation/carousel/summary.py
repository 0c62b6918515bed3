"""What a play of a policy comes to: its figures, what it predicted of rewards, and both as JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from towers.contract.policy import Outcomes, Predicts
from towers.simulation.carousel.rounds import Round

FIRST, LAST = 10, 20
"""Rounds at the beginning and at the end whose regret is told; that of the last is the slope."""
BEFORE = 10
"""Rounds before a change whose regret has to be reached again."""
WITHIN = 1.1
"""As a factor on their mean regret."""
NEW_ROUND = 5
"""Round of new cards, the first being that in which they enter, in which their exposure is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A policy and what came of it, on one seed of the rounds.

    Args:
        name: of the policy. Plays of one name are the same policy on other seeds.
        rounds: in their order, at least one.
        calibration: what `evaluation.reliability` says of the rewards that it predicted; null: it predicts none.
        changed_at: the round before which the world changed first; null: it did not.
    """

    name: str
    rounds: tuple[Round, ...]
    calibration: Mapping[str, Any] | None = None
    changed_at: int | None = None

    @property
    def figures(self) -> dict[str, float]:
        """`figures_of` the rounds, and `after_change` where the world changed."""
        after = {} if self.changed_at is None else after_change(self.rounds, self.changed_at)
        return figures_of(self.rounds) | after

    def to_json(self) -> dict[str, Any]:
        """JSON values, the figures among them; a number that is not finite is null."""
        return {
            "name": self.name,
            "changed_at": self.changed_at,
            "figures": _finite(self.figures),
            "calibration": None if self.calibration is None else _finite(self.calibration),
            "rounds": [_round(one) for one in self.rounds],
        }


class Predictions:
    """Keeps what a policy predicted of slots that were seen, and what came of them: a `Watch` of `rounds_of`.

    Args:
        policy: that is played.
        since: round from which on they are kept; early predictions are the prior's.
    """

    def __init__(self, policy: Predicts, since: int = 0):
        self._policy, self._since = policy, since
        self._parts: list[Float[np.ndarray, "2 rows"]] = []

    def __call__(self, number: int, outcomes: Outcomes) -> None:
        """Keeps those of a round."""
        if number >= self._since:
            seen = outcomes.of(outcomes.is_seen)
            self._parts.append(np.stack([self._policy.expected(seen), seen.rewards]))

    @property
    def arrays(self) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
        """Predicted and observed rewards."""
        predicted, observed = np.concatenate([np.zeros((2, 0)), *self._parts], axis=1)
        return predicted, observed


def figures_of(rounds: Sequence[Round]) -> dict[str, float]:
    """Regret relative to random's, of all rounds, of the first ten and of the last; streams and seen slots a slate."""
    regret = np.array([played.regret for played in rounds])
    random = np.array([played.random_regret for played in rounds])
    return {
        "cumulative": float(regret.sum() / random.sum()),
        f"first_{FIRST}": float(regret[:FIRST].sum() / random[:FIRST].sum()),
        f"last_{LAST}": float(regret[-LAST:].sum() / random[-LAST:].sum()),
        "streams": float(np.mean([played.streams for played in rounds])),
        "expected_streams": float(np.mean([played.expected for played in rounds])),
        "best_streams": float(np.mean([played.best for played in rounds])),
        "random_streams": float(np.mean([played.random for played in rounds])),
        "seen": float(np.mean([played.seen for played in rounds])),
    }


def after_change(rounds: Sequence[Round], at: int) -> dict[str, float]:
    """What a change of the world cost.

    Args:
        rounds: of the whole play.
        at: the round before which the world changed.

    Returns:
        `recovered_in`: rounds until regret relative to random's is within a tenth of what it was in the ten rounds
        before, infinite where it never is. `new_exposure`: how often new cards were shown in the fifth round of theirs,
        or the last one, relative to how often the best slates have them; NaN where these have none.
    """
    regret = relative_regret(rounds)
    bound = WITHIN * regret[max(0, at - BEFORE) : at].mean()
    recovered = np.flatnonzero(regret[at:] <= bound)
    return {
        "recovered_in": float(recovered[0]) if len(recovered) else float("inf"),
        "new_exposure": new_exposure(rounds[min(at + NEW_ROUND - 1, len(rounds) - 1)]),
    }


def relative_regret(rounds: Sequence[Round]) -> Float[np.ndarray, " rounds"]:
    """The regret of each round relative to random's."""
    return np.array([played.regret / played.random_regret for played in rounds])


def cumulative_regret(rounds: Sequence[Round]) -> Float[np.ndarray, " rounds"]:
    """The regret up to and with each round, as a share of random's of all rounds; random's own ends at 1."""
    regret = np.cumsum([played.regret for played in rounds])
    return regret / sum(played.random_regret for played in rounds)


def new_exposure(played: Round) -> float:
    """How often the cards that have entered were shown, relative to the best slates; NaN where these have none."""
    fair = float(played.best_exposure.sum())
    return float(played.exposure.sum()) / fair if fair else float("nan")


def _round(played: Round) -> dict[str, Any]:
    """A round as JSON, with the cards that have entered all together."""
    return {
        "number": played.number,
        "streams": played.streams,
        "expected": played.expected,
        "best": played.best,
        "random": played.random,
        "seen": played.seen,
        "by_kind": dict(played.by_kind),
        "cards": played.cards,
        "entered": len(played.entered),
        "exposure": float(played.exposure.sum()),
        "best_exposure": float(played.best_exposure.sum()),
    }


def _finite(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }
