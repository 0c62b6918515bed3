"""How far are off-policy estimates from a known truth, and how often does the home page's gate err?

    python benchmarks/home/off_policy.py
    python benchmarks/home/off_policy.py --slots 3 --repetitions 60 60

A production policy shows cards to invented listeners (`off_policy_world`): it knows their tastes and, with a noise, the
cards, and takes any card with a chance of 5 %. New policies, near and far, are judged by its logs; what they earn truly
is known. Every repetition is another log of other listeners, five requests each.

| figure | is |
|---|---|
| error | mean of `|estimate / truth - 1|` over logs and the ten policies, where at least a tenth of the requests are |
|       | effective; `on-policy` is what as many requests of the policy itself would give: no estimate can do better |
|       | where the log is of another one |
| coverage | share of logs whose 95 % interval holds the truth, by policy: least and greatest, and over all |
| spearman | rank correlation of the ten policies' estimates with their true order, mean over logs |
| accepted | share of logs in which the gate lets a policy pass that truly earns 5 % less or more than production; |
|          | planted in three ways: production mixed with a better or worse one; production's scores moved towards it; |
|          | a policy that has learned the cards anew, with other errors |

The gate's rules are those of its default configuration. `value` is without its guardrails, and `breaks` names those
that a policy breaks in truth: a refusal by one of them is no error. An impression is a slot shown: a request has
`--slots` of them.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from benchmarks import one_thread  # noqa: F401  # importing it sets the threads that numpy reads when it starts

# isort: split
import numpy as np
from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import spearmanr

from benchmarks.home.off_policy_world import SoftmaxPolicy, Truth, World
from benchmarks.measuring import add_smallest, command_line, write_result
from towers.config.instantiate import instantiate
from towers.config.keys import CONFIG_DIR
from towers.evaluation.off_policy.judge import DR, SNIPS, OffPolicyJudge, OffPolicyResult
from towers.lifecycle.home_gate.gate import HomeEvidence, HomeRule, judge
from towers.lifecycle.home_gate.rules import Guardrail

TEN = (
    (0.0, 0.0), (-0.3, 1.0), (0.5, 1.0), (1.5, 1.0), (2.0, 1.0), (3.0, 1.0), (1.0, 0.5), (2.0, 0.5), (1.0, 0.0),
    (2.0, 0.0),
)  # fmt: skip
"""Temper and noise of the policies that are put in order; production's are 1 and 1."""
BETTER, WORSE = 1.05, 0.95
LEAST_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class Known:
    """A policy and what it does truly."""

    policy: SoftmaxPolicy
    truth: Truth

    @property
    def value(self) -> float:
        """Returns what it earns."""
        return self.truth.streams


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The world, who logs, and who is judged."""

    world: World
    production: Known
    ten: Mapping[str, Known]
    planted: Mapping[str, Known]
    rules: Mapping[str, HomeRule]
    judge: OffPolicyJudge


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--base", type=float, default=-2.0, help="log-odds of a stream of an average card")
    parser.add_argument("--impressions", type=int, nargs="+", default=[10_000, 50_000])
    parser.add_argument("--repetitions", type=int, nargs="+", default=[200, 100], help="for each number of impressions")
    parser.add_argument("--truth", type=int, default=200_000, help="listeners that true rewards are means over")
    parser.add_argument("--resamples", type=int, default=400, help="of listeners, for intervals")
    add_smallest(parser, impressions=[600], repetitions=[2], truth=20_000, resamples=50)
    arguments = parser.parse_args()
    setting = set_up(arguments)
    print(f"production: {setting.production.value:.4f} streams a slate")
    known = {**setting.ten, **setting.planted}
    content = {
        **{key: getattr(arguments, key) for key in ("slots", "base", "truth", "resamples")},
        "production": setting.production.value,
        "true over production": {name: one.value / setting.production.value for name, one in known.items()},
    }
    for impressions, repetitions in zip(arguments.impressions, arguments.repetitions, strict=True):
        figures = measured(setting, impressions, repetitions)
        show(figures, f"{impressions:,} impressions, {repetitions} logs, slates of {arguments.slots}")
        size = {"impressions": impressions, "repetitions": repetitions}
        write_result(arguments, f"off_policy-{arguments.slots}-slots-{impressions}", {**content, **size, **figures})


def set_up(arguments: argparse.Namespace) -> Setting:
    """The policies and the gate."""
    world = World(slots=arguments.slots, base=arguments.base)
    production = world.policy("production", 1.0, 1.0)

    def known(policy: SoftmaxPolicy) -> Known:
        return Known(policy=policy, truth=world.truth(policy, arguments.truth))

    logging = known(production)

    config = OmegaConf.load(f"{CONFIG_DIR}/home_gate/default.yaml")
    rules = {str(name): instantiate(node, f"home_gate.rules.{name}") for name, node in config.rules.items()}
    judge_of = instantiate(config.judge, "home_gate.judge")
    ten = {f"temper {temper}, noise {noise}": world.policy("new", temper, noise) for temper, noise in TEN}
    planted = {
        f"{name} {goal - 1:+.0%}": known(policy)
        for goal in (WORSE, BETTER)
        for name, policy in plants(world, production, logging.value * goal).items()
    }
    return Setting(
        world=world, production=logging, rules=rules,
        ten={name: known(policy) for name, policy in ten.items()}, planted=planted,
        judge=replace(judge_of, resamples=arguments.resamples),
    )  # fmt: skip


def plants(world: World, production: SoftmaxPolicy, goal: float) -> dict[str, SoftmaxPolicy]:
    """Policies that earn a given reward, in three ways."""
    is_better = goal > world.truth(production, 20_000).streams
    away = world.policy("away", 3.0, 0.0) if is_better else world.policy("away", -1.0, 1.0)

    def moved(share: float) -> SoftmaxPolicy:
        def scores(tastes: np.ndarray) -> np.ndarray:
            return (1 - share) * production.scores(tastes) + share * away.scores(tastes)

        return SoftmaxPolicy(name="moved", scores=scores)

    ways: dict[str, Callable[[float], SoftmaxPolicy]] = {
        "mixed": lambda share: replace(production, mixed=away, share=share),
        "moved": moved,
        "other": lambda share: world.policy("other", 3 * (share if is_better else 1 - share), 1.0, seed=2),
    }
    return {name: reaching(way, world, goal, is_better) for name, way in ways.items()}


def reaching(way: Callable[[float], SoftmaxPolicy], world: World, goal: float, is_better: bool) -> SoftmaxPolicy:
    """The policy on the way whose true reward is the goal, by bisection; the same listeners at each step."""
    low, high = 0.0, 1.0
    for _ in range(14):
        middle = (low + high) / 2
        is_short = (world.truth(way(middle), 20_000).streams < goal) == is_better
        low, high = (middle, high) if is_short else (low, middle)
    return way((low + high) / 2)


def measured(setting: Setting, impressions: int, repetitions: int) -> dict[str, Any]:
    """All figures of logs of one size."""
    requests = impressions // setting.world.slots
    results: dict[str, list[OffPolicyResult]] = defaultdict(list)
    refused: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for seed in track(range(repetitions), f"{impressions:,} impressions", console=Console(stderr=True)):
        log = setting.world.log(setting.production.policy, requests, seed)
        for name, known in {**setting.ten, **setting.planted}.items():
            judged = log.judged(known.policy)
            result = setting.judge.judge(judged.log, judged.features, judged.new_features)
            results[name].append(result)
            verdict = judge(HomeEvidence(result=result), setting.rules)
            refused[name].append(tuple(outcome.rule for outcome in verdict.refused))
    truth = {name: known.value for name, known in setting.ten.items()}
    estimators = list(next(iter(results.values()))[0].estimates)
    share = {name: float(np.mean([one.worst.effective_share for one in each])) for name, each in results.items()}
    near = [name for name in truth if share[name] >= LEAST_SHARE]
    return {
        "effective share": share,
        "error": {estimator: errors(results, truth, near, estimator) for estimator in estimators}
        | {"on-policy": on_policy(setting, requests, repetitions, near)},
        "coverage": {estimator: coverage(results, truth, near, estimator) for estimator in (SNIPS, DR)},
        "bernstein": float(
            np.mean([one.bernstein.low <= truth[name] for name in truth for one in results[name]])
        ),
        "spearman": {estimator: order(results, truth, estimator) for estimator in estimators},
        "gate": {
            name: {**rates(setting, refused[name]), "breaks": breaks(setting, known)}
            for name, known in setting.planted.items()
        },
        "planted error": {
            name: float(np.mean([abs(one.estimates[DR].mean / known.value - 1) for one in results[name]]))
            for name, known in setting.planted.items()
        },
    }  # fmt: skip


def errors(
    results: Mapping[str, list[OffPolicyResult]], truth: Mapping[str, float], near: list[str], estimator: str
) -> dict[str, float]:
    """Returns errors of one estimator: mean over policies and logs, of the worst policy, and the error that 95 % of
    all are below."""
    each = {name: [abs(one.estimates[estimator].mean / truth[name] - 1) for one in results[name]] for name in near}
    every = np.concatenate(list(each.values()))
    worst = max(float(np.mean(found)) for found in each.values())
    return {"mean": float(every.mean()), "worst policy": worst, "of 95 %": float(np.quantile(every, 0.95))}


def on_policy(setting: Setting, requests: int, repetitions: int, near: list[str]) -> dict[str, float]:
    """The error of the mean of as many requests of each policy's own."""
    each = {name: [] for name in near}
    for name in near:
        known = setting.ten[name]
        for seed in range(min(repetitions, 20)):
            own = setting.world.log(known.policy, requests, 1_000_000 + seed)
            each[name].append(abs(float(own.rewards.sum(axis=1).mean()) / known.value - 1))
    every = np.concatenate(list(each.values()))
    worst = max(float(np.mean(found)) for found in each.values())
    return {"mean": float(every.mean()), "worst policy": worst, "of 95 %": float(np.quantile(every, 0.95))}


