"""Measures what sound is worth to contents without plays: the same towers with and without it, over some seeds.

    python benchmarks/quality/cold_content.py --seeds 0 1 2
    python benchmarks/quality/cold_content.py --seeds 0 1 2 --vectors FILE.parquet --rows vectors joined

Trains every row of the table on `experiment=catalogue`, on one thread (finished runs are not trained again), and ranks
the whole catalogue for the listeners of the test period. A listener's figure is the mean over seeds; differences to
the first row are paired over listeners, with 95 % intervals. Beside the towers stand baselines that train no tower.
`warm` leaves cold contents out of the targets. FILE has vectors that were made elsewhere, as `audio_encoder.path` takes
them. `benchmarks/quality/placing.py` compares what contents are placed by on one trained network.
"""

from dataclasses import asdict, replace
from pathlib import Path

from benchmarks import one_thread  # noqa: F401  # importing it sets the threads that numpy reads when it starts

# isort: split
import numpy as np
import torch  # after the number of threads is set
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from towers import api
from towers.assembly.baselines import baselines_of
from towers.assembly.judging import judging_of
from towers.assembly.run import load_run
from towers.config.composing import compose
from towers.config.instantiate import instantiate
from towers.data.store import Store
from towers.evaluation.from_store import task_from_store
from towers.evaluation.harness import evaluate
from towers.evaluation.intervals import differences_to_each
from towers.evaluation.known import Known
from towers.evaluation.ranking.rankers import DenseRanker, Ranker
from towers.evaluation.ranking.vectors import VectorRanker
from towers.evaluation.result import Evaluation, SliceResult
from towers.evaluation.task import EvaluationTask
from towers.manifest import read_json

NO_NAMES = ("features.content_parts=[]", "data.name=catalogue_sound", "name=catalogue_sound")
IDS = ("features=ids_only", "data.name=catalogue_ids", "name=catalogue_ids", "audio_encoder=none", "placement=none")
ROWS: dict[str, tuple[str, ...]] = {
    "sound and metadata": (),
    "statistics of the sound and metadata": ("audio_encoder=statistics",),
    "metadata": ("audio_encoder=none", "placement.audio_encoder=null"),
    "sound": NO_NAMES,
    "ids": IDS,
}
AUGMENTATION = {"gain_db": 6, "time_masks": 1, "time_mask_frames": 50, "frequency_masks": 1, "frequency_mask_bands": 8}
MORE_ROWS: dict[str, tuple[str, ...]] = {
    "mobile": ("audio_encoder=mobile",),
    "patch": ("audio_encoder=patch",),
    "augmented": tuple(f"audio_encoder.augmentation.{key}={value}" for key, value in AUGMENTATION.items()),
    "vectors": ("audio_encoder=frozen", "audio_encoder.path={vectors}"),
    "joined": (
        "audio_encoder=joined",
        "audio_encoder@audio_encoder.encoders.sound=conv",
        "audio_encoder.encoders.vectors.path={vectors}",
        "audio_encoder@placement.audio_encoder=joined",
        "placement.audio_encoder.encoders.vectors.path={vectors}",
    ),
}
"""Variants that run only if they are asked for; the last two read FILE."""
BASELINES = ("artist_mean", "audio_statistics")
KEYS = ("ndcg@20/cold_among_cold", "recall@20/cold_content", "recall@20/discovery", "recall@20", "ndcg@20/warm")


def evaluated(name: str, task: EvaluationTask, ranker: Ranker, settings: dict) -> Evaluation:
    """Returns slices: `warm` beside the harness's own."""
    found = evaluate(task, ranker, **settings)
    warm = replace(task, targets=task.targets.where(~task.is_cold[task.targets.values]))
    slices = {**found.slices, "warm": evaluate(warm, ranker, **settings).slices["all"]}
    return replace(found, ranker=name, slices=slices, catalogue={})


def mean_over_seeds(evaluations: list[Evaluation]) -> Evaluation:
    """Every listener's mean."""
    first = evaluations[0]
    slices = {
        name: SliceResult(
            positions=result.positions,
            values={
                metric: np.mean([one.slices[name].values[metric] for one in evaluations], axis=0)
                for metric in result.values
            },
        )
        for name, result in first.slices.items()
    }
    return replace(first, slices=slices)


