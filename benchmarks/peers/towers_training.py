"""The same trainings by Towers, as training_speed.py has them run: the loop, batches and network of `towers train`.

    python towers_training.py speed --loss softmax --length 200 experiment=ml1m
    python towers_training.py quality experiment=ml1m

`speed` trains in windows (windows.py) on every listener's last events, 128 listeners a step as the peer has them; its
last lines are the floating-point operations of a sequence and its peak of memory. `quality` is `towers train` as the
overrides have it, judged on the test after every epoch, until it reaches `--enough`.

bucketed: listeners of a step have histories of like length, sorted among 16 batches' worth as `towers train` does it.
mixed: as they come, as the peer has them.
"""

import argparse
import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from operations import operation_counter, operations
from windows import Windows, core_seconds, peak_memory_gb, tell

from towers.assembly import open_store
from towers.commands.train import build, judge_of
from towers.config import compose, instantiate
from towers.data.batches import BatchPlan, PlanSampler, last_windows
from towers.data.datamodule import DataModule, UserBatches
from towers.data.store import Store
from towers.evaluation.from_store import task_from_store
from towers.training.loop import Loop
from towers.training.ranks import Ranks
from towers.training.step import Learner
from towers.training.validation import Judge, Validation

BATCH_SIZE = 128
BUCKET_BATCHES = PlanSampler.BUCKET_BATCHES
OBJECTIVES = {
    "softmax": ("objective=exact_softmax",),
    "sampled_softmax": ("objective=sampled_softmax_uniform", "objective.candidates.num_negatives={negatives}"),
}
BLOCKS = {
    "sasrec": ("user_tower.block.expansion=1", "user_tower.block.activation=relu"),
    "flat": ("user_tower.block.expansion=4", "user_tower.block.activation=gelu"),
}
"""As wide as `SASRecModel`'s, and as `FlatSASRecNet`'s."""
ALIKE = ("user_tower=sasrec", "user_tower.num_layers=2", "user_tower.num_heads=1", "user_tower.dim=64",
         "content_tower.dim=64")  # fmt: skip
METRICS = ("ndcg@10", "recall@10")  # with one target the latter is HR@10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "quality"))
    parser.add_argument("--model", choices=tuple(BLOCKS), default="sasrec", help="the peer whose widths to take")
    parser.add_argument("--loss", choices=tuple(OBJECTIVES), default="softmax")
    parser.add_argument("--negatives", type=int, default=256, help="of a step, for sampled_softmax")
    parser.add_argument("--length", type=int, default=200)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--batches", choices=("bucketed", "mixed"), default="bucketed")
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
    loop, store = loop_of(
        folder, *overrides, *ALIKE, *BLOCKS[arguments.model], *objective, "objective.mask_heard=false",
        f"user_tower.dropout={arguments.dropout}", f"user_tower.positions.max_length={arguments.length}",
        f"datamodule.max_length={arguments.length}",
    )  # fmt: skip
    plans = LastEvents(store, arguments.length, arguments.batches == "bucketed")
    # The data module gives the batches of whatever plans; those of `towers train` have as many tokens, not listeners.
    data = loop._batches.__self__  # type: ignore[attr-defined]
    assert isinstance(data, DataModule)
    data._sampler = InWindows(plans)
    loop.run()
    data._sampler = InOrder(list(islice(plans, BUCKET_BATCHES)))
    with operation_counter() as counter:
        loop.run()
    tell({"operations_per_sequence": operations(counter) / (BUCKET_BATCHES * BATCH_SIZE)})


def loop_of(folder: Path, *overrides: str) -> tuple[Loop, Store]:
    """As `towers train` builds it, but for what it would write on the way."""
    config = compose("train", [*overrides, "logger=csv", "trainer.progress=false", "trainer.accelerator=cpu",
                               "trainer.checkpoint_every_s=1e9"])  # fmt: skip
    trainer = instantiate(config.trainer, "trainer")
    store = open_store(config)
    torch.manual_seed(config.seed)
    return build(config, store, folder, trainer, trainer.launch()), store


