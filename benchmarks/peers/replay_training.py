"""RePlay's training on ML-1M, as training_speed.py has it run: in .venv-peers-replay, which has no `towers`.

    python replay_training.py ml-1m.txt.xz --model sasrec --loss softmax --length 200 --way plain

Its newer `SasRec` by Lightning's Trainer, without logger, bar, checkpoints and validation; data come from a file of
Parquet by `ParquetModule`, with the threads of its documentation. Trains in windows (windows.py); the last line is its
peak of memory.

plain: as `SasRec.from_params` makes it.
bucketed: within a step, listeners of like length go through the blocks together (`LengthBucketedQueryEncoder`), 16 at a
time, the fastest of 8, 16, 32 and 64 here; padding that a whole step has is cut off.
chunked: bucketed, and the exact softmax by `GroupedCESampled` with all contents as every group's pool, a group being 8
listeners, the fastest of 2, 4, 8, 16, 32 and 128 here. Its `CE` makes logits for padding too, and all at once. Groups
weigh alike, whereas targets do in `CE`; no recipe of RePlay's has it so.
"""

import argparse
import lzma
import platform
import tempfile
import warnings
from pathlib import Path

import lightning
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from replay.data import FeatureHint, FeatureType
from replay.data.nn import ParquetModule, TensorFeatureInfo, TensorSchema
from replay.nn.agg import SumAggregator
from replay.nn.embedding import SequenceEmbedding
from replay.nn.lightning import LightningModule
from replay.nn.lightning.optimizer import OptimizerFactory
from replay.nn.loss import CE, CESampled, GroupedCESampled
from replay.nn.mask import DefaultAttentionMask
from replay.nn.sequential import (
    LengthBucketedQueryEncoder,
    PositionAwareAggregator,
    SasRec,
    SasRecBody,
    SasRecTransformerLayer,
)
from replay.nn.transform import (
    GroupTransform,
    NextTokenTransform,
    RenameTransform,
    TargetAwareAdaptiveTrimTransform,
    UniformNegativeSamplingTransform,
    UnsqueezeTransform,
)
from windows import Windows, peak_memory_gb, tell

BATCH_SIZE, DIM, BLOCKS, HEADS = 128, 64, 2, 1
LEARNING_RATE, BETAS = 0.001, (0.9, 0.98)
HELD_OUT = 2
ITEM = "item_id"
WIDTHS = {"sasrec": (DIM, "relu"), "flat": (4 * DIM, "gelu")}
"""Options of the feed-forward layers, as RecTools' `SASRecModel` and its `FlatSASRecNet` have them, with their
activation."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the file of pairs, packed")
    parser.add_argument("--model", choices=tuple(WIDTHS), default="sasrec")
    parser.add_argument("--loss", choices=("softmax", "sampled_softmax"), default="softmax")
    parser.add_argument("--way", choices=("plain", "bucketed", "chunked"), default="plain")
    parser.add_argument("--bucket", type=int, default=16, help="listeners of like length, unless plain")
    parser.add_argument("--group", type=int, default=8, help="listeners of a chunk of the loss, where chunked")
    parser.add_argument("--negatives", type=int, default=256, help="of a step, for sampled_softmax")
    parser.add_argument("--length", type=int, default=200)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    torch.manual_seed(arguments.seed)
    # Advice of several libraries on workers, partitions and splits; nothing of ours runs in this process.
    warnings.filterwarnings("ignore")
    histories, num_contents = read_histories(arguments.data)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.parquet"
        pq.write_table(pa.table({ITEM: histories}), path)
        train(path, num_contents, arguments)
    tell({"peak_memory_gb": peak_memory_gb(), "torch": torch.__version__, "python": platform.python_version()})


def read_histories(path: str) -> tuple[pa.ListArray, int]:
    """Every listener's contents in the order of the file, counted from 0, without the last two; and how many."""
    with lzma.open(path, "rt") as lines:
        pairs = np.loadtxt(lines, dtype=np.int64)
    _, contents = np.unique(pairs[:, 1], return_inverse=True)
    order = np.argsort(pairs[:, 0], kind="stable")
    ends = np.flatnonzero(np.diff(pairs[order, 0])) + 1
    kept = [heard[:-HELD_OUT] for heard in np.split(contents[order], ends) if len(heard) > HELD_OUT]
    # Contents that only the end of a history has are not in training, as with the others.
    known, rows = np.unique(np.concatenate(kept), return_inverse=True)
    offsets = np.cumsum([0, *map(len, kept)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows)), len(known)


