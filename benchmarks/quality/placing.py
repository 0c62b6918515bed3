"""Measures by which sound contents without plays are placed best, and from how many sounds on an encoder pays.

    python benchmarks/quality/placing.py --seeds 0 1 2 --vectors FILE.parquet
    python benchmarks/quality/placing.py --seeds 0 1 2 --vectors FILE.parquet --sounds 200 600

Trains `experiment=catalogue` once a seed, on one thread (a finished run is not trained again), and places contents on
that same network by one encoder after the other, each with the experiment's own placement. FILE has vectors that were
made elsewhere, as `audio_encoder.path` takes them.

With `--sounds N`, N contents keep their sound and vector for the fit, drawn with the seed among those that training has
seen with a sound; all others that training has seen are fitted by metadata alone, and those that it has not seen keep
their sound. The network that gave the places to be found was trained with all sounds.

A listener's figure is the mean over seeds; differences to the first row are paired over listeners, with 95 % intervals.
`--period validation` is for choosing. `warm` leaves cold contents out of the targets.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import process_time
from typing import Literal

from benchmarks import one_thread  # noqa: F401  # importing it sets the threads that numpy reads when it starts

# isort: split
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch  # after the number of threads is set
from jaxtyping import Bool
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from benchmarks.quality.cold_content import AUGMENTATION, KEYS, evaluated, mean_over_seeds
from towers import api
from towers.assembly.judging import judging_of
from towers.assembly.placing import fitted
from towers.assembly.prepared import prepared_store
from towers.assembly.training import Parts, build, training_plan
from towers.config.composing import compose
from towers.data.loaders import UserBatches
from towers.data.store import Store
from towers.data.training_batches import Share
from towers.evaluation.from_store import task_from_store
from towers.evaluation.intervals import differences_to_each
from towers.evaluation.ranking.vectors import VectorRanker
from towers.evaluation.result import Evaluation
from towers.training.checkpoints import load_weights, trained_checkpoint
from towers.training.embed import embed_contents, embed_users, refresh_audio
from towers.training.processes import Processes

NODE = "{add}audio_encoder@placement.audio_encoder"
ENCODERS: dict[str, tuple[str, ...]] = {
    "statistics": (f"{NODE}=statistics",),
    "metadata": (f"{NODE}=none",),
    "conv": (f"{NODE}=conv",),
    "mobile": (f"{NODE}=mobile",),
    "patch": (f"{NODE}=patch",),
    "augmented": (
        f"{NODE}=conv",
        *(f"placement.audio_encoder.augmentation.{key}={value}" for key, value in AUGMENTATION.items()),
    ),
    "frozen": (f"{NODE}=frozen", "placement.audio_encoder.path={vectors}"),
    "joined": (f"{NODE}=joined", "placement.audio_encoder.encoders.vectors.path={vectors}"),
}  # fmt: skip
VECTORS = ("frozen", "joined")
"""Variants that read FILE."""


class Trained:
    """A finished run, whose contents are placed again and again.

    Args:
        overrides: of its training.
        period: that it is judged on.
    """

    def __init__(self, overrides: list[str], period: Literal["validation", "test"]):
        self._overrides = overrides
        self._period: Literal["validation", "test"] = period
        self.folder = api.train(*overrides)
        self._judging = judging_of(compose("evaluate", overrides)).as_keywords()
        config = compose("train", overrides)
        self._prepared = prepared_store(config).open()
        plan = training_plan(config, self._prepared)
        parts = build(plan, Share())
        parts.learner.load_state_dict(load_weights(trained_checkpoint(self.folder)))
        if parts.sounds is not None:
            refresh_audio(parts.learner.two_tower, parts.learner.table, parts.sounds.records, Processes(Share()))
        self._parts: Parts = replace(parts, sounds=None)  # they stand in the table for every fit
        self._plan = plan

    def contents_kept(self, sounds: int | None, seed: int) -> Bool[np.ndarray, " contents"]:
        """Returns which contents keep their sound: the cold, and as many of the others as are asked for."""
        store = self._parts.store
        is_warm = store.train_positives > 0
        heard = np.random.default_rng(seed).permutation(np.flatnonzero(is_warm & (store.audio_rows >= 0)))
        kept = ~is_warm
        kept[heard[:sounds]] = True
        return kept

    def placed_by(self, keys: Sequence[str], kept: Bool[np.ndarray, " contents"]) -> tuple[Evaluation, float]:
        """Returns how well contents placed in this way are found, and core-seconds of the fit."""
        plan = training_plan(compose("train", [*self._overrides, *keys]), self._prepared)
        store = Store(self._prepared.folder)
        store.audio_rows = np.where(kept, store.audio_rows, -1)
        started = process_time()
        placed, _ = fitted(plan, self._parts, store, lambda *_: None)
        core_seconds = process_time() - started
        placed.eval()
        vectors = embed_contents(placed.two_tower, placed.table).float()
        task, histories = task_from_store(store, self._period), store.histories
        ends = histories.known_until(self._period)
        settings = plan.datamodule
        batches = UserBatches(store, ends, task.user_rows, settings.max_length, settings.max_tokens)
        users = embed_users(placed.two_tower, batches, vectors)
        ranker = VectorRanker(task, "placed", users, vectors.cpu().numpy())
        return evaluated("placed", task, ranker, self._judging), core_seconds

    def vectors_kept(self, path: Path, kept: Bool[np.ndarray, " contents"], target: Path) -> None:
        """Writes a file of vectors for these contents alone."""
        ids = pa.array(self._parts.store.content_ids[kept].tolist())
        table = pq.read_table(path)
        is_kept = pc.call_function("is_in", [table["content_id"].cast(pa.string())], pc.SetLookupOptions(value_set=ids))
        pq.write_table(table.filter(is_kept), target)


def label(encoder: str, sounds: int | None) -> str:
    """A row's name."""
    return encoder if sounds is None else f"{encoder}, {sounds:,} sounds"


