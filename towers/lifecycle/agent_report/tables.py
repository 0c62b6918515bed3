"""The tables of an agent's evaluation, as text: the same cells in a terminal and on the page."""

from rich.table import Table

from towers.lifecycle.agent.figures import MEASURES, AgentEvaluation, PolicyTold, WorldFigures
from towers.lifecycle.home_report.tables import Cells, text
from towers.simulation.environment.comparing import RETURN, Comparison

BESIDE = ("clicks", "region_entropy", "adopted_artists")
"""Measures that are shown beside the return, relative to the baseline's."""
MOST_REGIONS = 12
"""Most regions with a row of their own; the others are summed."""
OTHERS = "all others"


def policies_cells(world: WorldFigures) -> Cells:
    """Makes a row for each policy, the highest return first: the mean of each measure over listeners."""
    measures = [name for name in MEASURES if all(name in figures for figures in world.policies.values())]
    ranked = sorted(world.policies.items(), key=lambda one: -one[1][RETURN].mean)
    rows = tuple((name, *(text(figures[measure].mean, ".2f") for measure in measures)) for name, figures in ranked)
    return Cells(headings=("policy", *(MEASURES[name] for name in measures)), rows=rows)


def against_cells(world: WorldFigures) -> Cells:
    """Makes a row for each baseline: the agent's gain in return, absolute and relative, with intervals over paired
    listeners, and its gain in other measures."""
    rows = []
    for name, measures in world.against.items():
        one = measures[RETURN]
        bounds = f"{text(one.difference_low, '+.2f')} to {text(one.difference_high, '+.2f')}"
        rows.append((name, text(one.difference, "+.2f"), bounds, percent(one), percent_interval(one), said(one),
                     *(percent(measures[name]) for name in BESIDE)))  # fmt: skip
    headings = (
        "against",
        "return",
        "95 % interval",
        "relative",
        "95 % interval",
        "",
        *(MEASURES[name] for name in BESIDE),
    )
    return Cells(headings=headings, rows=tuple(rows))


def worlds_cells(found: AgentEvaluation) -> Cells:
    """Makes a row for each world, and a column for each baseline that serves in several: the return relative to its."""
    shared = [name for name in found.baselines if sum(name in world.against for world in found.worlds) > 1]
    rows = tuple(
        (world.name, *(_relative(world.against[name][RETURN]) if name in world.against else "–" for name in shared))
        for world in found.worlds
    )
    return Cells(headings=("world", *(f"over {name}" for name in shared)), rows=rows)


def segments_cells(world: WorldFigures) -> Cells:
    """Makes a row for each segment: the agent's return relative to each baseline's."""
    names = tuple(world.against)
    rows = tuple(
        (one.name, f"{one.listeners:,}", *(_relative(one.against[name]) for name in names)) for one in world.segments
    )
    headings = ("segment", "listeners", *(f"over {name}" for name in names))
    return Cells(headings=headings, rows=rows)


def shown_cells(told: tuple[PolicyTold, ...]) -> Cells:
    """Makes a row for each segment: what each policy shows it."""
    rows = []
    for place, one in enumerate(told[0].shown):
        row = [one.segment, f"{one.listeners:,}"]
        for figure, form in (("new_artists", ".1%"), ("popularity", "+.2f"), ("visited", ".1f")):
            row += [text(getattr(policy.shown[place], figure), form) for policy in told]
        rows.append(tuple(row))
    columns = [f"{words}, {policy.policy}" for words in ("new artists", "popularity", "regions visited")
               for policy in told]  # fmt: skip
    return Cells(headings=("segment", "listeners", *columns), rows=tuple(rows))


def regions_cells(told: tuple[PolicyTold, ...]) -> Cells:
    """Makes a row for each region, the agent's most shown first: its share of slots and streams under each policy."""
    everybody = [policy.shown[0] for policy in told]
    ranked = sorted(everybody[0].regions, key=lambda name: -everybody[0].regions[name])
    rows = []
    for name in ranked[:MOST_REGIONS]:
        shares = [share[name] for one in everybody for share in (one.regions, one.streamed)]
        rows.append((name, *(text(share, ".1%") for share in shares)))
    if rest := ranked[MOST_REGIONS:]:
        sums = [sum(share[name] for name in rest) for one in everybody for share in (one.regions, one.streamed)]
        rows.append((f"{OTHERS} ({len(rest)})", *(text(share, ".1%") for share in sums)))
    columns = [f"{what}, {policy.policy}" for policy in told for what in ("shown", "streamed")]
    return Cells(headings=("region", *columns), rows=tuple(rows))


def gains(found: AgentEvaluation) -> list[tuple[str, bool]]:
    """Returns a line for each segment whose return is clearly below that of any baseline, or above that of the policy
    that the agent is compared with; and whether it loses."""
    beside = found.told[1].policy if len(found.told) > 1 else found.baselines[0] if found.baselines else ""
    lines = []
    for one in found.judged.segments:
        for name, compared in one.against.items():
            loses, gains = compared.difference_high < 0, compared.difference_low > 0 and name == beside
            if loses or gains:
                words = "loses" if loses else "gains"
                told = f"{one.name} ({one.listeners:,} listeners) {words}: {_relative(compared)} over {name}"
                lines.append((told, loses))
    return lines


def against_table(world: WorldFigures) -> Table:
    """Returns `against_cells` for a terminal."""
    return against_cells(world).rich()


def worlds_table(found: AgentEvaluation) -> Table:
    """Returns `worlds_cells` for a terminal."""
    return worlds_cells(found).rich()


def said(one: Comparison) -> str:
    """Returns in words whether the interval of the difference lies on one side of 0."""
    return "better" if one.difference_low > 0 else "worse" if one.difference_high < 0 else "not told apart"


def percent(one: Comparison) -> str:
    """Formats the difference of the ratio from 1."""
    return text(one.ratio - 1, "+.1%")


def percent_interval(one: Comparison) -> str:
    """Formats the bounds of `percent`."""
    return f"{text(one.ratio_low - 1, '+.1%')} to {text(one.ratio_high - 1, '+.1%')}"


def _relative(one: Comparison) -> str:
    return f"{percent(one)} ({percent_interval(one)})"