def train(path: Path, num_contents: int, arguments: argparse.Namespace) -> None:
    feature = TensorFeatureInfo(
        ITEM, FeatureType.CATEGORICAL, is_seq=True, feature_hint=FeatureHint.ITEM_ID, cardinality=num_contents,
        padding_value=num_contents, embedding_dim=DIM,
    )  # fmt: skip
    module = LightningModule(
        network(TensorSchema(feature), num_contents, arguments),
        optimizer_factory=OptimizerFactory(learning_rate=LEARNING_RATE, betas=BETAS),
    )
    # One event more than the model takes, as the last is a target alone.
    shape = {ITEM: {"shape": arguments.length + 1, "padding": num_contents}}
    data = ParquetModule(
        BATCH_SIZE, {"train": shape}, {"train": transforms(num_contents, arguments)}, train_path=str(path)
    )
    trainer = lightning.Trainer(
        max_epochs=1_000_000, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0, callbacks=[Paced()],
    )  # fmt: skip
    trainer.fit(module, datamodule=data)


def network(schema: TensorSchema, num_contents: int, arguments: argparse.Namespace) -> SasRec:
    """Builds the model as `SasRec.from_params` does, but for what the way and the loss change."""
    width, activation = WIDTHS[arguments.model]
    encoder: torch.nn.Module = SasRecTransformerLayer(
        embedding_dim=DIM, num_heads=HEADS, num_blocks=BLOCKS, dropout=arguments.dropout, activation=activation,
        hidden_dim=width,
    )  # fmt: skip
    if arguments.way != "plain":
        encoder = LengthBucketedQueryEncoder(encoder, bucket_size=arguments.bucket)
    body = SasRecBody(
        embedder=SequenceEmbedding(schema=schema),
        embedding_aggregator=PositionAwareAggregator(
            SumAggregator(embedding_dim=DIM), max_sequence_length=arguments.length, dropout=arguments.dropout
        ),
        attn_mask_builder=DefaultAttentionMask(ITEM, num_heads=HEADS),
        encoder=encoder,
        output_normalization=torch.nn.LayerNorm(DIM),
    )
    if arguments.loss == "sampled_softmax":
        return SasRec(body, CESampled(ignore_index=num_contents))
    if arguments.way == "chunked":
        return SasRec(body, GroupedCESampled(arguments.group, cardinality=num_contents))
    return SasRec(body, CE(ignore_index=num_contents))


def transforms(num_contents: int, arguments: argparse.Namespace) -> list[torch.nn.Module]:
    """Returns the transforms of `make_default_sasrec_transforms`, and what trims and draws negatives."""
    steps: list[torch.nn.Module] = [
        NextTokenTransform(label_name=ITEM, shift=1),
        RenameTransform({f"{ITEM}_mask": "padding_mask", "positive_labels_mask": "target_padding_mask"}),
    ]
    if arguments.way != "plain":
        steps.append(TargetAwareAdaptiveTrimTransform([ITEM, "positive_labels"]))
    steps += [UnsqueezeTransform("target_padding_mask", -1), UnsqueezeTransform("positive_labels", -1)]
    if arguments.loss == "sampled_softmax":
        steps.append(UniformNegativeSamplingTransform(num_contents, arguments.negatives))
    elif arguments.way == "chunked":
        steps.append(AllContents(num_contents, arguments.group))
    return [*steps, GroupTransform({"feature_tensors": [ITEM]})]


class AllContents(torch.nn.Module):
    """Gives every group all contents as its pool of negatives.

    Args:
        num_contents: of the catalogue.
        group: listeners of a group.
    """

    def __init__(self, num_contents: int, group: int):
        super().__init__()
        self._pool = torch.arange(num_contents)
        self._group = group

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Adds them to a batch."""
        groups = -(-len(batch["padding_mask"]) // self._group)
        return {**batch, "negative_labels": self._pool.expand(groups, -1)}


class Paced(lightning.Callback):
    """Holds a training at the edges of windows, and ends it."""

    def __init__(self) -> None:
        self._windows = Windows()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: dict, batch_idx: int
    ) -> int:
        """-1 leaves out the rest of the epoch."""
        if not self._windows.goes_on():
            trainer.should_stop = True
            trainer.fit_loop.min_epochs = 0
            return -1
        self._windows.count(len(batch["padding_mask"]))
        return 0


if __name__ == "__main__":
    main()
