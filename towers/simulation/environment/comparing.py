"""Comparison of two policies: differences and ratios with paired intervals, for all listeners and for segments."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.simulation.checks.segments import NEW_PLAYS
from towers.simulation.environment.judging import Judged

LIGHT_SESSIONS: Final = 1.0
"""Sessions a week below which a listener is light."""
SPECIALIST_SHARE: Final = 0.5
"""Share of plays in one region above which a listener is a specialist."""
_RESAMPLES: Final = 2_000
_BLOCK: Final = 200
RETURN: Final = "return"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Comparison of two means, with 95 % intervals by a paired bootstrap over people.

    Args:
        listeners: number of compared rows.
        mean: mean of the one.
        other_mean: mean of the other.
        difference: the one minus the other.
        difference_low: 2.5 % quantile of the difference.
        difference_high: 97.5 % quantile of the difference.
        ratio: the one over the other; NaN where the other is 0.
        ratio_low: 2.5 % quantile of the ratio.
        ratio_high: 97.5 % quantile of the ratio.
    """

    listeners: int
    mean: float
    other_mean: float
    difference: float
    difference_low: float
    difference_high: float
    ratio: float
    ratio_low: float
    ratio_high: float

    def to_json(self) -> dict[str, float]:
        """Returns all figures by name."""
        return asdict(self)


def compared(
    one: Float[np.ndarray, " listeners"],
    other: Float[np.ndarray, " listeners"],
    who: Int[np.ndarray, " listeners"] | None = None,
    among: Bool[np.ndarray, " listeners"] | None = None,
    seed: int = 0,
) -> Comparison:
    """Compares the means of two columns whose rows are pairs.

    Args:
        one: value of each listener.
        other: value of the same listeners.
        who: person of each row; all rows of a person are drawn together. Null: every row is another person.
        among: whether each row counts; null: all do.
        seed: seed of the bootstrap.
    """
    rows = np.arange(len(one)) if among is None else np.flatnonzero(among)
    if not len(rows):
        nothing = float("nan")
        return Comparison(listeners=0, **dict.fromkeys(_NUMBERS, nothing))
    person = rows if who is None else who[rows]
    _, cluster = np.unique(person, return_inverse=True)
    number = int(cluster.max()) + 1
    # Sums of both columns and the number of rows, by person.
    sums = np.stack([np.bincount(cluster, column, number) for column in (one[rows], other[rows], np.ones(len(rows)))])
    rng, drawn = np.random.default_rng(seed), np.empty((_RESAMPLES, 3))
    for begin in range(0, _RESAMPLES, _BLOCK):
        drawn[begin : begin + _BLOCK] = rng.multinomial(number, np.full(number, 1.0 / number), _BLOCK) @ sums.T
    first, second = drawn[:, 0] / drawn[:, 2], drawn[:, 1] / drawn[:, 2]
    mean, other_mean = float(one[rows].mean()), float(other[rows].mean())
    low, high = np.quantile(first - second, (0.025, 0.975))
    ratios = np.divide(first, second, out=np.full(len(first), np.nan), where=second != 0)
    ratio_low, ratio_high = np.quantile(ratios, (0.025, 0.975))
    return Comparison(
        listeners=len(rows), mean=mean, other_mean=other_mean, difference=mean - other_mean, difference_low=float(low),
        difference_high=float(high), ratio=mean / other_mean if other_mean else float("nan"),
        ratio_low=float(ratio_low), ratio_high=float(ratio_high),
    )  # fmt: skip


_NUMBERS: Final = (
    "mean", "other_mean", "difference", "difference_low", "difference_high", "ratio", "ratio_low", "ratio_high",
)  # fmt: skip


def against(
    one: Judged,
    other: Judged,
    weights: Mapping[str, float] | None = None,
    among: Bool[np.ndarray, " listeners"] | None = None,
) -> dict[str, Comparison]:
    """Compares two policies in the same world: every figure, and the `return`.

    Args:
        one: episodes of one policy.
        other: episodes of the other policy, of the same listeners.
        weights: weight of each part in the return; null: those of the long-term return.
        among: whether each listener counts; null: all do.

    Raises:
        ValueError: the two are of different worlds or listeners.
    """
    if one.world != other.world or not np.array_equal(one.who, other.who):
        raise ValueError(f"{one.policy} in {one.world} and {other.policy} in {other.world} have other listeners")
    columns = {name: (column, other.figures[name]) for name, column in one.figures.items()}
    returns = [judged.returns() if weights is None else judged.returns(weights) for judged in (one, other)]
    columns[RETURN] = returns[0], returns[1]
    return {name: compared(*pair, one.who, among) for name, pair in columns.items()}


def segments(judged: Judged) -> dict[str, Bool[np.ndarray, " listeners"]]:
    """Returns the listeners of each segment, by what was known when the episode began.

    `new`: fewer than `NEW_PLAYS` plays. Of the rest, `light`: fewer than `LIGHT_SESSIONS` sessions a week;
    `specialists`: most plays are in one region; a light specialist is in both. `others`: neither.
    """
    before = judged.before
    is_new = before["plays"] < NEW_PLAYS
    is_light = ~is_new & (before["sessions_a_week"] < LIGHT_SESSIONS)
    is_specialist = ~is_new & (before["main_region"] > SPECIALIST_SHARE)
    return {"new": is_new, "light": is_light, "specialists": is_specialist,
            "others": ~(is_new | is_light | is_specialist)}  # fmt: skip
