"""How far off are estimates of a policy over many steps, do their intervals hold the truth, and what is refused?

    python benchmarks/simulation/sequential_off_policy.py

Two worlds. In a small Markov decision process (4 states, 3 actions, a twentieth of the listeners leaves at each step)
the truth is known by dynamic programming; the log is that of a policy that draws evenly, and the new policies are that
one mixed with the greedy one. In the planted world of listeners (`towers/simulation/planted`) slates of two of six
candidates are drawn by Plackett-Luce with a known sharpness, and listeners seldom put on something else; the truth is
the mean over many listeners whom the new policy serves itself. There a step is a play, and the reward is streams and
active days, less a half of a skip.
"""

import argparse
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from benchmarks.simulation.sequential_world import NearPolicy, Served, sequential_log, served
from benchmarks.simulation.small_mdp import SmallMdp
from towers.evaluation.off_policy.sequential.judge import SequentialSettings, judge_sequential
from towers.evaluation.off_policy.sequential.verdict import SequentialVerdict
from towers.simulation.environment.rewards import PARTS
from towers.simulation.environment.world import ListeningWorld
from towers.simulation.planted.listeners import PlantedListeners, planted_log
from towers.simulation.planted.world import Plant, PlantedWorld

NEAR, MIDDLE, FAR = 0.1, 0.4, 0.9
"""Share of the greedy policy in the new one."""
POLICIES = {
    "nearer": {"sharpness": 3.0}, "known": {"sharpness": 2.0, "known": 0.7}, "even": {"sharpness": 0.0},
    "away": {"sharpness": -3.0, "known": -1.0},
}  # fmt: skip
"""New policies among listeners; the one that logs has sharpness 2 and draws any candidate in a fifth of the slots."""
WEIGHTS = {"streams": 1.0, "active_days": 1.0, "skips": -0.5}
SLOTS, CANDIDATES, OWN_PULL = 2, 6, 0.0


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--listeners", type=int, default=1_000, help="of a log")
    parser.add_argument("--repetitions", type=int, default=100, help="logs of the process")
    parser.add_argument("--horizons", type=int, nargs="+", default=[5, 10, 40])
    parser.add_argument("--served", type=int, default=1_000, help="listeners of a log of the planted world")
    parser.add_argument("--served-repetitions", type=int, default=20, help="logs of the planted world")
    parser.add_argument("--served-horizons", type=int, nargs="+", default=[3, 8, 30])
    parser.add_argument(
        "--truth", type=int, default=20, help="logs of as many listeners, that true returns are means over"
    )
    parser.add_argument("--resamples", type=int, default=200)
    add_smallest(
        parser, listeners=60, repetitions=2, horizons=[3, 12], served=40, served_repetitions=1, served_horizons=[3],
        truth=1, resamples=20,
    )  # fmt: skip
    arguments = parser.parse_args()
    found = {"process": of_process(arguments), "listeners": of_listeners(arguments)}
    for title, figures in found.items():
        show(title, figures)
    names = ("listeners", "repetitions", "served", "served_repetitions", "truth", "resamples")
    write_result(arguments, "sequential_off_policy", {name: getattr(arguments, name) for name in names} | found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A policy, a horizon, and all that logs said of it.

    Args:
        truth: of its return.
        verdicts: of each log.
    """

    truth: float
    verdicts: list[SequentialVerdict]

    def figures(self) -> dict[str, Any]:
        """Errors and coverage of each estimator, over all logs, and how often the log was refused by which rule."""
        judged = [one for one in self.verdicts if one.is_judged]
        rules = Counter(refusal.rule for one in self.verdicts for refusal in one.refusals)
        return {
            "truth": self.truth,
            "logged": float(np.mean([one.logged.mean for one in self.verdicts])),
            "effective": float(np.mean([one.worst.effective for one in self.verdicts])),
            "estimators": {name: self._of(name, self.verdicts) for name in self.verdicts[0].estimates},
            "judged": len(judged) / len(self.verdicts),
            "believed": self._of(self.verdicts[0].believed, judged) if judged else None,
            "refused by": {rule: count / len(self.verdicts) for rule, count in rules.items()},
        }

    def _of(self, name: str, verdicts: list[SequentialVerdict]) -> dict[str, float]:
        intervals = [one.estimates[name] for one in verdicts]
        off = np.array([one.mean - self.truth for one in intervals]) / abs(self.truth)
        return {
            "error": float(np.abs(off).mean()), "bias": float(off.mean()),
            "coverage": float(np.mean([one.low <= self.truth <= one.high for one in intervals])),
        }  # fmt: skip


def of_process(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The Markov decision process."""
    mdp, found = SmallMdp.drawn(4, 3, seed=5, goes=0.05), {}
    old = np.full((4, 3), 1 / 3)
    settings = SequentialSettings(resamples=arguments.resamples)
    for horizon in arguments.horizons:
        for share in (NEAR, MIDDLE, FAR):
            new = (1 - share) * old + share * mdp.greedy(horizon)
            name = f"{horizon} steps, {share:.0%} greedy"
            logs = (
                mdp.log(old, new, arguments.listeners, horizon, seed) for seed in progress(arguments.repetitions, name)
            )
            verdicts = [judge_sequential(log, settings) for log in logs]
            found[name] = Case(truth=mdp.worth(new, horizon)[0], verdicts=verdicts).figures()
    return found


def of_listeners(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The planted world."""
    made = PlantedWorld(Plant(num_listeners=400, num_days=10, num_tracks=300, num_episodes=30, satiation=0.3))
    log, there = planted_log(made)
    space = made.space.counted(log.content, 0, made.end_us)
    living = PlantedListeners.drawn(there, arguments.served, 0, space)
    world = ListeningWorld(living, made.end_us, 7.0, slate_size=SLOTS, num_candidates=CANDIDATES, own_pull=OWN_PULL)
    old = NearPolicy(space=space, slots=SLOTS, sharpness=2.0, mixed=0.2)
    policies = {name: NearPolicy(space=space, slots=SLOTS, mixed=0.2, **how) for name, how in POLICIES.items()}
    longest = max(arguments.served_horizons)
    settings = SequentialSettings(resamples=arguments.resamples)
    verdicts: dict[str, list[SequentialVerdict]] = {}
    for seed in progress(arguments.served_repetitions, "logs of listeners"):
        shown = served(world, old, seed, longest)
        for name, policy in policies.items():
            log_of = sequential_log(shown, space, policy, WEIGHTS)
            for horizon in arguments.served_horizons:
                one = judge_sequential(log_of.first(horizon), settings)
                verdicts.setdefault(f"{horizon} steps, {name}", []).append(one)
    truth: dict[str, list[float]] = {}
    for name, policy in policies.items():
        for seed in progress(arguments.truth, f"truth of {name}"):
            shown = served(world, policy, 1_000_000 + seed, longest)
            for horizon in arguments.served_horizons:
                truth.setdefault(f"{horizon} steps, {name}", []).append(returned(shown, horizon) / len(world))
    return {name: Case(truth=float(np.mean(truth[name])), verdicts=verdicts[name]).figures() for name in verdicts}


def returned(shown: Served, steps: int) -> float:
    """Returns the sum of all listeners' rewards in the first steps."""
    parts = {name: sum(float(step[name].sum()) for step in shown.parts[:steps]) for name in PARTS}
    return sum(weight * parts[name] for name, weight in WEIGHTS.items())


def progress(number: int, words: str):
    """Counts to a number, and shows how far."""
    return track(range(number), words, console=Console(stderr=True))


def show(title: str, figures: dict[str, dict[str, Any]]) -> None:
    """Prints figures of cases."""
    names = ("ips", "snips", "dr", "direct", "marginal", "marginal_dr")
    table = Table("", "truth (log)", "effective", *names, "judged", title=f"{title}: error (coverage of 95 %)")
    for case, one in figures.items():
        cells = [
            f"{found['error']:.1%} ({found['coverage']:.0%})" if (found := one["estimators"].get(name)) else ""
            for name in names
        ]
        table.add_row(
            case,
            f"{one['truth']:.2f} ({one['logged']:.2f})",
            f"{one['effective']:,.0f}",
            *cells,
            f"{one['judged']:.0%}",
        )
    Console(width=150).print(table)
    for case, one in figures.items():
        if one["refused by"]:
            by = ", ".join(f"{rule} {share:.0%}" for rule, share in one["refused by"].items())
            print(f"{case}: refused by {by}")


if __name__ == "__main__":
    main()
