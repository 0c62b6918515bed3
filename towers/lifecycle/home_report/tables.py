"""The tables of the home page's reports, as text: the same cells in a terminal and on a page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table
from rich.text import Text

from towers.evaluation.intervals import Interval
from towers.evaluation.off_policy.judge import (
    CLIPPED_IPS,
    DIRECT,
    DR,
    IPS,
    PSEUDO_INVERSE,
    SNIPS,
    SWITCH_DR,
    OffPolicyResult,
)
from towers.simulation.carousel.summary import FIRST, LAST, Played

BERNSTEIN, PRODUCTION = "bernstein", "production"
ESTIMATORS = {
    IPS: "every reward by its weight; right on average, wide where weights are uneven",
    CLIPPED_IPS: "no weight above the clip; never too high on average",
    SNIPS: "weights that sum to 1",
    PSEUDO_INVERSE: "slots add up, independently of the slots before them",
    DIRECT: "what a model of the reward expects; as wrong as the model, so no rule rests on it",
    DR: "the direct model, mended by the weighted error that it makes",
    SWITCH_DR: "the same, and the model alone where a weight is above the switch",
    BERNSTEIN: "clipped IPS with bounds that hold for any distribution",
    PRODUCTION: "what the policy that serves earned in its own slates",
}
"""Description of each estimator in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """A table as text.

    Args:
        headings: headings of the columns.
        rows: rows, each as long as the headings.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def rich(self) -> Table:
        """Makes a table for a terminal, with numbers aligned on the right."""
        table = Table()
        for place, heading in enumerate(self.headings):
            table.add_column(heading, justify="right" if place else "left")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table


def by_name(played: Sequence[Played]) -> dict[str, list[Played]]:
    """Groups the plays by policy, with one or more seeds each, in the order of the policies' first plays."""
    found: dict[str, list[Played]] = {}
    for one in played:
        found.setdefault(one.name, []).append(one)
    return found


def simulation_cells(played: Sequence[Played]) -> Cells:
    """Makes a row for each policy: means over its seeds, and the range of cumulative regret if there are several."""
    plays = by_name(played)
    is_changed = any(one.changed_at is not None for one in played)
    is_several = any(len(of_seeds) > 1 for of_seeds in plays.values())
    predicts = any(one.calibration is not None for one in played)
    headings = ["policy", "regret / random's", *(["over seeds"] if is_several else []), f"first {FIRST}",
                f"last {LAST}", "streams", "of the best", "slots seen"]  # fmt: skip
    headings += ["calibration error"] if predicts else []
    headings += ["recovered in", "new cards' exposure"] if is_changed else []
    rows = []
    for name, of_seeds in plays.items():
        figures = [one.figures for one in of_seeds]
        mean = {key: float(np.mean([one[key] for one in figures if key in one])) for key in figures[0]}
        totals = [one["cumulative"] for one in figures]
        row = [name, text(mean["cumulative"], ".3f")]
        row += [f"{min(totals):.3f} to {max(totals):.3f}"] if is_several else []
        row += [text(mean[f"first_{FIRST}"], ".3f"), text(mean[f"last_{LAST}"], ".3f")]
        row += [text(mean["expected_streams"], ".3f"), text(mean["expected_streams"] / mean["best_streams"], ".1%")]
        row += [text(mean["seen"], ".2f")]
        if predicts:
            row.append(text(_calibration_error(of_seeds), ".1%"))
        if is_changed:
            after = mean.get("recovered_in", math.nan)
            row += ["never" if math.isinf(after) else text(after, ".1f") + (" rounds" if after == after else "")]
            row += [text(mean.get("new_exposure", math.nan), ".0%")]
        rows.append(tuple(row))
    return Cells(headings=tuple(headings), rows=tuple(rows))


def estimates_cells(result: OffPolicyResult) -> Cells:
    """Makes a row for each estimator, production last: a slate's reward, its interval, and both relative to
    production."""
    production = result.production.mean
    found = {**result.estimates, BERNSTEIN: result.bernstein, PRODUCTION: result.production}
    rows = tuple(
        (name, text(one.mean, ".4f"), interval(one, ".4f"), text(_over(one.mean, production), ".3f"),
         interval(Interval(mean=0.0, low=_over(one.low, production), high=_over(one.high, production)), ".3f"))
        for name, one in found.items()
    )  # fmt: skip
    return Cells(headings=("estimator", "reward of a slate", "95 % interval", "/ production's", "interval"), rows=rows)


def weights_cells(result: OffPolicyResult) -> Cells:
    """Makes a row for each slot on how reliable its weights are."""
    quantiles = list(result.weights[0].quantiles)
    headings = ("slot", "effective requests", "of all", "largest weight", "its share", "mean", "error", "never shown",
                *quantiles)  # fmt: skip
    rows = tuple(
        (str(slot), text(one.effective, ",.0f"), text(one.effective_share, ".1%"), text(one.largest, ",.2f"),
         text(one.largest_share, ".2%"), text(one.mean, ".3f"), text(one.mean_error, ".3f"), text(one.never, ".1%"),
         *(text(one.quantiles[name], ",.2f") for name in quantiles))
        for slot, one in enumerate(result.weights, start=1)
    )  # fmt: skip
    return Cells(headings=headings, rows=rows)


def guards_cells(result: OffPolicyResult) -> Cells:
    """Makes a row for each guardrail: the new policy's figure, its interval, and production's."""
    rows = tuple(
        (name.replace("_", " "), text(one.new.mean, ".4f"), interval(one.new, ".4f"), text(one.production, ".4f"),
         text(_over(one.new.mean, one.production), ".3f"))
        for name, one in result.guards.items()
    )  # fmt: skip
    return Cells(headings=("of a slate", "new policy", "95 % interval", "production", "/ production's"), rows=rows)


def simulation_table(played: Sequence[Played]) -> Table:
    """Returns `simulation_cells` for a terminal."""
    return simulation_cells(played).rich()


def estimates_table(result: OffPolicyResult) -> Table:
    """Returns `estimates_cells` for a terminal."""
    return estimates_cells(result).rich()


def text(value: float | None, form: str) -> str:
    """Formats a number; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    return "∞" if value == math.inf else "−∞" if value == -math.inf else f"{value:{form}}".replace("-", "−")


def interval(found: Interval, form: str) -> str:
    """Formats both bounds."""
    return f"{text(found.low, form)} to {text(found.high, form)}"


def _calibration_error(of_seeds: Sequence[Played]) -> float:
    errors = [one.calibration["calibration_error"] for one in of_seeds if one.calibration is not None]
    return float(np.mean(errors)) if errors else math.nan


def _over(value: float, production: float) -> float:
    return value / production if production else math.nan
