"""Does the demo's result hold in worlds that were never looked at, and vanish where there is nothing to learn?

For every seed: the demo as it is, then the same world with the contents of all events drawn anew at random, so that
neither what is learned from nor what is to be found follows from anything.
In the first the model should find what listeners discover well above popularity and place cold contents well above
chance; in the second it should score like chance.

    python benchmarks/quality/demo_worlds.py --seeds 101 102 103
"""

import json
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from towers.assembly.evaluation import evaluation_plan
from towers.commands import evaluate, prepare, train
from towers.config.composing import compose, seen_by
from towers.config.instantiate import instantiate
from towers.manifest import read_json

DISCOVERY, COLD, COLD_NDCG = "recall@20/discovery", "recall@20/cold_among_cold", "ndcg@20/cold_among_cold"


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103], help="of the worlds")
    parser.add_argument("--work", type=Path, default=Path("worlds/benchmark"), help="folder for worlds and runs")
    parser.add_argument("overrides", nargs="*", help="configuration, key=value")
    add_smallest(parser, seeds=[101])
    arguments = parser.parse_args()
    rows = []
    for seed in arguments.seeds:
        for is_shuffled in (False, True):
            rows.append(one_world(seed, is_shuffled, arguments.work, arguments.overrides))
            print(json.dumps(rows[-1]))
    Console(width=150).print(as_table(rows))
    write_result(arguments, "demo_worlds", {"overrides": arguments.overrides, "worlds": rows})


def one_world(seed: int, is_shuffled: bool, work: Path, overrides: list[str]) -> dict:
    """Test figures of the model beside popularity and chance in one world."""
    name = f"{seed}-shuffled" if is_shuffled else str(seed)
    folder = work / name
    paths = [f"paths.{kind}={folder / kind}" for kind in ("stores", "runs", "worlds")]
    config = compose("demo", [f"world.seed={seed}", "trainer.progress=false", *paths, *overrides])
    started = time.perf_counter()
    world = instantiate(config.world, "world")
    root = Path(config.data.root)
    world.write(root)
    if is_shuffled:
        shuffle_events(root, world.t1)
    prepare.prepare(seen_by("prepare", config))
    run = train.run(seen_by("train", config))
    evaluated = evaluate.evaluate(evaluation_plan(seen_by("evaluate", config)), run)
    figures = read_json(evaluated / "metrics.json")["rankers"]
    means = {ranker: figures[ranker]["means"] for ranker in ("towers", "popularity", "random")}
    return {
        "world": name,
        **{f"{ranker} {key}": means[ranker][key] for ranker in means for key in (DISCOVERY, COLD, COLD_NDCG)},
        "seconds": time.perf_counter() - started,
    }


def shuffle_events(root: Path, t1: datetime) -> None:
    """Gives every event that has a content one drawn uniformly: before t1 from those heard before t1, so that cold
    contents stay cold, and from all that were ever heard later."""
    path = root / "events" / "part-0.parquet"
    table = pq.read_table(path)
    ids = np.array(table["content_id"].to_pylist(), dtype=object)
    is_before = np.array([at < t1 for at in table["timestamp"].to_pylist()])
    has_content = np.array([content_id is not None for content_id in ids])
    generator = np.random.default_rng(0)
    drawn = ids.copy()
    for is_drawn, pool in (
        (is_before & has_content, set(ids[is_before & has_content])),
        (~is_before & has_content, set(ids[has_content])),
    ):
        drawn[is_drawn] = generator.choice(np.array(sorted(pool), dtype=object), int(is_drawn.sum()))
    column = table.column_names.index("content_id")
    pq.write_table(table.set_column(column, "content_id", pa.array(drawn.tolist(), pa.string())), path)


def as_table(rows: list[dict]) -> Table:
    """Figures, and the ratios that matter."""
    table = Table()
    names = ("world", "discovery r@20", "popularity", "random", "ratio to popularity", "ratio to random",
             "cold among cold r@20", "random", "ratio to random", "seconds")  # fmt: skip
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        own, popular, chance = (row[f"{ranker} {DISCOVERY}"] for ranker in ("towers", "popularity", "random"))
        cold, cold_chance = row[f"towers {COLD}"], row[f"random {COLD}"]
        figures = (own, popular, chance, own / popular, own / chance, cold, cold_chance, cold / cold_chance)
        table.add_row(row["world"], *(f"{figure:.3f}" for figure in figures), f"{row['seconds']:.0f}")
    return table


if __name__ == "__main__":
    main()