def coverage(
    results: Mapping[str, list[OffPolicyResult]], truth: Mapping[str, float], near: list[str], estimator: str
) -> dict[str, float]:
    """Share of intervals that hold the truth."""
    shares = []
    for name in near:
        found = [one.estimates[estimator] for one in results[name]]
        shares.append(np.mean([one.low <= truth[name] <= one.high for one in found]))
    return {"least": float(min(shares)), "mean": float(np.mean(shares)), "greatest": float(max(shares))}


def order(results: Mapping[str, list[OffPolicyResult]], truth: Mapping[str, float], estimator: str) -> float:
    """Mean rank correlation over logs."""
    values = np.array([[one.estimates[estimator].mean for one in results[name]] for name in truth])
    true = np.array(list(truth.values()))
    return float(np.mean([spearmanr(true, column).statistic for column in values.T]))


def rates(setting: Setting, refused: list[tuple[str, ...]]) -> dict[str, Any]:
    """Returns how often the gate lets a policy pass, with guardrails and without, and how often each rule refuses
    it."""
    guardrails = {name for name, rule in setting.rules.items() if isinstance(rule, Guardrail)}
    return {
        "accepted": float(np.mean([not rules for rules in refused])),
        "value": float(np.mean([not set(rules) - guardrails for rules in refused])),
        "refused by": {rule: count / len(refused) for rule, count in Counter(sum(refused, ())).items()},
    }


