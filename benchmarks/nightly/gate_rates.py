"""Error rates of the gate's margin: for twins that differ only in the seed, and for losses of twice the margin.

    python benchmarks/nightly/gate_rates.py --seeds 0 1 2 3 4 5 6 7 8 9
    python benchmarks/nightly/gate_rates.py --exports EXPORT EXPORT EXPORT \
        --store stores/catalogue/VERSION --label catalogue

Without exports, trains a network for each seed on a small invented world without sound. Exports are evaluated on the
test period of a store that all of them were trained before. Every ordered pair of seeds is a night: one serves, the
other challenges. Listeners are split at random into disjoint parts, each a window of its own, so that a pair gives
several nights and none has a listener twice.

A loss of twice the gate's own margin is planted in two ways: all listeners lose the same share of their figure, or
some listeners lose all of it.

Prints the differences between seeds (`seed_noise` is the part that listeners do not explain), both rates of
`main_metric` with the `seed_noise` of its configuration and with that of these seeds, what it accepts of losses of a
given size, and how often each rule of quality refuses a pair of all listeners. `--values` keeps every listener's
figures for another gate (`peers/recsys_eval_gate.py`).
"""

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import one_thread  # noqa: F401  # importing it sets the threads that numpy reads when it starts

# isort: split
import numpy as np
from jaxtyping import Bool, Int
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from towers.assembly.evaluation import evaluation_plan
from towers.config.composing import compose
from towers.config.instantiate import instantiate
from towers.config.keys import CONFIG_DIR
from towers.data.store import Store
from towers.evaluation.checks.honesty import Check
from towers.evaluation.exports import ExportOnStore
from towers.evaluation.metrics import METRICS
from towers.evaluation.result import ALL, Evaluation, SliceResult, metric_key
from towers.lifecycle.gate import pairs
from towers.lifecycle.gate.evidence import Evidence, Judged, Window
from towers.lifecycle.gate.gate import SMALLEST_LOSS, Rule, judge
from towers.lifecycle.gate.pairs import paired
from towers.lifecycle.gate.rules.quality import MainMetric
from towers.retrieval.export import Export

