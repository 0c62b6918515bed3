"""torch-rechub's training on ML-1M, as training_speed.py has it run: in .venv-peers-rechub, which has no `towers`.

    python rechub_training.py ml-1m.txt.xz --model sasrec --loss sampled_softmax --length 200
    python rechub_training.py ml-1m.txt.xz --model two_towers --loss in_batch --length 50

By its `MatchTrainer`. Trains in windows (windows.py); the last line is its peak of memory. Its `TorchDataset` is asked
for whole steps at once, which is faster than example by example as its own generator has it; no workers, as the core is
one.

sasrec: `SASRec`, whose only loss for every position is BPR's: a softmax with one negative a target. Padding counts.
The trainer of 0.9 refuses the scores that its SASRec gives (a row a listener), so they are handed over flat.
two_towers: `DSSM`. Listeners are the mean of what they heard, then two layers; contents are an id, then two layers; a
step's other targets compete (`in_batch_neg`). An example is a history and the one content that came next.
"""

import argparse
import contextlib
import lzma
import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models.matching import DSSM, SASRec
from torch_rechub.trainers import MatchTrainer
from torch_rechub.utils.data import TorchDataset
from windows import Windows, peak_memory_gb, tell

BATCH_SIZE, DIM, BLOCKS, HEADS = 128, 64, 2, 1
LEARNING_RATE, BETAS = 0.001, (0.9, 0.98)
HELD_OUT = 2
LAYERS = [2 * DIM, DIM]
PAIRS, LISTS = 1, 2
"""Modes of its trainer."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the file of pairs, packed")
    parser.add_argument("--model", choices=("sasrec", "two_towers"), default="sasrec")
    parser.add_argument("--loss", choices=("sampled_softmax", "in_batch"), help="that of the model: has no effect")
    parser.add_argument("--length", type=int, default=200)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    histories, num_contents = read_histories(arguments.data)
    prepare = sasrec if arguments.model == "sasrec" else two_towers
    model, settings, columns, targets = prepare(histories, num_contents, arguments)
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere:
        trainer = MatchTrainer(
            model, **settings, optimizer_params={"lr": LEARNING_RATE, "betas": BETAS}, n_epoch=1, model_path=folder
        )
        batches = Paced(TorchDataset(columns, targets), arguments.seed)
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):  # its epochs and its bar
            trainer.fit(batches)
    tell({"peak_memory_gb": peak_memory_gb(), "torch": torch.__version__, "python": platform.python_version()})


def read_histories(path: str) -> tuple[list[np.ndarray], int]:
    """Every listener's contents in the order of the file, counted from 1, without the last two; and how many."""
    with lzma.open(path, "rt") as lines:
        pairs = np.loadtxt(lines, dtype=np.int64)
    known, contents = np.unique(pairs[:, 1], return_inverse=True)
    order = np.argsort(pairs[:, 0], kind="stable")
    ends = np.flatnonzero(np.diff(pairs[order, 0])) + 1
    heard = (1 + part[:-HELD_OUT] for part in np.split(contents[order], ends))
    return [part for part in heard if len(part) > 1], len(known)


def padded(histories: list[np.ndarray], length: int) -> np.ndarray:
    """The last `length` of each, followed by zeros."""
    rows = np.zeros((len(histories), length), dtype=np.int64)
    for row, heard in zip(rows, histories, strict=True):
        row[: len(heard[-length:])] = heard[-length:]
    return rows


def sasrec(histories: list[np.ndarray], num_contents: int, arguments: argparse.Namespace) -> tuple:
    """Model, settings of the trainer, columns of a listener each, and targets of each."""
    length, vocabulary = arguments.length, num_contents + 1
    features = [
        SequenceFeature(name, vocabulary, DIM, pooling="concat", shared_with=None if name == "seq" else "seq",
                        padding_idx=0)
        for name in ("seq", "pos", "neg")
    ]  # fmt: skip
    model = FlatScores(features, length, arguments.dropout, BLOCKS, HEADS)
    columns = {
        "seq": padded([heard[:-1] for heard in histories], length),
        "pos": padded([heard[1:] for heard in histories], length),
    }
    drawn = np.random.default_rng(arguments.seed).integers(1, vocabulary, columns["pos"].shape)
    columns["neg"] = np.where(columns["pos"] > 0, drawn, 0)
    return model, {"mode": PAIRS}, columns, (columns["pos"] > 0).sum(axis=1)


class FlatScores(SASRec):
    """Returns its scores as its trainer takes them."""

    def forward(self, x: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns scores of what came next and of what was drawn, for every position."""
        positive, negative = super().forward(x)
        return positive.flatten(), negative.flatten()


def two_towers(histories: list[np.ndarray], num_contents: int, arguments: argparse.Namespace) -> tuple:
    """The same for DSSM; of every listener the last content is the one that came next."""
    vocabulary = num_contents + 1
    content = SparseFeature("content", vocabulary, DIM, padding_idx=0)
    history = SequenceFeature("history", vocabulary, DIM, pooling="mean", shared_with="content", padding_idx=0)
    layers = {"dims": LAYERS, "activation": "relu", "dropout": arguments.dropout}
    model = DSSM([history], [content], dict(layers), dict(layers))
    columns = {
        "history": padded([heard[:-1] for heard in histories], arguments.length),
        "content": np.array([heard[-1] for heard in histories]),
    }
    return model, {"mode": LISTS, "in_batch_neg": True}, columns, np.ones(len(histories), dtype=np.int64)


class Paced:
    """Steps of shuffled examples for ever, held at the edges of windows.

    Args:
        examples: of which a step takes some; the label of each is how many targets it has.
        seed: of the order.
    """

    def __init__(self, examples: TorchDataset, seed: int):
        order = RandomSampler(examples, generator=torch.Generator().manual_seed(seed))
        steps = BatchSampler(order, BATCH_SIZE, drop_last=False)
        self._loader = DataLoader(examples, sampler=steps, batch_size=None)
        self._windows = Windows()

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        while True:
            batches = iter(self._loader)
            while True:
                if not self._windows.goes_on():
                    return
                batch = next(batches, None)
                if batch is None:
                    break
                self._windows.count(len(batch[1]), int(batch[1].sum()))
                yield batch


if __name__ == "__main__":
    main()
