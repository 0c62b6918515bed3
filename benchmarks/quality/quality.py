"""Measures what a trained model reaches on the test period, over some seeds.

    python benchmarks/quality/quality.py ml1m --seeds 0 1 2
    python benchmarks/quality/quality.py catalogue --seeds 0 1 2
    python benchmarks/quality/quality.py catalogue --label refit train_until=test trainer.validate_every_epochs=16

Prepares, trains (on one thread; finished runs are not trained again) and ranks the whole catalogue for the listeners of
the test period, as `towers evaluate` does, without baselines. Prints and writes each seed's figures and their mean, the
curve on validation by which the checkpoint was chosen, and core-seconds of training.
"""

import csv
from pathlib import Path
from statistics import mean, stdev

from benchmarks import one_thread  # noqa: F401  # importing it sets the threads that numpy reads when it starts

# isort: split
import torch  # after the number of threads is set
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, without_paths, write_result
from towers import api
from towers.assembly.choosing import FinishedRun
from towers.assembly.judging import judging_of
from towers.assembly.run import load_run
from towers.config.composing import compose
from towers.evaluation.from_store import task_from_store
from towers.evaluation.harness import evaluate
from towers.evaluation.ranking.vectors import VectorRanker
from towers.manifest import read_json

SHOWN = (
    "ndcg@10", "hit_rate@10", "recall@20", "recall@20/familiar", "recall@20/discovery", "recall@20/cold_content",
    "ndcg@20/cold_among_cold",
)  # fmt: skip


def test_figures(folder: Path, overrides: list[str]) -> dict[str, float]:
    """Means on the test period of a run's best checkpoint."""
    config = compose("evaluate", overrides)
    run = load_run(folder, Path(config.paths.stores))
    task = task_from_store(run.store, "test")
    contents = run.content_vectors()
    users = run.user_vectors(task.user_rows, contents, "test")
    return evaluate(task, VectorRanker(task, "towers", users, contents), **judging_of(config).as_keywords()).means()


def curve(folder: Path, monitor: str) -> list[dict[str, float]]:
    """Validations: epoch, step, core-seconds and the monitored metric."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get(monitor)]
    return [{name: float(row[name]) for name in ("epoch", "step", "core_seconds", monitor)} for row in rows]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("experiment")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--label", help="of what the overrides are, for the name of the file of results")
    add_smallest(parser)
    arguments, keys = parser.parse_known_args()
    torch.set_num_threads(1)
    base = [f"experiment={arguments.experiment}", "logger=csv", *keys]
    api.prepare(*base)
    seeds = []
    for seed in arguments.seeds:
        overrides = [*base, f"seed={seed}"]
        folder = api.train(*overrides)
        finished = read_json(folder / "finished.json")
        run = FinishedRun.of(folder)
        monitor = (run and run.monitor) or "nothing is watched"
        seeds.append(
            {
                "seed": seed,
                "signature": folder.name,
                "core_seconds": finished["core_seconds"],
                "epochs": finished["epochs"],
                "best_epoch": finished["best_epoch"],
                "monitor": monitor,
                "validation": finished["best"],
                "curve": curve(folder, monitor),
                "test": test_figures(folder, overrides),
            }
        )
    names = [name for name in SHOWN if name in seeds[0]["test"]]
    table = Table("seed", "core-seconds", seeds[0]["monitor"], *(f"test {name}" for name in names))
    for one in seeds:
        chosen_by = "-" if one["validation"] is None else f"{one['validation']:.4f}"  # a refit has nothing to choose by
        figures = [f"{one['test'][name]:.4f}" for name in names]
        table.add_row(str(one["seed"]), f"{one['core_seconds']:.0f}", chosen_by, *figures)
    means = {name: mean(one["test"][name] for one in seeds) for name in names}
    spread = {name: stdev(one["test"][name] for one in seeds) if len(seeds) > 1 else None for name in names}
    table.add_row(
        "mean", f"{mean(one['core_seconds'] for one in seeds):.0f}", "", *(f"{m:.4f}" for m in means.values())
    )
    Console(width=160).print(table)
    name = "-".join(filter(None, (arguments.experiment, arguments.label)))
    write_result(
        arguments, f"quality-{name}",
        {"experiment": arguments.experiment, "overrides": without_paths(keys), "mean": means,
         "standard_deviation": spread, "seeds": seeds},
    )  # fmt: skip


if __name__ == "__main__":
    main()