class LastEvents:
    """Plans over every listener's last `length` training events, 128 listeners a step, for ever.

    Args:
        store: the prepared store.
        length: in events.
        is_bucketed: whether listeners of a step have histories of like length.
    """

    def __init__(self, store: Store, length: int, is_bucketed: bool):
        histories = store.histories
        users = np.flatnonzero(histories.train_end > histories.offsets[:-1])
        self._windows = last_windows(histories.offsets[:-1], np.asarray(histories.train_end), length, users)
        self._is_bucketed = is_bucketed

    def __iter__(self) -> Iterator[BatchPlan]:
        generator = np.random.default_rng(0)
        lengths = self._windows.end - self._windows.start
        size = BUCKET_BATCHES * BATCH_SIZE
        number = 0
        while True:
            order = generator.permutation(len(lengths))
            for first in range(0, len(order) - size + 1, size):  # the rest comes in another pass
                bucket = order[first : first + size]
                if self._is_bucketed:
                    bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
                batches = np.split(bucket, BUCKET_BATCHES)
                # So that each half of them has as many events.
                for batch in batches[::4] + batches[3::4] + batches[1::4] + batches[2::4]:
                    # It never is the last of an epoch, so the loop neither judges nor saves.
                    windows = self._windows.take(batch)
                    yield BatchPlan(windows=windows, seed=(0, number), epoch=0, number=0, batches=2)
                    number += 1


class InOrder(PlanSampler):
    """Plans that are there already.

    Args:
        plans: to go through.
    """

    def __init__(self, plans: Iterable[BatchPlan]):
        self._plans = plans

    def starting_at(self, epoch: int, number: int) -> "InOrder":
        """All of them."""
        return self

    def __iter__(self) -> Iterator[BatchPlan]:
        return iter(self._plans)


class InWindows(InOrder):
    """The same, waiting at the edge of a window; making a step's batch counts, as it does for the peer."""

    def __iter__(self) -> Iterator[BatchPlan]:
        windows, plans = Windows(), iter(self._plans)
        while windows.goes_on():
            plan = next(plans)
            windows.count(len(plan.windows))
            yield plan


def train_until(enough: float, overrides: list[str], folder: Path) -> None:
    loop, store = loop_of(folder, *ALIKE, *overrides, "trainer.validate_every_epochs=1")
    config = compose("train", overrides)
    task = task_from_store(store, "test")
    settings = config.datamodule
    histories = UserBatches(store, store.histories.test_start, task.user_rows, settings.max_length, settings.max_tokens)
    told = Told(histories, judge_of(task, config), enough)
    loop._validation = told
    loop._watch = told
    told.start()
    with contextlib.suppress(Enough):
        loop.run()


class Enough(Exception):
    """The quality that was asked for."""


class Told(Validation):
    """Judges the test, tells the metrics and the core-seconds of training, its own left out.

    Args:
        histories: of the test's listeners.
        judge: turns vectors into metrics.
        enough: NDCG@10 at which training ends.
    """

    def __init__(self, histories: UserBatches, judge: Judge, enough: float):
        super().__init__(histories, judge, None)
        self._enough = enough
        self._started = self._judging = 0.0

    def start(self) -> None:
        """Training begins now."""
        self._started = core_seconds()

    def metrics(self, learner: Learner, ranks: Ranks) -> dict[str, float]:
        """As a validation's."""
        before = core_seconds()
        found = super().metrics(learner, ranks)
        self._judging += core_seconds() - before
        return found

    def stepped(self, step: int, epoch: float, loss: float) -> None:
        """Nothing."""

    def validated(self, epoch: int, metrics: dict[str, float], loss: float) -> None:
        """Tells; raises `Enough`."""
        shown = {name: metrics[f"validation/{name}"] for name in METRICS}
        tell({"epoch": epoch, "core_seconds": core_seconds() - self._started - self._judging, **shown})
        if shown[METRICS[0]] >= self._enough:
            raise Enough


if __name__ == "__main__":
    main()
