"""Measures what tuning and evaluating the baselines costs beside one training, in core-seconds, and whether it
chooses as well.

    python benchmarks/evaluation/evaluation_cost.py --work FOLDER  # makes the data, prepares, trains, evaluates
    python benchmarks/evaluation/evaluation_cost.py --work FOLDER --only evaluate   # on the run that is there
    python benchmarks/evaluation/evaluation_cost.py --work FOLDER --only tune  # no run is needed; nothing is evaluated
    python benchmarks/evaluation/evaluation_cost.py --work FOLDER --only tune --full

An invented catalogue of 70,000 contents and 630,000 events (`names_world.py`), leave-one-out, of which only names are
known; everything else is the default. `--full` tunes once more as it was done at first: every setting, fitted by itself
and judged on every listener. That takes the lists of the same rankers as the default; what it cost with the scores of
the whole catalogue of every listener is told beside it, from the time of `DenseRanker` on some of them.
"""

import argparse
import inspect
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from rich.console import Console
from rich.table import Table

from benchmarks.data.names_world import NamesWorld
from benchmarks.measuring import add_smallest, command_line, write_result
from towers.assembly.baselines import baselines_of
from towers.commands import evaluate, prepare, train
from towers.config.composing import compose
from towers.config.instantiate import instantiate
from towers.config.overrides import quotation
from towers.data.store import Store
from towers.errors import DataLacks, UserError
from towers.evaluation.baselines.shared import Shared
from towers.evaluation.choice import Choice
from towers.evaluation.known import Known
from towers.evaluation.ranking.rankers import DenseRanker
from towers.evaluation.tuning import Build, Tuning
from towers.manifest import read_json

DATA = ("data=parquet", "data/split=leave_one_out", "features=names_only", "audio_encoder=none")
MEASURED = 512
"""Listeners whose dense scores are timed."""


class Alone(Known):
    """Facts on which every trial is fitted by itself."""

    def for_trials(self, positions: Int[np.ndarray, " some"], trials: Any) -> Known:
        """Returns facts with which a trial shares nothing with others."""
        some = super().for_trials(positions, ())
        some.shared = Nothing()
        return some


class Nothing(Shared):
    """A memory that keeps nothing."""

    def once(self, key: Any, make: Any, *, for_others: bool = False) -> Any:
        """Makes again what is asked for."""
        return make()


def main() -> None:
    """Prints the table, and writes the result."""
    parser = command_line(__doc__)
    parser.add_argument("--work", type=Path, default=Path("worlds/evaluation_cost"), help="folder of all that is made")
    parser.add_argument("--contents", type=int, default=70_000)
    parser.add_argument("--listeners", type=int, default=45_000)
    parser.add_argument("--events", type=int, default=630_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("evaluate", "tune"), help="null: all of it")
    parser.add_argument("--full", action="store_true", help="the exhaustive tuning, too")
    parser.add_argument("overrides", nargs="*", help="configuration of training and evaluation, key=value")
    add_smallest(parser, contents=100, listeners=60, events=900, only="tune", full=True)
    arguments = parser.parse_args()
    world = NamesWorld(
        contents=arguments.contents, listeners=arguments.listeners, events=arguments.events, seed=arguments.seed
    )
    data = made(world, arguments.work)
    prepare.run(compose("prepare", data))
    few = ["evaluation.min_users=1"] if arguments.smallest else []
    common = [*data, *few, *(each for each in arguments.overrides if each.startswith("evaluation."))]
    training = whole = None
    if arguments.only == "tune":
        found = {name: choice.as_dict() for name, choice in chosen(common, is_alone=False).items()}
    else:
        run = trained([*data, *few, *arguments.overrides], arguments)
        training = read_json(run / "finished.json")["core_seconds"]
        found, whole = evaluated(run, common, arguments.work)
    content: dict[str, Any] = {"world": str(world), "training": training, "evaluation": whole, "baselines": found}
    if arguments.full:
        exhaustive = chosen(common, is_alone=True)
        content["exhaustive"] = {name: choice.as_dict() for name, choice in exhaustive.items()}
        content["dense"] = dense_seconds(common)
    show(content)
    write_result(arguments, "evaluation_cost", content)


def made(world: NamesWorld, work: Path) -> list[str]:
    """The data, unless it is there; what names it."""
    root = work / "raw"
    if not root.exists():
        world.write(root)
    paths = [f"paths.{kind}={quotation(str(work / kind))}" for kind in ("stores", "runs", "evaluations")]
    return [*DATA, f"data.root={quotation(str(root))}", "data.name=names", "name=names", *paths]