def shown(rows: list[Evaluation], period: str) -> tuple[Table, dict[str, dict]]:
    """A table for people and figures for a file, differences to the first row."""
    first, *others = rows
    differences = differences_to_each(first, others, KEYS) if others else {}
    table = Table(f"{period} period", *KEYS)
    for row in rows:
        found = differences.get(row.ranker, {})
        cells = [
            f"{row.means()[key]:.4f}" + (f" ({found[key].low:+.4f} to {found[key].high:+.4f})" if found else "")
            for key in KEYS
        ]
        table.add_row(row.ranker, *cells)
    figures: dict[str, dict] = {row.ranker: {"means": {key: row.means()[key] for key in KEYS}} for row in rows}
    for name, found in differences.items():
        figures[name]["first_row_less_this"] = {key: asdict(difference) for key, difference in found.items()}
    return table, figures


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--experiment", default="catalogue")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--encoders", nargs="+", choices=ENCODERS, default=["statistics", "metadata", "conv"])
    parser.add_argument("--vectors", type=Path, help="file of vectors; adds those that read it to --encoders")
    parser.add_argument("--sounds", type=int, help="keep the sounds of so many contents that training has seen")
    parser.add_argument("--period", choices=["validation", "test"], default="test")
    parser.add_argument("--label", help="for the name of the file of results")
    add_smallest(parser, experiment="demo", seeds=[0], encoders=["statistics", "metadata"], sounds=20)
    arguments, keys = parser.parse_known_args()
    encoders = list(dict.fromkeys([*arguments.encoders, *(VECTORS if arguments.vectors else ())]))
    torch.set_num_threads(1)
    base = [f"experiment={arguments.experiment}", "logger=csv", *keys]
    api.prepare(*base)
    add = "" if compose("train", base).placement.audio_encoder else "+"  # Hydra tells those that are there apart
    found: dict[str, list[Evaluation]] = {}
    seconds: dict[str, list[float]] = {}
    runs = []
    for seed in arguments.seeds:
        trained = Trained([*base, f"seed={seed}"], arguments.period)
        runs.append(trained.folder.name)
        kept = trained.contents_kept(arguments.sounds, seed)
        with tempfile.TemporaryDirectory() as folder:
            vectors = Path(folder) / "vectors.parquet"
            if arguments.vectors:
                trained.vectors_kept(arguments.vectors, kept, vectors)
            for encoder in encoders:
                settings = [key.format(vectors=vectors, add=add) for key in ENCODERS[encoder]]
                evaluation, core_seconds = trained.placed_by(settings, kept)
                name = label(encoder, arguments.sounds)
                found.setdefault(name, []).append(replace(evaluation, ranker=name))
                seconds.setdefault(name, []).append(core_seconds)
    table, figures = shown([mean_over_seeds(seeds) for seeds in found.values()], arguments.period)
    for name, seeds in found.items():
        figures[name]["seeds"] = [{key: one.means()[key] for key in KEYS} for one in seeds]
        figures[name]["core_seconds"] = seconds[name]
    Console(width=220).print(table)
    write_result(
        arguments, "-".join(filter(None, ("placing", arguments.period, arguments.sounds and str(arguments.sounds),
                                          arguments.label))),
        {"overrides": keys, "seeds": arguments.seeds, "sounds": arguments.sounds, "figures": figures, "runs": runs},
    )  # fmt: skip


if __name__ == "__main__":
    main()