WORLD = (
    "experiment=demo", "world.num_tracks=600", "world.num_episodes=80", "world.num_listeners=1500",
    "world.clip_duration_s=1.0", "features.spectrogram.record_s=1.0", "audio_encoder=none", "placement=none",
    "trainer.max_epochs=6", "trainer.validate_every_epochs=6", "trainer.progress=false", "name=gate-rates",
)  # fmt: skip
QUALITY = ("main_metric", "cold_content", "kinds", "segments", "coverage", "popularity_bias", "too_good")
LOSSES = (0.0, 0.02, 0.04, 0.08, 0.2)
"""Planted losses, the same as in `peers/recsys_eval_gate.py`."""
Plant = Callable[[Evaluation, float], Evaluation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """Networks that differ only in the seed, measured on one window, and the settings of the evaluation."""

    evaluations: tuple[Evaluation, ...]
    window: Window
    settings: dict[str, Any]

    @property
    def main_metric(self) -> str:
        """Key of the deciding metric."""
        return self.settings["main_metric"]

    def pairs(self) -> Iterator[tuple[Evaluation, Evaluation]]:
        """Yields pairs of challenger and champion, in both orders."""
        return itertools.permutations(self.evaluations, 2)


def trained(arguments: argparse.Namespace) -> Seeds:
    """Trains one network per seed on the world."""
    from towers import api
    from towers.assembly.run import load_run

    overrides = [*WORLD, *arguments.overrides]
    if not Path(compose("demo", overrides[1:]).data.root).exists():
        config = compose("demo", overrides[1:])
        instantiate(config.world, "world").write(Path(config.data.root))
    api.prepare(*overrides)
    plan = evaluation_plan(compose("evaluate", overrides))
    found, protocol = [], None
    for seed in arguments.seeds:
        run = load_run(api.train(*overrides, f"seed={seed}"), plan.stores)
        protocol = protocol or plan.protocol(run.store)
        contents = run.content_vectors()
        users = run.user_vectors(protocol.task.user_rows, contents, "test")
        found.append(protocol.evaluate_vectors(f"seed {seed}", users, contents))
    assert protocol is not None
    return Seeds(evaluations=tuple(found), window=Window.of(protocol), settings=plan.settings)


def exported(arguments: argparse.Namespace) -> Seeds:
    """Evaluates exports on the test period of a store."""
    plan, store = evaluation_plan(compose("evaluate", arguments.overrides)), Store(arguments.store)
    protocol, found = plan.protocol(store), []
    for folder in arguments.exports:
        judged = ExportOnStore(Export(folder), store)
        contents = judged.content_vectors()
        users = judged.user_vectors(protocol.task.user_rows, contents, "test")
        found.append(protocol.evaluate_vectors(f"{folder.parent.name}/{folder.name}", users, contents))
    return Seeds(evaluations=tuple(found), window=Window.of(protocol), settings=plan.settings)


def rules_of(evaluation: dict[str, Any]) -> dict[str, Rule]:
    """The gate's rules of quality, as configured.

    Args:
        evaluation: settings of that group.
    """
    gate = OmegaConf.load(Path(CONFIG_DIR) / "gate" / "default.yaml")
    nodes = OmegaConf.create({"gate": gate, "evaluation": evaluation}).gate.rules
    return {name: instantiate(nodes[name], f"gate.rules.{name}") for name in QUALITY}


def night(seeds: Seeds, challenger: Evaluation, champion: Evaluation) -> Evidence:
    """Makes a night's evidence of two evaluations, both as judged twins."""
    before = Check(name="trained before test", passed=True, detail="")
    twins = [
        Judged(name=one.ranker, window=seeds.window, evaluation=one, trained_before=before)
        for one in (challenger, champion)
    ]
    return Evidence(
        stage="twins", twin=twins[0], champion=twins[1], is_first_night=False, main_metric=seeds.main_metric
    )


def part(evaluation: Evaluation, keep: Bool[np.ndarray, " users"]) -> Evaluation:
    """The evaluation of some of its listeners, without what is of all lists together."""
    place = np.cumsum(keep) - 1
    slices = {}
    for name, result in evaluation.slices.items():
        inside = keep[result.positions]
        values = {metric: figures[inside] for metric, figures in result.values.items()}
        slices[name] = SliceResult(positions=place[result.positions[inside]], values=values)
    return replace(evaluation, user_rows=evaluation.user_rows[keep], slices=slices, lists={}, catalogue={})


def only(seeds: Seeds, rule: MainMetric) -> Seeds:
    """Returns the seeds with only the figures that the rule reads; means of the others take most of the time."""
    found = []
    for one in seeds.evaluations:
        slices = {
            name: replace(one.slices[name], values={seeds.main_metric: one.slices[name].values[seeds.main_metric]})
            for name in {ALL, *rule.seed_noise}
        }
        found.append(replace(one, slices=slices, lists={}, catalogue={}))
    return replace(seeds, evaluations=tuple(found))


def split(num_users: int, parts: int, seed: int = 0) -> Int[np.ndarray, " users"]:
    """The part that each listener is in; parts are as large as each other, but for one listener."""
    return np.random.default_rng(seed).permutation(np.arange(num_users) % parts)


def everybody_loses(evaluation: Evaluation, share: float) -> Evaluation:
    """Every listener's hits, less the same share."""
    return _scaled(evaluation, np.full(len(evaluation.user_rows), 1 - share))


def some_lose_all(evaluation: Evaluation, share: float) -> Evaluation:
    """Some listeners, drawn at random, without a hit: as many as have that share of all hits."""
    whole = evaluation.slices[ALL]
    figures = next(values for metric, values in whole.values.items() if metric.partition("@")[0] in METRICS)
    order = np.random.default_rng(1).permutation(len(figures))
    lost = order[np.cumsum(figures[order]) <= share * figures.sum()]
    factors = np.ones(len(evaluation.user_rows))
    factors[whole.positions[lost]] = 0.0
    return _scaled(evaluation, factors)


def _scaled(evaluation: Evaluation, factors: np.ndarray) -> Evaluation:
    slices = {}
    for name, result in evaluation.slices.items():
        values = {
            metric: figures * factors[result.positions] if metric.partition("@")[0] in METRICS else figures
            for metric, figures in result.values.items()
        }
        slices[name] = replace(result, values=values)
    return replace(evaluation, slices=slices)


PLANTS: dict[str, Plant] = {"everybody loses a share": everybody_loses, "some lose all": some_lose_all}


def planted(seeds: Seeds, rule: MainMetric, challenger: Evaluation, champion: Evaluation, plant: Plant) -> Evidence:
    """The night with a loss of twice the margin that the gate says of it, which the loss itself moves a little."""
    share = 0.0
    for _ in range(3):
        evidence = night(seeds, plant(challenger, share), champion)
        share = min(rule.judge("main_metric", evidence).figures[SMALLEST_LOSS], 1.0)
    return night(seeds, plant(challenger, share), champion)


def apart(seeds: Seeds, key: str) -> dict[str, float] | None:
    """Returns the differences of pairs under a key, as shares of the figure; null where there is no figure."""
    if any(key not in one.means() for one in seeds.evaluations):
        return None
    compared = [paired(*two, [key])[key] for two in itertools.combinations(seeds.evaluations, 2)]
    mean = float(np.mean([one.means()[key] for one in seeds.evaluations]))
    squares, errors = (np.mean([value**2 for value in column]) for column in
                       ([pair.difference for pair in compared], [pair.error for pair in compared]))  # fmt: skip
    return {
        "mean": mean,
        "listeners": compared[0].listeners,
        "difference": float(np.sqrt(squares)) / mean,
        "listeners' error": float(np.sqrt(errors)) / mean,
        "seed_noise": float(np.sqrt(max(squares - errors, 0.0))) / mean,
    }


def rates(seeds: Seeds, rule: MainMetric, parts: int) -> dict[str, Any]:
    """Share of the nights on which the rule refuses seeds, and on which it accepts planted losses."""
    seeds, wide = only(seeds, rule), replace(rule, max_margin=1e9)
    codes = split(len(seeds.evaluations[0].user_rows), parts)
    refused, losses, accepted = [], [], {name: [] for name in PLANTS}
    for code in range(parts):
        of_part = replace(seeds, evaluations=tuple(part(one, codes == code) for one in seeds.evaluations))
        for challenger, champion in of_part.pairs():
            outcome = wide.judge("main_metric", night(seeds, challenger, champion))
            refused.append(outcome.status == "refused")
            losses.append(outcome.figures[SMALLEST_LOSS])
            for name, plant in PLANTS.items():
                evidence = planted(of_part, wide, challenger, champion, plant)
                accepted[name].append(wide.judge("main_metric", evidence).status == "passed")
    return {
        "seed_noise": dict(rule.seed_noise),
        "parts": parts,
        "listeners": len(codes) // parts,
        "nights": len(refused),
        "refused": float(np.mean(refused)),
        "accepted": {name: float(np.mean(found)) for name, found in accepted.items()},
        "smallest_loss": float(np.mean(losses)),
    }


def by_loss(seeds: Seeds, rule: MainMetric) -> dict[str, float]:
    """Returns the share of pairs, on all listeners, that the rule accepts when all listeners lose a share."""
    seeds, found = only(seeds, rule), {}
    for loss in LOSSES:
        nights = [night(seeds, everybody_loses(first, loss), second) for first, second in seeds.pairs()]
        found[f"{loss:.0%}"] = float(np.mean([rule.judge("main_metric", each).status == "passed" for each in nights]))
    return found


def refusals(seeds: Seeds, rules: dict[str, Rule]) -> dict[str, float]:
    """Share of the pairs, on all listeners, that each rule refuses, and that any does."""
    verdicts = [judge(night(seeds, *pair), rules) for pair in seeds.pairs()]
    found = {name: float(np.mean([name in verdict.rules.split(", ") for verdict in verdicts])) for name in rules}
    return found | {"any": float(np.mean([bool(verdict.refused) for verdict in verdicts]))}


def keep_values(seeds: Seeds, path: Path) -> None:
    """Every listener's figures of the main metric by seed, `[seeds, listeners]`."""
    key = seeds.main_metric
    columns = {name.replace("/", " "): np.stack([one.figures(name) for one in seeds.evaluations])
               for name in (key, metric_key(key, "discovery"))}  # fmt: skip
    np.savez(path, allow_pickle=False, **columns)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=list(range(10)), help="of the networks that are trained"
    )
    parser.add_argument("--exports", type=Path, nargs="+", help="folders of exports that differ in the seed alone")
    parser.add_argument("--store", type=Path, help="folder of a version of a store, for the exports")
    parser.add_argument("--parts", type=int, nargs="+", default=[1, 2, 4], help="that listeners are split into")
    parser.add_argument("--resamples", type=int, default=200, help="of listeners; the gate itself has 1,000")
    parser.add_argument("--label", help="for the name of the file of results")
    parser.add_argument("--values", type=Path, help="file for every listener's figures, .npz")
    add_smallest(parser, seeds=[0, 1], parts=[1])
    arguments, arguments.overrides = parser.parse_known_args()
    pairs.RESAMPLES = arguments.resamples
    seeds = exported(arguments) if arguments.exports else trained(arguments)
    if arguments.values is not None:
        keep_values(seeds, arguments.values)
    rules = rules_of(seeds.settings)
    metric = seeds.main_metric
    parts_of = ("all", "discovery", "cold_content", "track", "episode", "cold_users")
    segments = [name for name in seeds.evaluations[0].slices if name.startswith(("history:", "country:", "day:"))]
    noises = {name: found for name in (*parts_of, *segments) if (found := apart(seeds, metric_key(metric, name)))}
    main_rule = rules["main_metric"]
    assert isinstance(main_rule, MainMetric)
    alone = [replace(main_rule, seed_noise={name: noise}) for name, noise in main_rule.seed_noise.items()]
    asked = [*alone, main_rule] if len(alone) > 1 else alone
    measured = [replace(main_rule, seed_noise={name: noises[name]["seed_noise"]}) for name in main_rule.seed_noise]
    found = [rates(seeds, rule, parts) for rule in (*asked, *measured) for parts in arguments.parts]
    accepted = {", ".join(rule.seed_noise): by_loss(seeds, rule) for rule in asked}
    by_rule = refusals(seeds, rules)
    console = Console(width=150)
    console.print(noise_table(metric, noises))
    console.print(rate_table(found))
    for slices, shares in accepted.items():
        told = ", ".join(f"{share:.0%} of those {loss} worse" for loss, share in shares.items())
        console.print(f"{slices}: accepts {told}")
    console.print(f"refused of {len(seeds.evaluations) * (len(seeds.evaluations) - 1)} pairs on all listeners: "
                  + ", ".join(f"{name} {share:.1%}" for name, share in by_rule.items()))  # fmt: skip
    write_result(
        arguments, "-".join(filter(None, ("gate_rates", arguments.label))),
        {"overrides": arguments.overrides, "seeds": [one.ranker for one in seeds.evaluations], "metric": metric,
         "resamples": arguments.resamples,
         "seed_noise": noises, "rates": found, "accepted_by_loss": accepted,
         "refused_by_rule": by_rule},
    )  # fmt: skip


def noise_table(metric: str, noises: dict[str, dict[str, float]]) -> Table:
    """Returns a table of the differences between seeds."""
    table = Table("slice", f"{metric}", "listeners", "difference of two seeds", "by listeners", "seed_noise")
    for name, found in noises.items():
        shares = [f"{found[key]:.2%}" for key in ("difference", "listeners' error", "seed_noise")]
        table.add_row(name, f"{found['mean']:.4f}", f"{found['listeners']:,}", *shares)
    return table


def rate_table(found: Sequence[dict[str, Any]]) -> Table:
    """Both rates."""
    table = Table("seed_noise", "listeners", "nights", "seeds refused", *(f"accepted: {name}" for name in PLANTS),
                  "smallest loss seen")  # fmt: skip
    for one in found:
        accepted = [f"{one['accepted'][name]:.1%}" for name in PLANTS]
        counts = [f"{one[name]:,}" for name in ("listeners", "nights")]
        refused, smallest = f"{one['refused']:.1%}", f"{one['smallest_loss']:.1%}"
        noise = ", ".join(f"{name} {share:.3f}" for name, share in one["seed_noise"].items())
        table.add_row(noise, *counts, refused, *accepted, smallest)
    return table


if __name__ == "__main__":
    main()
