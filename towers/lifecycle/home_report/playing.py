"""Plays a policy in a carousel world and compares its predictions with the outcomes."""

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
    """Plays all rounds of `rounds_of`, whose arguments it shares.

    Args:
        name: name of the policy.
        policy: policy that chooses; changed in place. Where it `Predicts`, its predictions are evaluated.
        world: world before the first round.
        attention: rule for which slots the policy is told were seen.
        rounds: number of rounds.
        listeners: number of listeners of a round.
        changes: changes of the world, each before its round.
        seed: seed of listeners, slates, streams and changes.
        predicted: number of the last rounds whose predictions are evaluated.
        progress: called after every round.
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
