"""Charts of plays: regret of policies round by round, what they show, and how accurate their predictions were."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from towers.contract.schema import KINDS
from towers.evaluation.report.drawing import (
    COLOURS,
    INK,
    MARKERS,
    NARROW,
    WIDTH,
    Picture,
    chart,
    legend_below,
    legend_rows,
    shortened,
    styled,
)
from towers.lifecycle.home_report.tables import by_name
from towers.simulation.carousel.rounds import Round
from towers.simulation.carousel.summary import Played, cumulative_regret, new_exposure, relative_regret

MARKS = 6
"""Most markers on a line; more would hide it."""
SEEDS = "The mean over seeds, and the band from the least to the greatest."


def simulation_pictures(played: Sequence[Played]) -> dict[str, list[Picture]]:
    """Draws the charts by section; a section with nothing to draw is empty."""
    plays = by_name(played)
    return {"regret": _regret(plays), "exposure": _exposure(plays), "calibration": _calibration(plays)}


def _regret(plays: Mapping[str, Sequence[Played]]) -> list[Picture]:
    found = [
        _curves(
            plays, cumulative_regret, "cumulative-regret", "Cumulative regret", "regret / random's of all rounds",
            "Expected streams lost to the best slates up to a round, as a share of what random slates lose in all "
            "rounds; the dotted line is random's. Lower is better, and a flat line has learned what there is to learn.",
        ),
        _curves(
            plays, relative_regret, "round-regret", "Regret of each round", "regret / random's of the round",
            "The same of each round alone: 1 is as bad as random, 0 is the best slate for each listener.",
        ),
    ]  # fmt: skip
    for picture, at in zip(found, ((0, 1), (1, 1)), strict=True):
        axes = picture.figure.axes[0]
        rounds = max(len(one.rounds) for of_seeds in plays.values() for one in of_seeds)
        most = max(float(np.max(np.asarray(line.get_ydata()))) for line in axes.get_lines() if line.get_marker())
        axes.plot((1, rounds), at, color=INK, linewidth=1, linestyle=":", alpha=0.7)
        axes.set_ylim(0, min(1.12, 1.15 * most))  # random's line may lie outside
    return found


def _exposure(plays: Mapping[str, Sequence[Played]]) -> list[Picture]:
    kinds = [kind for kind in KINDS if any(kind in one.by_kind for of_seeds in plays.values()
             for played in of_seeds for one in played.rounds)]  # fmt: skip
    found = [_shares(name, place, of_seeds[0].rounds, kinds) for place, (name, of_seeds) in enumerate(plays.items())]
    entered = {
        name: of_seeds for name, of_seeds in plays.items() if any(len(one.entered) for one in of_seeds[0].rounds)
    }
    if entered:
        picture = _curves(
            entered, _new_exposures, "new-cards", "Exposure of new cards", "shown / in the best slates",
            "How often the cards that have entered since the first round are shown, relative to how often the best "
            "slates have them; 1 is fair, and half of it is to be reached within 5 rounds.", width=NARROW,
        )  # fmt: skip
        axes = picture.figure.axes[0]
        axes.axhline(1.0, color=INK, linewidth=0.8, alpha=0.6)
        axes.axhline(0.5, color=INK, linewidth=0.8, alpha=0.6, linestyle=":")
        axes.set_ylim(bottom=0)
        found.append(picture)
    return found


def _calibration(plays: Mapping[str, Sequence[Played]]) -> list[Picture]:
    calibrations = {
        name: one.calibration for name, of_seeds in plays.items() if (one := of_seeds[0]).calibration is not None
    }
    if not calibrations:
        return []
    names, tooltips = list(plays), {}
    with styled():
        figure, axes = chart(0.8 * WIDTH + 18 * legend_rows(list(calibrations), WIDTH), WIDTH)
        most = 0.0
        for name, told in calibrations.items():
            place, bins = names.index(name), told["bins"]
            colour = COLOURS[place % len(COLOURS)]
            expected, observed = ([one[key] for one in bins] for key in ("expected", "observed"))
            most = max(most, *expected, *observed)
            axes.plot(expected, observed, color=colour, linewidth=1, alpha=0.5, linestyle=_dashes(place))
            (marks,) = axes.plot(
                expected, observed, color=colour, marker=MARKERS[place % len(MARKERS)], linestyle="", label=name,
                clip_on=False, zorder=4, gid=f"calibration-{place}",
            )  # fmt: skip
            tooltips[str(marks.get_gid())] = [
                f"{name}: {one['expected']:.4f} predicted, {one['observed']:.4f} came, {one['pairs']:,.0f} slots"
                for one in bins
            ]
        axes.plot((0, most), (0, most), color=INK, linewidth=1, linestyle=":", alpha=0.7)
        axes.set_xlim(0, 1.04 * most)
        axes.set_ylim(0, 1.04 * most)
        axes.set_xlabel("predicted reward")
        axes.set_ylabel("observed reward")
        legend_below(figure, axes, list(calibrations))
    caption = (
        "Rewards that a policy predicted for slots before it learned what came of them, in bins that each expect a "
        "tenth of all reward, and their mean reward; only of slots that were seen, in the last rounds of the first "
        "seed. On the dotted line predictions are right. "
        "Policies show what they think is best, so the cards that they overrate weigh most."
    )
    return [Picture(name="calibration-chart", title="Predicted and observed rewards", caption=caption, figure=figure,
                    tooltips=tooltips)]  # fmt: skip


def _curves(
    plays: Mapping[str, Sequence[Played]],
    figure_of: Callable[[Sequence[Round]], Float[np.ndarray, " rounds"]],
    name: str,
    title: str,
    ylabel: str,
    caption: str,
    width: float = WIDTH,
) -> Picture:
    """Draws a line for each policy over the rounds, counted from 1, and a mark where the world changed."""
    with styled():
        figure, axes = chart(0.66 * width + 18 * legend_rows(list(plays), width), width)
        for place, (policy, of_seeds) in enumerate(plays.items()):
            rounds = min(len(one.rounds) for one in of_seeds)
            each = np.stack([figure_of(one.rounds)[:rounds] for one in of_seeds])
            at, colour = np.arange(1, rounds + 1), COLOURS[place % len(COLOURS)]
            every = max(1, rounds // MARKS)
            # Markers of different lines are at different rounds.
            axes.plot(at, each.mean(axis=0), color=colour, marker=MARKERS[place % len(MARKERS)], markersize=5,
                      markevery=(place * every // len(plays), every), linestyle=_dashes(place), linewidth=1.6,
                      label=policy)  # fmt: skip
            if len(each) > 1:
                axes.fill_between(at, each.min(axis=0), each.max(axis=0), color=colour, alpha=0.14, linewidth=0)
        _mark_changes(axes, plays)
        axes.set_xlabel("round")
        axes.set_ylabel(ylabel)
        legend_below(figure, axes, list(plays))
    more = f" {SEEDS}" if any(len(of_seeds) > 1 for of_seeds in plays.values()) else ""
    if any(one.changed_at is not None for of_seeds in plays.values() for one in of_seeds):
        more += " Dashed: the world changes."
    return Picture(name=name, title=title, caption=caption + more, figure=figure)


def _shares(name: str, place: int, rounds: Sequence[Round], kinds: Sequence[str]) -> Picture:
    """Draws the kinds that a policy shows."""
    at = np.arange(1, len(rounds) + 1)
    shares = [[one.by_kind.get(kind, 0.0) for one in rounds] for kind in kinds]
    with styled():
        figure, axes = chart(0.6 * NARROW + 18 * legend_rows(kinds, NARROW), NARROW)
        axes.stackplot(at, shares, labels=kinds, colors=[COLOURS[KINDS.index(kind) % len(COLOURS)] for kind in kinds],
                       alpha=0.8, linewidth=0)  # fmt: skip
        axes.set_ylim(0, 1)
        axes.margins(x=0)
        axes.set_xlabel("round")
        axes.set_ylabel("share of the slots")
        legend_below(figure, axes, kinds)
    last = ", ".join(f"{kind} {share[-1]:.0%}" for kind, share in zip(kinds, shares, strict=True))
    return Picture(name=f"kinds-{place}", title=shortened(name, 40), caption=f"Last round: {last}.", figure=figure)


def _new_exposures(rounds: Sequence[Round]) -> Float[np.ndarray, " rounds"]:
    """Returns the exposure of new cards by round; NaN before any card has entered."""
    return np.array([new_exposure(one) for one in rounds])


def _mark_changes(axes: Axes, plays: Mapping[str, Sequence[Played]]) -> None:
    changes = {one.changed_at for of_seeds in plays.values() for one in of_seeds if one.changed_at is not None}
    for at in sorted(changes):
        axes.axvline(at + 0.5, color=INK, linewidth=0.8, linestyle="--", alpha=0.6)


def _dashes(place: int) -> str:
    """Returns a line style by which lines of the same colour differ."""
    return ("-", "--", "-.")[place // len(COLOURS) % 3]
