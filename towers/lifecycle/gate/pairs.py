"""Comparison of two twins on the same listeners, and the margin that a difference may fall short by.

The rule accepts where the mean difference is not below `-margin`. Between two trainings that differ in the seed alone,
the difference is distributed about zero with the standard deviation `sigma`, which combines the standard error over
listeners and the effect of the seed. With `margin = z * sigma`, where `z` is the normal quantile of 95 %, such a pair
is refused on 5 % of all nights, and a challenger that is worse by `2 * margin` is accepted on 5 % of them. No smaller
margin refuses as rarely, so `2 * margin` is the smallest loss that these listeners show. Where a rule looks at several
figures together, `z` is that of Šidák (1967), so that the rate holds for all of them together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from towers.evaluation.intervals import paired_differences
from towers.evaluation.result import ALL, Evaluation, SliceResult, split_key
from towers.lifecycle.gate.evidence import Evidence, Lacking

SEED = 0
RESAMPLES, FEWEST, DRAWS = 1000, 200, 200_000_000
"""Usual and least number of resamples, and the most listeners drawn in all of them, so that a verdict on a million
listeners takes half a core-minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """One figure of two rankers on the same listeners.

    Args:
        key: key of the figure.
        before: mean of the other ranker.
        after: mean of the challenger.
        low: lower 95 % bound of the mean difference `after - before`, paired over listeners.
        high: upper 95 % bound.
        error: standard error of the mean difference.
        listeners: number of listeners.
    """

    key: str
    before: float
    after: float
    low: float
    high: float
    error: float
    listeners: int

    @property
    def difference(self) -> float:
        """`after - before`; negative for a loss."""
        return self.after - self.before

    def sigma(self, seed_noise: float) -> float:
        """Returns the standard deviation of the difference where only the seed differs.

        Args:
            seed_noise: standard deviation of the difference of two such trainings on infinitely many listeners, as a
                share of the figure.
        """
        return float(np.hypot(self.error, seed_noise * abs(self.before)))

    def words(self) -> str:
        """Returns a text for people with both figures, their difference and its 95 % interval."""
        return (
            f"{self.key} {self.after:.4f} against {self.before:.4f} "
            f"({self.difference:+.4f}, {self.low:+.4f} to {self.high:+.4f}, {self.listeners:,} listeners)"
        )


def quantile(rate: float, figures: int = 1) -> float:
    """Returns the `z` that none of so many independent figures falls below `-z` of in `1 - rate` of all cases.

    >>> round(quantile(0.05), 3)
    1.645

    Args:
        rate: rate of false refusals, above 0 and below 1.
        figures: number of figures looked at together, at least 1.
    """
    return float(ndtri((1 - rate) ** (1 / figures)))


def paired(challenger: Evaluation, other: Evaluation, keys: Sequence[str]) -> dict[str, Paired]:
    """Compares two rankers by every key of which either has a figure.

    Args:
        challenger: evaluation of tonight's ranker.
        other: evaluation that it is compared with.
        keys: keys of figures per listener, not of all lists together.

    Raises:
        Lacking: one lacks a figure that the other has, or they were not measured on the same listeners.
    """
    first, second = in_order(challenger), in_order(other)
    before, after = second.means(), first.means()
    wanted = [key for key in keys if key in before or key in after]
    for key in wanted:
        lacks = [each.ranker for each, means in ((first, after), (second, before)) if key not in means]
        if lacks:
            raise Lacking(f"{lacks[0]!r} has no figure of {key}, and the other has one")
    for key in wanted:
        for each in (first, second):
            if odd := int((~np.isfinite(each.figures(key))).sum()):
                raise Lacking(f"{key} of {each.ranker!r} is not a number for {odd:,} listeners")
    try:
        found = paired_differences(first, second, wanted, seed=SEED, resamples=resamples_of(len(first.user_rows)))
    except ValueError as error:
        raise Lacking(str(error)) from error
    return {
        key: Paired(
            key=key, before=before[key], after=after[key], low=one.low, high=one.high, error=one.error,
            listeners=one.users,
        )
        for key, one in found.items()
    }  # fmt: skip


def resamples_of(listeners: int) -> int:
    """Returns the number of resamples for so many listeners.

    >>> resamples_of(3_000), resamples_of(400_000), resamples_of(5_000_000)
    (1000, 500, 200)
    """
    return min(RESAMPLES, max(FEWEST, DRAWS // max(listeners, 1)))


def in_order(evaluation: Evaluation) -> Evaluation:
    """Returns the evaluation with its listeners in the order of their rows, so that the order does not change the
    draws."""
    rows = evaluation.user_rows
    if (np.diff(rows) > 0).all():
        return evaluation
    order = np.argsort(rows, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return replace(
        evaluation,
        user_rows=rows[order],
        slices={name: _sorted(result, place) for name, result in evaluation.slices.items()},
        lists={},
    )


def _sorted(result: SliceResult, place: np.ndarray) -> SliceResult:
    moved = place[result.positions]
    order = np.argsort(moved, kind="stable")
    values = {metric: figures[order] for metric, figures in result.values.items()}
    return SliceResult(positions=moved[order], values=values)


def against_champion(evidence: Evidence, keys: Sequence[str]) -> dict[str, Paired]:
    """Compares the twins by every key of which either has a figure: for all targets by the chance of a listen, where
    both twins have it.

    Raises:
        Lacking: there is no champion though it is not the first night, or a figure is missing.
    """
    challenger, champion = evidence.challenger, evidence.served
    found: dict[str, Paired] = {}
    if challenger.by_chance is not None and champion.by_chance is not None:
        chance = [key for key in keys if split_key(key)[1] == ALL]
        found = paired(challenger.by_chance, champion.by_chance, chance)
    found |= paired(challenger.evaluation, champion.evaluation, [key for key in keys if key not in found])
    return {key: found[key] for key in keys if key in found}
