"""Runs the same trainings by Towers, as training_speed.py has them run: the Trainer, batches and network of `towers
train`.

    python towers_training.py speed --loss softmax --length 200 experiment=ml1m
    python towers_training.py quality experiment=ml1m

`speed` trains in windows (windows.py) on every listener's last events, 128 listeners a step as the peer has them; its
last lines are the floating-point operations of a sequence and its peak of memory. `quality` is `towers train` as the
overrides have it, judged on the test after every epoch, until it reaches `--enough`.

bucketed: listeners of a step have histories of like length, sorted among 16 batches' worth as `towers train` does it.
mixed: as they come, as the peer has them.
"""

import argparse
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from operations import operation_counter, operations
from windows import Windows, core_seconds, peak_memory_gb, tell

from benchmarks.measuring import command_line
from towers.assembly.judging import judging_of
from towers.assembly.prepared import prepared_store
from towers.assembly.training import Parts, build, training_plan
from towers.config.composing import compose
from towers.data.batches import BatchPlan, PlanSampler, last_windows
from towers.data.loaders import UserBatches
from towers.data.store import Store
from towers.data.training_batches import Share
from towers.evaluation.from_store import task_from_store
from towers.training.stopping import StopRequest
from towers.training.trainer import Trainer, fit
from towers.training.validation import Validation

BATCH_SIZE = 128
BUCKET_BATCHES = PlanSampler.BUCKET_BATCHES
OBJECTIVES = {
    "softmax": ("objective=exact_softmax",),
    "sampled_softmax": ("objective=sampled_softmax_uniform", "objective.candidates.num_negatives={negatives}"),
    "in_batch": ("objective=sampled_softmax", "objective.candidates.num_uniform=0"),
}
BLOCKS = {
    "sasrec": ("user_tower.block.expansion=1", "user_tower.block.activation=relu"),
    "flat": ("user_tower.block.expansion=4", "user_tower.block.activation=gelu"),
    "two_towers": ("user_tower.block.expansion=1", "user_tower.block.activation=relu"),
}
"""Layers as wide as the peers': those of SASRec, and those of RecTools' `FlatSASRecNet`; two towers have no blocks."""
ALIKE = ("user_tower=sasrec", "user_tower.num_layers=2", "user_tower.num_heads=1", "user_tower.dim=64",
         "content_tower.dim=64")  # fmt: skip
METRICS = ("ndcg@10", "recall@10")  # with one target the latter is HR@10


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("what", choices=("speed", "quality"))
    parser.add_argument("--model", choices=tuple(BLOCKS), default="sasrec", help="the peer whose widths to take")
    parser.add_argument("--loss", choices=tuple(OBJECTIVES), default="softmax")
    parser.add_argument("--negatives", type=int, default=256, help="of a step, for sampled_softmax")
    parser.add_argument("--length", type=int, default=200)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--batches", choices=("bucketed", "mixed"), default="bucketed")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, help="listeners of a step")
    parser.add_argument("--bucket-batches", type=int, default=BUCKET_BATCHES, help="steps whose listeners are sorted")
    parser.add_argument("--enough", type=float, default=1.0, help="NDCG@10 at which `quality` ends")
    arguments, overrides = parser.parse_known_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.what == "speed":
            train_in_windows(arguments, overrides, Path(folder))
        else:
            train_until(arguments.enough, overrides, Path(folder))
    tell({"peak_memory_gb": peak_memory_gb(), "torch": torch.__version__})


def train_in_windows(arguments: argparse.Namespace, overrides: list[str], folder: Path) -> None:
    objective = (override.format(negatives=arguments.negatives) for override in OBJECTIVES[arguments.loss])
    settings, parts = parts_of(
        *overrides, *ALIKE, *BLOCKS[arguments.model], *objective, "objective.mask_heard=false",
        f"user_tower.dropout={arguments.dropout}", f"user_tower.positions.max_length={arguments.length}",
        f"datamodule.max_length={arguments.length}", "trainer.callbacks=[]",
    )  # fmt: skip
    batch_size, bucket = arguments.batch_size, arguments.bucket_batches
    plans = LastEvents(parts.store, arguments.length, arguments.batches == "bucketed", batch_size, bucket)
    # The data module gives the batches of any plans; those of `towers train` have as many tokens, not listeners.
    parts.data.loaders._sampler = Planned(plans)
    train(settings, parts, folder / "windows", InWindows())
    counted = bucket // 2  # all lengths are in half of them
    parts.data.loaders._sampler = Planned(list(islice(plans, counted + 1)))  # one more, as a batch is built ahead
    with operation_counter() as counter:
        train(settings, parts, folder / "counted", Steps(counted))
    tell({"operations_per_sequence": operations(counter) / (counted * batch_size)})


