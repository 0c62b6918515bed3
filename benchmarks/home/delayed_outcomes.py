"""Does it pay not to wait? A bandit whose reward arrives bit by bit over 59 days, in a world whose truth is known.

Every day some contents are new and some leave; each of the day's listeners is shown one. A content wins some of them,
who come back on seven days of ten as long as they stay; others never come back. How many a content wins and how long
they stay is its own, of which its vector tells a part: all days of an outcome hang together, and the first day alone
misleads. The mean return is a Gaussian over contents, as the filter believes, and outcomes are no Gaussian. All
policies are Thompson sampling with a belief about each content's mean return and the same prior, fitted to the same log
of earlier contents; they differ in what they are told:

- progressive: each day of an outcome as soon as it is over (`policies/long_term`);
- waiting: outcomes of which all 59 days are over;
- first day: whether a listener came back on day 1, which is all that it looks at;
- oracle: the whole outcome on the next morning.

The regret of a listener is the mean return of the best content there is less that of the one shown. The late regret is
that of the second half of the days.

    OMP_NUM_THREADS=1 python benchmarks/home/delayed_outcomes.py    # three processor minutes
"""

import argparse
import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, ratio, write_result
from towers.policies.long_term.fitting import fit_returns
from towers.policies.long_term.outcomes import DelayedOutcomes
from towers.policies.long_term.progressive import Evidence, ReturnModel, evidence_of, expected_returns

DAYS: Final = 59
DIM: Final = 8
OFTEN: Final = 0.7
"""Probability that a listener who was won comes back on a day, while they stay."""
LIMITS: Final = {"oracle": 1.5, "waiting": 0.25}
"""The progressive filter's late regret, at most so many times that of another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Contents with their truth, those of the log first.

    Args:
        vectors: in the space.
        won: share of the listeners whom each content wins; others never come back.
        stay: days after which 1 / e of those are left; it is not the same for all, so the first day misleads.
        first_day: from which on each content may be shown; those of the log are not there any more.
        life: days for which it may.
    """

    vectors: Float[np.ndarray, "contents dim"]
    won: Float[np.ndarray, " contents"]
    stay: Float[np.ndarray, " contents"]
    first_day: Int[np.ndarray, " contents"]
    life: int

    @property
    def returns(self) -> Float[np.ndarray, " contents"]:
        """Mean days of coming back."""
        return OFTEN * self.won * np.exp(-np.arange(1, DAYS + 1) / self.stay[:, None]).sum(axis=1)

    def is_there(self, day: int) -> Bool[np.ndarray, " contents"]:
        """Returns the contents that may be shown."""
        return (self.first_day <= day) & (day < self.first_day + self.life)

    def drawn(self, content: Int[np.ndarray, " pairs"], draws: np.random.Generator) -> Bool[np.ndarray, "pairs days"]:
        """The outcomes of listeners who are shown contents."""
        is_won = draws.random(len(content)) < self.won[content]
        stays = draws.random(len(content)) ** (1 / np.arange(1, DAYS + 1)[:, None])
        is_there = (stays < np.exp(-1 / self.stay[content])).T & is_won[:, None]
        return is_there & (draws.random((len(content), DAYS)) < OFTEN)


def made_world(arguments: argparse.Namespace, seed: int) -> World:
    """A world: at first as many contents of all ages as later at any time."""
    draws = np.random.default_rng([seed, 0])
    there, logged = arguments.contents, arguments.logged
    new = round(arguments.days * there / arguments.life)
    size = logged + there + new
    vectors = draws.normal(size=(size, DIM)) / np.sqrt(DIM)
    level, stay = (vectors @ draws.normal(size=DIM) for _ in range(2))
    mix = np.sqrt([arguments.told, 1 - arguments.told])
    stay = arguments.stay * np.exp(arguments.spread * (mix[0] * stay + mix[1] * draws.normal(size=size)))
    returns = np.maximum(1.5 + 0.5 * (mix[0] * level + mix[1] * draws.normal(size=size)), 0.1)
    won = np.minimum(returns / (OFTEN * np.exp(-np.arange(1, DAYS + 1) / stay[:, None]).sum(axis=1)), 0.95)
    first_day = np.concatenate([draws.integers(-arguments.life, 0, there), draws.integers(0, arguments.days, new)])
    first_day = np.concatenate([np.full(logged, -2 * arguments.life), first_day])
    return World(vectors=vectors, won=won, stay=stay, first_day=first_day, life=arguments.life)


def fitted(world: World, arguments: argparse.Namespace, seed: int, days: int) -> ReturnModel:
    """The prior of all policies, of the first `days` of outcomes, from a log of earlier contents."""
    draws = np.random.default_rng([seed, 1])
    content = draws.integers(0, arguments.logged, arguments.logged * arguments.logged_listeners)
    observed = np.minimum(draws.integers(0, 2 * DAYS, len(content)), DAYS)
    returned = world.drawn(content, draws) & (np.arange(DAYS) < observed[:, None])
    outcomes = DelayedOutcomes(content=content, observed=observed, returned=returned).up_to(days)
    return fit_returns(outcomes, world.vectors, least_days=1).model


