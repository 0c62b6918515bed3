"""Plays a policy against a carousel world and holds what it predicted against what came."""

from collections.abc import Sequence

from towers.contract.policy import Policy, Predicts
from towers.evaluation.reliability import reliability
from towers.simulation.carousel.changes import Change
from towers.simulation.carousel.rounds import Attention, Progress, rounds_of
from towers.simulation.carousel.summary import LAST, Played, Predictions
from towers.simulation.carousel.world import Carousel


def played(
    name: str,
    policy: Policy,
    world: Carousel,
    attention: Attention,
    *,
    rounds: int = 100,
    listeners: int = 20_000,
    changes: Sequence[Change] = (),
    seed: int = 0,
    predicted: int = LAST,
    progress: Progress | None = None,
) -> Played:
    """Plays all rounds of `rounds_of`, whose arguments it has.

    Args:
        name: of the policy.
        policy: that chooses, and is changed; where it `Predicts`, its predictions are looked at.
        world: before the first round.
        attention: what the policy is told of what was seen.
        rounds: how many.
        listeners: of a round.
        changes: of the world, each before its round.
        seed: of listeners, slates, streams and changes.
        predicted: how many of the last rounds' predictions are looked at.
        progress: is told of every round that is done.
    """
    predictions = Predictions(policy, rounds - predicted) if isinstance(policy, Predicts) else None
    found = tuple(
        rounds_of(
            policy, world, attention, rounds=rounds, listeners=listeners, changes=changes, seed=seed,
            watch=predictions, progress=progress,
        )
    )  # fmt: skip
    calibration = None if predictions is None else reliability(*predictions.arrays)
    changed = [change.before_round for change in changes if change.before_round < rounds]
    return Played(name=name, rounds=found, calibration=calibration or None, changed_at=min(changed, default=None))