def of_seed(name: str, base: list[str], seed: int) -> tuple[Evaluation, dict, Store]:
    """Trains a row with a seed, unless that is done; how it was judged, and what the run says of itself."""
    overrides = [*base, f"seed={seed}"]
    folder = api.train(*overrides)
    run = load_run(folder, Path(compose("evaluate", overrides).paths.stores))
    task = task_from_store(run.store, "test")
    contents = run.content_vectors()
    ranker = VectorRanker(task, name, run.user_vectors(task.user_rows, contents, "test"), contents)
    evaluation = evaluated(name, task, ranker, judging_of(compose("evaluate", overrides)).as_keywords())
    finished = read_json(folder / "finished.json")
    placed = finished["placement"].get("core_seconds", 0)
    facts = {"seed": seed, "signature": folder.name, "core_seconds": finished["core_seconds"] + placed}
    return evaluation, {**facts, "test": {key: evaluation.means()[key] for key in KEYS}}, run.store


def baselines(store: Store, overrides: list[str]) -> list[Evaluation]:
    """Returns baselines as `towers evaluate` tunes and fits them."""
    config = compose("evaluate", overrides)
    known, validation = Known(store, "test"), Known(store, "validation")
    tuning = instantiate(config.evaluation.tuning, "evaluation.tuning")
    found = []
    for name, build in baselines_of(config.evaluation.baselines, tuning).items():
        if name in BASELINES:
            settings = judging_of(config).as_keywords()
            chosen_by = {"filter_seen": settings["filter_seen"], "min_users": settings["min_users"]}
            scorer, _ = tuning.fit(name, build, known, validation, **chosen_by)
            found.append(evaluated(name.replace("_", " "), known.task, DenseRanker(known.task, scorer), settings))
    return found


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--experiment", default="catalogue")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", choices={**ROWS, **MORE_ROWS}, default=list(ROWS), help="beside the first")
    parser.add_argument("--vectors", help="file of vectors, for the rows vectors and joined")
    add_smallest(parser, experiment="demo", seeds=[0], rows=["metadata"])
    arguments, keys = parser.parse_known_args()
    experiment = f"experiment={arguments.experiment}"
    torch.set_num_threads(1)
    rows, runs, store = [], {}, None
    settings = {**ROWS, **MORE_ROWS}
    chosen = [name for place, name in enumerate(settings) if place == 0 or name in arguments.rows]
    for name in chosen:
        base = [experiment, "logger=csv", *(key.format(vectors=arguments.vectors) for key in settings[name]), *keys]
        api.prepare(*base)
        seeds = [of_seed(name, base, seed) for seed in arguments.seeds]
        rows.append(mean_over_seeds([evaluation for evaluation, *_ in seeds]))
        runs[name] = [facts for _, facts, _ in seeds]
        store = store or seeds[0][2]
    assert store is not None
    rows += baselines(store, [experiment, *keys])
    first, *others = rows
    differences = differences_to_each(first, others, KEYS)
    table = Table("test period", *KEYS)
    table.add_row(first.ranker, *(f"{first.means()[key]:.4f}" for key in KEYS))
    for row in others:
        cells = (
            f"{row.means()[key]:.4f} ({difference.low:+.4f} to {difference.high:+.4f})"
            for key, difference in differences[row.ranker].items()
        )
        table.add_row(row.ranker, *cells)
    Console(width=200).print(table)
    figures: dict[str, dict] = {row.ranker: {"means": {key: row.means()[key] for key in KEYS}} for row in rows}
    for name, found in differences.items():
        figures[name]["first_row_less_this"] = {key: asdict(difference) for key, difference in found.items()}
    label = "" if chosen == list(ROWS) else "-" + "-".join(name.replace(" ", "_") for name in chosen[1:])
    write_result(arguments, f"cold_content{label}", {"overrides": keys, "figures": figures, "runs": runs})


if __name__ == "__main__":
    main()