class Told:
    """What a policy was told about the listeners to whom it showed contents.

    Args:
        how: `progressive`, `waiting`, `first day` or `oracle`.
        world: the contents.
        model: the prior, of as many days as it looks at.
    """

    def __init__(self, how: str, world: World, model: ReturnModel):
        self._how, self._world, self._model = how, world, model
        self.evidence = Evidence.none(len(world.vectors), model.days)
        self._day = np.zeros(0, np.int64)
        self._young = DelayedOutcomes(content=self._day, observed=self._day, returned=np.zeros((0, model.days), bool))

    def shown(self, day: int, content: Int[np.ndarray, " pairs"], returned: Bool[np.ndarray, "pairs days"]) -> None:
        """Remembers whole outcomes, of which days are told as they pass."""
        young, days = self._young, self._model.days
        self._day = np.append(self._day, np.full(len(content), day))
        self._young = DelayedOutcomes(
            content=np.append(young.content, content),
            observed=np.append(young.observed, np.full(len(content), days)),
            returned=np.concatenate([young.returned, returned[:, :days]]),
        )

    def morning(self, day: int) -> None:
        """A day begins; that before is over."""
        model, young, over = self._model, self._young, day - 1 - self._day
        if self._how == "oracle":
            over = np.full(len(young), model.days)
        since = over - 1 if self._how == "progressive" else np.zeros(len(young), np.int64)
        is_told = over > 0 if self._how == "progressive" else over == model.days
        told, observed = np.flatnonzero(is_told), over[is_told]
        known = DelayedOutcomes(
            content=young.content[told],
            observed=observed,
            returned=young.returned[told] & (np.arange(model.days) < observed[:, None]),
        )
        self.evidence += evidence_of(model, known, len(self._world.vectors), since=since[told])
        left = np.flatnonzero(over < model.days)
        self._day, self._young = self._day[left], young.at(left)


def regret(how: str, world: World, model: ReturnModel, arguments: argparse.Namespace, seed: int) -> list[float]:
    """The mean regret of a listener on each day."""
    draws = np.random.default_rng([seed, 2])
    told, returns, found = Told(how, world, model), world.returns, []
    for day in range(arguments.days):
        told.morning(day)
        there = np.flatnonzero(world.is_there(day))
        belief = expected_returns(model, told.evidence.of(there), world.vectors[there])
        noise = draws.normal(size=(arguments.listeners, len(there)))
        shown = there[(belief.expected + belief.deviation * noise).argmax(axis=1)]
        told.shown(day, shown, world.drawn(shown, draws))
        found.append(float(returns[there].max() - returns[shown].mean()))
    return found


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """Regret by policy and seed, and the ratios that are asked for with their 95 % intervals over worlds."""
    curves: dict[str, list[list[float]]] = {}
    scale = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        world = made_world(arguments, seed)
        whole, first = (fitted(world, arguments, seed, days) for days in (DAYS, 1))
        for how in ("progressive", "waiting", "first day", "oracle"):
            model = first if how == "first day" else whole
            curves.setdefault(how, []).append(regret(how, world, model, arguments, seed))
        returns = world.returns[arguments.logged :]
        scale.append([float(returns.mean()), float(returns.max())])
    half = arguments.days // 2
    late = {how: [float(np.mean(curve[half:])) for curve in of_seeds] for how, of_seeds in curves.items()}
    ratios = {}
    for other in ("oracle", "waiting", "first day"):
        ratios[other] = ratio(np.array(late["progressive"]), np.array(late[other]))
    return {
        "late_regret": late,
        "ratios": ratios,
        "mean_and_best_return": np.mean(scale, axis=0).tolist(),
        "curves": {how: np.mean(of_seeds, axis=0).round(4).tolist() for how, of_seeds in curves.items()},
    }


def table(found: dict[str, Any]) -> Table:
    """Late regret by policy."""
    rows = Table("told", "late regret, days", "of seeds", "progressive is", "asked", title="What waiting costs")
    for how, late in found["late_regret"].items():
        times = found["ratios"].get(how)
        told = "" if times is None else f"{times['ratio']:.2f} ({times['low']:.2f} to {times['high']:.2f})"
        asked = f"at most {LIMITS[how]}" if how in LIMITS else ""
        rows.add_row(how, f"{np.mean(late):.3f}", f"{min(late):.3f} to {max(late):.3f}", told, asked)
    return rows


def main() -> None:
    """Prints and writes the figures."""
    parser = command_line(__doc__)
    parser.add_argument("--days", type=int, default=240, help="on which contents are shown; half of them are late")
    parser.add_argument("--listeners", type=int, default=300, help="of a day")
    parser.add_argument("--contents", type=int, default=30, help="that may be shown at a time")
    parser.add_argument("--life", type=int, default=120, help="days for which a content may be shown")
    parser.add_argument("--stay", type=float, default=5.0, help="days after which 1 / e of the won are left, about")
    parser.add_argument("--spread", type=float, default=0.25, help="of contents, of the logarithm of these days")
    parser.add_argument("--told", type=float, default=0.2, help="share of how contents differ that their vectors tell")
    parser.add_argument(
        "--logged", type=int, default=150, help="earlier contents, in the log that the prior is fitted to"
    )
    parser.add_argument("--logged-listeners", type=int, default=40, help="of each of these")
    parser.add_argument("--seeds", type=int, default=30, help="worlds, each with its own log")
    parser.add_argument("--first-seed", type=int, default=100, help="settings were chosen on those from 0 on")
    add_smallest(parser, days=12, listeners=5, contents=6, life=10, logged=20, logged_listeners=20, seeds=1)
    arguments = parser.parse_args()
    began = time.process_time()
    found = measured(arguments)
    Console().print(table(found))
    mean, best = found["mean_and_best_return"]
    print(f"mean return of a content {mean:.2f} days, of the best {best:.2f}")
    sizes = {name: value for name, value in vars(arguments).items() if name != "smallest"}
    seconds = time.process_time() - began
    write_result(arguments, "delayed_outcomes", {"sizes": sizes, "processor_seconds": seconds, **found})


if __name__ == "__main__":
    main()