def parts_of(*overrides: str) -> tuple[Trainer, Parts]:
    """Returns the Trainer's arguments of `towers train`, without what writes files."""
    config = compose("train", [*overrides, "logger=csv", "trainer.progress=false", "trainer.accelerator=cpu",
                               "trainer.checkpoint_every_s=1e9"])  # fmt: skip
    plan = training_plan(config, prepared_store(config).open())
    pl.seed_everything(plan.seed, verbose=False)
    return plan.trainer, build(plan, Share())


def train(settings: Trainer, parts: Parts, folder: Path, callback: pl.Callback) -> None:
    """Trains by the Trainer of `towers train`, from where the module stands, with one more callback."""
    stop = StopRequest()
    trainer = settings.lightning(folder, "benchmark", stop, (), is_judged=False)
    trainer.callbacks.append(callback)
    fit(trainer, parts.module, parts.data, stop)


class LastEvents:
    """Plans over every listener's last `length` training events, 128 listeners a step, for ever.

    Args:
        store: the prepared store.
        length: in events.
        is_bucketed: whether listeners of a step have histories of like length.
        batch_size: listeners of a step.
        bucket_batches: steps whose listeners are sorted.
    """

    def __init__(self, store: Store, length: int, is_bucketed: bool, batch_size: int, bucket_batches: int):
        histories = store.histories
        users = np.flatnonzero(histories.train_end > histories.offsets[:-1])
        self._windows = last_windows(histories.offsets[:-1], np.asarray(histories.train_end), length, users)
        self._is_bucketed = is_bucketed
        self._size = bucket_batches * batch_size
        self._bucket_batches = bucket_batches

    def __iter__(self) -> Iterator[BatchPlan]:
        generator = np.random.default_rng(0)
        lengths = self._windows.end - self._windows.start
        size = self._size
        number = 0
        while True:
            order = generator.permutation(len(lengths))
            for first in range(0, len(order) - size + 1, size):  # the rest comes in another pass
                bucket = order[first : first + size]
                if self._is_bucketed:
                    bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
                batches = np.split(bucket, self._bucket_batches)
                # So that each half of them has as many events.
                for batch in batches[::4] + batches[3::4] + batches[1::4] + batches[2::4]:
                    # It never is the last of an epoch, so training neither judges nor saves.
                    windows = self._windows.take(batch)
                    yield BatchPlan(windows=windows, seed=(0, number), epoch=0, number=0, batches=2)
                    number += 1


class Planned(PlanSampler):
    """Plans that are there already, wherever training goes on.

    Args:
        plans: to go through.
    """

    def __init__(self, plans: Iterable[BatchPlan]):
        self._plans = plans

    def going(self, *_: Any) -> "Planned":
        """All of them."""
        return self

    def __iter__(self) -> Iterator[BatchPlan]:
        return iter(self._plans)


class Steps(pl.Callback):
    """Ends a training after so many steps.

    Args:
        steps: to take.
    """

    def __init__(self, steps: int):
        self._left = steps

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Counts."""
        self._left -= 1
        trainer.should_stop = self._left == 0


class InWindows(pl.Callback):
    """Waits at the edge of a window, and ends the training where nothing more is asked for."""

    def __init__(self) -> None:
        self._windows = Windows()

    def on_train_start(self, *_: Any) -> None:
        """Waits for the first one."""
        self._windows.goes_on()

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, number: int) -> None:
        """Counts the step that is behind; making the next one's batch counts, as it does for the peer."""
        self._windows.count(sum(len(part.histories.action) for part in batch.micro_batches), len(batch.target_rows))
        trainer.should_stop = not self._windows.goes_on()


def train_until(enough: float, overrides: list[str], folder: Path) -> None:
    settings, parts = parts_of(*ALIKE, *overrides, "trainer.validate_every_epochs=1")
    config = compose("train", overrides)
    task = task_from_store(parts.store, "test")
    length, tokens = config.datamodule.max_length, config.datamodule.max_tokens
    histories = UserBatches(parts.store, parts.store.histories.known_until("test"), task.user_rows, length, tokens)
    parts.data.loaders.validation = lambda: histories  # of the test's listeners, not of validation's
    parts.module._validation = Validation(len(task.user_rows), judging_of(config).judge(task), None)
    train(settings, parts, folder, Told(enough))


class Told(pl.Callback):
    """Tells the metrics and the core-seconds of training, those of validations left out.

    Args:
        enough: NDCG@10 at which training ends.
    """

    def __init__(self, enough: float):
        self._enough = enough
        self._started = self._judging = self._since = 0.0

    def on_train_start(self, *_: Any) -> None:
        """Training begins now."""
        self._started = core_seconds()

    def on_validation_start(self, *_: Any) -> None:
        """A validation begins."""
        self._since = core_seconds()

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Tells."""
        self._judging += core_seconds() - self._since
        progress = module.progress
        shown = {name: progress.metrics[f"validation/{name}"] for name in METRICS}
        tell({"epoch": progress.epoch, "core_seconds": core_seconds() - self._started - self._judging, **shown})
        trainer.should_stop = shown[METRICS[0]] >= self._enough


if __name__ == "__main__":
    main()
