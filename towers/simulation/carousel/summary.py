"""Summary of a policy's play: its figures, its predictions of rewards, and both as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from towers.contract.policy import Outcomes, Predicts
from towers.simulation.carousel.rounds import Round

FIRST, LAST = 10, 20
"""Numbers of rounds at the start and at the end whose regret is reported; that of the last shows the final rate."""
BEFORE = 10
"""Number of rounds before a change whose regret has to be reached again."""
WITHIN = 1.1
"""Factor on their mean regret within which a policy counts as recovered."""
NEW_ROUND = 5
"""Round after new cards enter in which their exposure is measured; 1 is the round in which they enter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A policy's play with one seed of the rounds.

    Args:
        name: name of the policy. Plays with the same name are of the same policy with other seeds.
        rounds: rounds in order, at least one.
        calibration: result of `evaluation.reliability` for the predicted rewards; null: the policy predicts none.
        changed_at: round before which the world first changed; null: it did not change.
    """

    name: str
    rounds: tuple[Round, ...]
    calibration: Mapping[str, Any] | None = None
    changed_at: int | None = None

    @property
    def figures(self) -> dict[str, float]:
        """Result of `figures_of`, with `after_change` where the world changed."""
        after = {} if self.changed_at is None else after_change(self.rounds, self.changed_at)
        return figures_of(self.rounds) | after

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values; figures may be infinite or NaN."""
        return {
            "name": self.name,
            "changed_at": self.changed_at,
            "figures": self.figures,
            "calibration": None if self.calibration is None else dict(self.calibration),
            "rounds": [_round(one) for one in self.rounds],
        }


class Predictions:
    """Keeps a policy's predictions for seen slots with the outcomes: a `Watch` for `rounds_of`.

    Args:
        policy: policy that is played.
        since: first round to keep; early predictions are the prior's.
    """

    def __init__(self, policy: Predicts, since: int = 0):
        self._policy, self._since = policy, since
        self._parts: list[Float[np.ndarray, "2 rows"]] = []

    def __call__(self, number: int, outcomes: Outcomes) -> None:
        """Keeps the predictions of a round."""
        if number >= self._since:
            seen = outcomes.of(outcomes.is_seen)
            self._parts.append(np.stack([self._policy.expected(seen), seen.rewards]))

    @property
    def arrays(self) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
        """Predicted and observed rewards, `[rows]` each."""
        predicted, observed = np.concatenate([np.zeros((2, 0)), *self._parts], axis=1)
        return predicted, observed


def figures_of(rounds: Sequence[Round]) -> dict[str, float]:
    """Returns regret relative to random's over all, first and last rounds, and streams and seen slots per slate."""
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
    """Returns the cost of a change of the world.

    Args:
        rounds: rounds of the whole play.
        at: round before which the world changed.

    Returns:
        `recovered_in`: rounds until regret relative to random's is within a tenth of its mean over the ten rounds
        before the change, infinite where it never is. `new_exposure`: exposure of the new cards in their fifth round,
        or in the last one, relative to that in the best slates; NaN where the best slates have none of them.
    """
    regret = relative_regret(rounds)
    bound = WITHIN * regret[max(0, at - BEFORE) : at].mean()
    recovered = np.flatnonzero(regret[at:] <= bound)
    return {
        "recovered_in": float(recovered[0]) if len(recovered) else float("inf"),
        "new_exposure": new_exposure(rounds[min(at + NEW_ROUND - 1, len(rounds) - 1)]),
    }


def relative_regret(rounds: Sequence[Round]) -> Float[np.ndarray, " rounds"]:
    """Returns the regret of each round relative to random's."""
    return np.array([played.regret / played.random_regret for played in rounds])


def cumulative_regret(rounds: Sequence[Round]) -> Float[np.ndarray, " rounds"]:
    """Returns the regret up to and including each round, as a share of random's over all rounds."""
    regret = np.cumsum([played.regret for played in rounds])
    return regret / sum(played.random_regret for played in rounds)


def new_exposure(played: Round) -> float:
    """Returns the exposure of the entered cards relative to the best slates'; NaN where these have none of them."""
    fair = float(played.best_exposure.sum())
    return float(played.exposure.sum()) / fair if fair else float("nan")


def _round(played: Round) -> dict[str, Any]:
    """Returns a round as JSON, with the entered cards summed up."""
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
