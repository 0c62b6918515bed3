"""Do the defaults suit data of any size? Trains with them alone on small and larger data, beside what a count gives.

Four invented worlds (some ten thousand to some hundred thousand events) and the real sets in TOWERS_SHARED_DATA.
For each the model's recall@20 on all targets and on first listens (discovery), in validation or the test, beside the
best of item-kNN, EASE and iALS, with the 95 % interval of the paired difference on discovery, popularity, and the
listener's own most played.

    python benchmarks/quality/default_settings.py --sets tiny small large --period validation [-- KEY=VALUE ...]
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from towers.commands import evaluate, prepare, train
from towers.config.composing import compose
from towers.config.instantiate import instantiate
from towers.config.overrides import quotation
from towers.manifest import read_json

WORLDS: dict[str, dict[str, Any]] = {
    "least": {"num_tracks": 40, "num_episodes": 5, "num_listeners": 40, "num_days": 30, "evaluation_days": 5},
    "tiny": {
        "num_tracks": 200,
        "num_episodes": 40,
        "num_listeners": 150,
        "num_days": 30,
        "evaluation_days": 5,
        "events_per_listener": 70.0,
    },
    "small": {"num_tracks": 300, "num_episodes": 40, "num_listeners": 400, "num_days": 30, "evaluation_days": 5},
    "demo": {},
    "large": {"num_tracks": 900, "num_episodes": 100, "num_listeners": 3000, "events_per_listener": 100.0},
}
"""Differences from configs/world/demo.yaml."""
REAL = {
    "catalogue": ("data=catalogue",),
    "thirtymusic": ("data=thirtymusic", "features=names_only", "audio_encoder=none"),
    "lastfm1k": ("data=lastfm1k", "features=names_only", "audio_encoder=none"),
}
"""Overrides that say where the data is and what it holds, and nothing of the training."""
RIVALS = ("item-kNN", "EASE", "iALS")
SHOWN = (*RIVALS, "popularity", "own most-played")


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--sets", nargs="+", default=["tiny", "small", "demo"], choices=[*WORLDS, *REAL])
    parser.add_argument("--period", default="validation", choices=["validation", "test"])
    parser.add_argument("--work", type=Path, default=Path("worlds/defaults"), help="folder for worlds, stores and runs")
    parser.add_argument("overrides", nargs="*", help="configuration of the training, key=value")
    add_smallest(parser, sets=["least"])
    arguments = parser.parse_args()
    few = ["evaluation.min_users=1", "trainer.max_epochs=1", "audio_encoder=none"] if arguments.smallest else []
    rows = []
    for name in arguments.sets:
        rows.append(one_set(name, arguments.period, arguments.work, [*few, *arguments.overrides]))
        print(json.dumps(rows[-1]), flush=True)
    Console(width=150).print(as_table(rows))
    write_result(arguments, "default_settings", {"overrides": arguments.overrides, "period": arguments.period,
                                                 "sets": rows})  # fmt: skip


def one_set(name: str, period: str, work: Path, overrides: list[str]) -> dict[str, Any]:
    """Prepares a set, trains on it with the defaults and evaluates."""
    paths = [f"paths.{kind}={quotation(str(work / kind))}" for kind in ("stores", "runs", "evaluations")]
    common = [*data_of(name, work), *paths, f"name={name}", "logger=csv", "trainer.progress=false"]
    prepare.run(compose("prepare", common))
    started = time.perf_counter(), time.process_time()
    run = train.run(compose("train", [*common, *overrides]))
    seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    judged = [each for each in overrides if each.startswith("evaluation.")]
    chosen = [f"checkpoint={quotation(str(run))}", f"evaluation.period={period}"]
    folder = evaluate.run(compose("evaluate", [*common, *chosen, *judged]))
    rankers = read_json(folder / "metrics.json")["rankers"]
    found = {ranker: rankers[ranker]["means"] for ranker in ("towers", *SHOWN) if ranker in rankers}
    discovery = {ranker: means.get("recall@20/discovery", 0.0) for ranker, means in found.items()}
    rival = max((ranker for ranker in RIVALS if ranker in found), key=lambda ranker: discovery[ranker])
    return {
        "set": name,
        "run": str(run),
        "steps": read_json(run / "finished.json")["steps"],
        "all": {ranker: means.get("recall@20") for ranker, means in found.items()},
        "discovery": discovery,
        "familiar": {ranker: means.get("recall@20/familiar") for ranker, means in found.items()},
        "rival": rival,
        "ahead": ahead(folder, rival),
        "seconds": seconds,
    }


def data_of(name: str, work: Path) -> tuple[str, ...]:
    """Overrides that name the set, which is made where it is invented."""
    if name in REAL:
        return REAL[name]
    root = work / "worlds" / name
    sizes = [f"world.{key}={value}" for key, value in WORLDS[name].items()]
    if not root.exists():
        instantiate(compose("demo", sizes).world, "world").write(root)
    return "data=parquet", f"data.name={name}", f"data.root={quotation(str(root))}"


def ahead(folder: Path, rival: str) -> tuple[float, float, float]:
    """Returns by how much the model is ahead of `rival` on discovery: mean over listeners, and the 95 % interval."""
    table = pq.read_table(folder / "listeners.parquet", columns=["ranker", "slice", "user_row", "recall@20"])
    rows = [row for row in table.to_pylist() if row["slice"] == "discovery" and row["ranker"] in ("towers", rival)]
    figures = {(row["ranker"], row["user_row"]): row["recall@20"] for row in rows}
    users = [user for ranker, user in figures if ranker == "towers"]
    differences = np.array([figures["towers", user] - figures[rival, user] for user in users])
    error = 1.96 * differences.std() / np.sqrt(max(len(differences), 1))
    mean = float(differences.mean())
    return mean, float(mean - error), float(mean + error)


def as_table(rows: list[dict[str, Any]]) -> Table:
    """A row a set."""
    table = Table("set", "discovery", "best rival", "ahead (95 %)", "popularity", "all", "own most played",
                  "popularity", "seconds", "core-s")  # fmt: skip

    def spelled(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    for row in rows:
        everything, discovery, rival = row["all"], row["discovery"], row["rival"]
        mean, low, high = row["ahead"]
        table.add_row(
            row["set"], spelled(discovery["towers"]), f"{spelled(discovery[rival])} {rival}",
            f"{mean:+.3f} ({low:+.3f} to {high:+.3f})", spelled(discovery.get("popularity")),
            spelled(everything["towers"]), spelled(everything.get("own most-played")),
            spelled(everything.get("popularity")), *(f"{value:.0f}" for value in row["seconds"]),
        )  # fmt: skip
    return table


if __name__ == "__main__":
    os.environ.setdefault("TOWERS_SHARED_DATA", "../shared/data")
    main()