def trained(common: list[str], arguments: argparse.Namespace) -> Path:
    """The run, trained unless it is there.

    Raises:
        UserError: only the evaluation is wanted, and no run is there.
    """
    if arguments.only is None:
        return train.run(compose("train", [*common, "logger=csv", "trainer.progress=false"]))
    runs = sorted((arguments.work / "runs" / "names").glob("*/finished.json"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise UserError(f"{arguments.work}/runs: no finished training; leave out --only evaluate")
    return runs[-1].parent


def evaluated(run: Path, common: list[str], work: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Returns what tuning tried and cost by baseline, and the cost of the whole evaluation; nothing kept is used."""
    shutil.rmtree(work / "evaluations", ignore_errors=True)
    shutil.rmtree(run / "evaluation-test", ignore_errors=True)
    began = time.process_time()
    folder = evaluate.run(compose("evaluate", [*common, f"checkpoint={quotation(str(run))}"]))
    return read_json(folder / "metrics.json")["metadata"]["tuning"], {"whole evaluation": time.process_time() - began}


def parts(common: list[str]) -> tuple[Tuning, dict[str, Build], dict[str, Any], Path]:
    """The tuning, what makes baselines, how they are judged, and the store."""
    config = compose("evaluate", common)
    tuning = instantiate(config.evaluation.tuning, "evaluation.tuning")
    judged = {"filter_seen": config.evaluation.filter_seen, "min_users": config.evaluation.min_users}
    return tuning, baselines_of(config.evaluation.baselines, tuning), judged, Path(config.paths.stores) / "names"


def chosen(common: list[str], *, is_alone: bool) -> dict[str, Choice]:
    """Tunes every baseline that has a grid; `is_alone`: as it was done at first."""
    tuning, builds, judged, folder = parts(common)
    if is_alone:
        tuning = replace(tuning, max_seconds=None, max_listeners=None)
    known = (Alone if is_alone else Known)(Store.open(folder), "validation")
    names = [name for name in builds if tuning.settings_of(name)]
    budget, choices = tuning.budget(), {}
    for done, name in enumerate(names):
        try:
            choice = tuning.choose(name, builds[name], known, **judged, max_seconds=budget.share(len(names) - done))
        except DataLacks as error:
            print(f"left out: {error}")
            continue
        budget.spend(choice.core_seconds.tuning)
        ranker = inspect.unwrap(builds[name](choice.settings)).func.name  # by which the evaluation calls it
        choices[ranker] = choice
        print(f"{ranker}: {choice.core_seconds.tuning:.1f} core-seconds, {dict(choice.settings)}", flush=True)
    return choices


def dense_seconds(common: list[str]) -> float:
    """Core-seconds of a ranking of all listeners by scores of the whole catalogue, from some of them."""
    _, builds, _, folder = parts(common)
    known = Known(Store.open(folder), "validation")
    ranker = DenseRanker(known.task, known.give(builds["ials"]({})))
    positions = np.arange(min(MEASURED, len(known.task.user_rows)))
    began = time.process_time()
    for start in range(0, len(positions), ranker.block_size):
        ranker.rank(positions[start : start + ranker.block_size], 20)
    return (time.process_time() - began) * len(known.task.user_rows) / len(positions)


def show(content: Mapping[str, Any]) -> None:
    """Prints the table."""
    found, exhaustive = content["baselines"], content.get("exhaustive", {})
    table = Table(title="core-seconds of the baselines")
    for column in (
        "baseline",
        "tuning",
        "fit",
        "ranking",
        "trials",
        "chosen",
        *(["exhaustive", "chose"] if exhaustive else []),
    ):
        table.add_column(column, justify="left" if column in ("baseline", "chosen", "chose") else "right")
    for name, choice in found.items():
        tried = f"{len(choice['trials'])} of {len(choice['trials']) + len(choice['left_out'])}"
        row = [
            name,
            *(f"{seconds:.1f}" for seconds in choice["core_seconds"].values()),
            tried,
            text(choice["settings"]),
        ]
        if name in exhaustive:
            row += [f"{exhaustive[name]['core_seconds']['tuning']:.1f}", text(exhaustive[name]["settings"])]
        table.add_row(*row)
    Console(width=150).print(table)
    sums = {part: sum(each["core_seconds"][part] for each in found.values()) for part in ("tuning", "fit", "ranking")}
    print(", ".join(f"{part} {seconds:.0f}" for part, seconds in sums.items()), "core-seconds")
    if content["training"]:
        shares = {"tuning": sums["tuning"], "all of the baselines": sum(sums.values())} | content["evaluation"]
        told = ", ".join(f"{part} {seconds / content['training']:.1%}" for part, seconds in shares.items())
        print(f"training {content['training']:.0f} core-seconds, of which are {told}")
    if exhaustive:
        same = sum(other["settings"] == found[name]["settings"] for name, other in exhaustive.items())
        trials = sum(len(other["trials"]) for other in exhaustive.values())
        print(f"the same settings of {same} of {len(exhaustive)} as of the exhaustive tuning, which took "
              f"{sum(other['core_seconds']['tuning'] for other in exhaustive.values()):.0f}; by dense scores its "
              f"{trials} rankings alone would have taken {trials * content['dense']:.0f}")  # fmt: skip


def text(settings: Mapping[str, Any]) -> str:
    """Returns the settings as the text of a cell."""
    return ", ".join(f"{name} {value}" for name, value in settings.items())


if __name__ == "__main__":
    main()
