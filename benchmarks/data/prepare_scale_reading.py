"""Measures how fast a prepared store is opened and read, and what a training step takes of what is read.

    python benchmarks/data/prepare_scale_reading.py stores/parquet  # further arguments are overrides of `towers train`

- `open_ms`: `Store.open` and its contents, users and histories mapped into memory, in a process that has done nothing
  before; `ids_ms` is what Python's own strings of all ids cost on top, for callers that ask for them.
- `read_per_core_s`: events of a shuffled epoch that `HistoryReader` makes batches of, in a core-second.
- `batches_per_core_s`: the same with all that a training step gets: windows, targets, what they compete with.
- `trained_per_core_s`: events that steps of the default network and objective take in a core-second, on one thread.
"""

import argparse
import json
import resource
import sys
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.apart import output_of
from benchmarks.measuring import add_smallest, command_line, timed
from towers.data.store import Store

if TYPE_CHECKING:
    from towers.assembly.training import TrainingPlan


def main() -> None:
    """Prints the figures as one line of JSON."""
    parser = command_line(__doc__)
    parser.add_argument("store", type=Path, help="folder with the versions of a store")
    parser.add_argument("--opens", type=int, default=7, help="times that it is opened, each in a process of its own")
    parser.add_argument("--open", action="store_true", help="open it once, in this process, and nothing else")
    parser.add_argument("--batches", type=int, help="of the shuffled epoch; all where it is left out")
    parser.add_argument(
        "--steps", type=int, default=10, help="of training that are timed, after three that are not; 0: none"
    )
    add_smallest(parser, opens=1, batches=2, steps=1)
    arguments, overrides = parser.parse_known_args()
    if arguments.open:
        print(json.dumps(opened(arguments.store)))
        return
    print(json.dumps({**openings(arguments.store, arguments.opens), **read(arguments, overrides)}))


def openings(store: Path, times: int) -> dict[str, float]:
    """Returns medians over several processes."""
    found = [json.loads(output_of([__file__, store, "--open"])) for _ in range(times)]
    return {name: median(each[name] for each in found) for name in found[0]}


def opened(root: Path) -> dict[str, float]:
    """Opens a store once, and returns the wall time in milliseconds."""
    assert "torch" not in sys.modules
    start = time.perf_counter()
    store = Store.open(root)
    _ = store.contents, store.users, store.histories
    mapped = time.perf_counter()
    _ = store.content_ids, store.user_ids
    return {"open_ms": (mapped - start) * 1e3, "ids_ms": (time.perf_counter() - mapped) * 1e3}


def read(arguments: argparse.Namespace, overrides: list[str]) -> dict[str, Any]:
    """Reads an epoch twice, as histories alone and as training batches, and takes some training steps."""
    import torch  # here, as opening a store does without

    from towers.assembly.training import training_plan
    from towers.config.composing import compose
    from towers.data.batches import PlanSampler
    from towers.data.history_reader import HistoryReader
    from towers.data.loaders import Loaders
    from towers.data.training_batches import Needs, Share

    torch.set_num_threads(1)
    config = compose("train", [*overrides, "logger=csv", "trainer.progress=false", "trainer.accelerator=cpu"])
    plan = training_plan(config, Store.open(arguments.store))
    store, settings, histories = plan.store, plan.datamodule, plan.store.histories
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt

    def histories_alone() -> int:
        lengths = settings.max_length, settings.max_tokens
        sampler = PlanSampler(histories.offsets[:-1], histories.train_end, *lengths, plan.seed)
        reader, events = HistoryReader(store), 0
        for drawn in sampler.going(1, 0, 0, arguments.batches):
            windows = drawn.windows
            places = reader.places(windows.start, windows.end)
            reader.batch(places, windows.user_rows, reader.content_rows(places))
            events += int((windows.end - windows.start).sum())
        return events

    events, read_s = timed(histories_alone)
    candidates = plan.candidates(train_positives=store.train_positives)
    objective = plan.objective(candidates=candidates)
    needs = Needs(num_rejections=objective.num_rejections, has_times=objective.mask_unavailable, sounds=None)
    loaders = Loaders(settings, store, candidates, needs, np.zeros(0, np.int64), plan.seed, Share())
    loader = loaders.training(1, max_batches=arguments.batches)
    batches, batches_s = timed(lambda: sum(1 for _ in loader))
    figures = {
        "events_of_the_epoch": events,
        "batches": batches,
        "max_tokens": settings.max_tokens,
        "read_per_core_s": events / read_s,
        "batches_per_core_s": events / batches_s,
        "major_faults": resource.getrusage(resource.RUSAGE_SELF).ru_majflt - faults,
    }
    if not arguments.steps:
        return figures
    trained = trained_per_core_s(plan, arguments.steps)
    return {**figures, "trained_per_core_s": trained, "read_per_trained": figures["batches_per_core_s"] / trained}


def trained_per_core_s(plan: "TrainingPlan", steps: int) -> float:
    """Measures the events that training steps take in a core-second, after three steps that are not timed."""
    import torch

    from benchmarks.training.throughput import seconds, step
    from towers.assembly.training import build
    from towers.data.training_batches import Share

    parts = build(plan, Share())
    module = parts.module.train()
    optimizer = module.configure_optimizers()
    drawn = list(islice(parts.data.loaders.training(-1), 3 + steps))
    for batch in drawn[:3]:
        step(module, optimizer, batch)
    taken = seconds(torch.device("cpu"), lambda: [step(module, optimizer, batch) for batch in drawn[3:]])
    return sum(int(micro.histories.lengths.sum()) for batch in drawn[3:] for micro in batch.micro_batches) / taken


if __name__ == "__main__":
    main()