def breaks(setting: Setting, known: Known) -> dict[str, float]:
    """Guardrails that a policy breaks in truth, each with its figure over production's."""
    broken = {}
    for name, rule in setting.rules.items():
        if isinstance(rule, Guardrail):
            share = getattr(known.truth, rule.figure) / getattr(setting.production.truth, rule.figure)
            if share < (rule.least or 0.0) or share > (rule.most or float("inf")):
                broken[name] = share
    return broken


def show(figures: dict[str, Any], title: str) -> None:
    """Prints them."""
    console = Console(width=140)
    columns = ("estimator", "error", "worst policy", "of 95 %", "coverage (least, mean, greatest)", "spearman")
    table = Table(*columns, title=title)
    for name, error in figures["error"].items():
        covered = figures["coverage"].get(name, {})
        spearman = figures["spearman"].get(name)
        table.add_row(
            name, *(f"{error[key]:.2%}" for key in ("mean", "worst policy", "of 95 %")),
            ", ".join(f"{share:.1%}" for share in covered.values()), "" if spearman is None else f"{spearman:.3f}",
        )  # fmt: skip
    console.print(table)
    print(f"the empirical-Bernstein bound is below the truth in {figures['bernstein']:.1%}")
    gate = Table("planted", "effective share", "error of dr", "accepted", "value", "refused by", "breaks")
    for name, rate in figures["gate"].items():
        by = ", ".join(f"{rule} {share:.1%}" for rule, share in rate["refused by"].items())
        gate.add_row(
            name, f"{figures['effective share'][name]:.2f}", f"{figures['planted error'][name]:.2%}",
            f"{rate['accepted']:.1%}", f"{rate['value']:.1%}", by,
            ", ".join(f"{guard} {share:.2f}" for guard, share in rate["breaks"].items()),
        )  # fmt: skip
    console.print(gate)


if __name__ == "__main__":
    main()
