"""RecTools' training on ML-1M, as training_speed.py has it run: in .venv-peers-torch, which has no `towers`.

    python rectools_training.py speed ml-1m.txt.xz --model sasrec --loss softmax --length 200
    python rectools_training.py quality ml-1m.txt.xz

`speed` trains in windows (windows.py); its last line is its peak of memory. `quality` trains `SASRecModel` for some
epochs and writes NDCG@10 and HR@10 (full ranking, what the listener chose filtered) and the core-seconds of training
after each.

sasrec: `SASRecModel`, through its `fit` and Lightning, without logger, bar and checkpoints. flat: `FlatSASRecNet` of
`rectools.fast_transformers` in a bare loop over tensors, which is the fastest way through RecTools.
"""

import argparse
import lzma
import platform
import warnings

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.fast_transformers import FlatSASRecNet, build_sequences
from rectools.models import SASRecModel
from torch.nn.functional import cross_entropy
from windows import Windows, core_seconds, peak_memory_gb, tell

BATCH_SIZE, DIM, BLOCKS, HEADS = 128, 64, 2, 1
LEARNING_RATE, BETAS = 0.001, (0.9, 0.98)
HELD_OUT = 2
K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "quality"))
    parser.add_argument("data", help="the file of pairs, packed")
    parser.add_argument("--model", choices=("sasrec", "flat"), default="sasrec")
    parser.add_argument("--loss", choices=("softmax", "sampled_softmax"), default="softmax")
    parser.add_argument("--negatives", type=int, default=256, help="of each target, for sampled_softmax")
    parser.add_argument("--length", type=int, default=200)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    np.random.seed(arguments.seed)  # noqa: NPY002  # RecTools draws its negatives from it
    # Advice on workers and devices, from Lightning; the benchmark gives both sides one core.
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    events = read_events(arguments.data)
    if arguments.what == "quality":
        train_sasrec(events, arguments, Judged(events, arguments.length), arguments.epochs)
    elif arguments.model == "sasrec":
        train_sasrec(events, arguments, Paced(), 1_000_000)
    else:
        train_flat(events, arguments)
    tell({"peak_memory_gb": peak_memory_gb(), "torch": torch.__version__, "python": platform.python_version()})


def read_events(path: str) -> pd.DataFrame:
    """Reads events in the order of the file; `from_end` counts a listener's events from the last, which is 0."""
    with lzma.open(path, "rt") as lines:
        events = pd.read_csv(lines, sep=" ", names=[Columns.User, Columns.Item])
    events[Columns.Weight] = 1
    events[Columns.Datetime] = pd.to_datetime(np.arange(len(events)), unit="s")
    events["from_end"] = events.groupby(Columns.User).cumcount(ascending=False)
    return events


def training_events(events: pd.DataFrame) -> pd.DataFrame:
    """All but a listener's last, which is for the test, and the one before, which is for validation."""
    return events.query("from_end >= @HELD_OUT").drop(columns="from_end")


class Paced(Callback):
    """Holds a training at the edges of windows, and ends it."""

    def __init__(self) -> None:
        self._windows = Windows()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: dict, batch_idx: int) -> int:
        """-1 leaves out the rest of the epoch."""
        if not self._windows.goes_on():
            trainer.should_stop = True
            trainer.fit_loop.min_epochs = 0
            return -1
        self._windows.count(len(batch["x"]))
        return 0


class Judged(Callback):
    """Tells metrics and core-seconds after every epoch; its own are not counted."""

    def __init__(self, events: pd.DataFrame, length: int):
        self._events, self._length = events, length
        self._trained, self._since = 0.0, 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training begins now."""
        self._since = core_seconds()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tells."""
        self._trained += core_seconds() - self._since
        rows = judged(pl_module, self._events, self._length)
        tell({"epoch": trainer.current_epoch + 1, "core_seconds": self._trained, **rows})
        self._since = core_seconds()


def train_sasrec(events: pd.DataFrame, arguments: argparse.Namespace, callback: Callback, epochs: int) -> None:
    def trainer() -> Trainer:
        return Trainer(
            max_epochs=epochs, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[callback],
        )  # fmt: skip

    model = SASRecModel(
        n_blocks=BLOCKS, n_heads=HEADS, n_factors=DIM, dropout_rate=arguments.dropout, session_max_len=arguments.length,
        loss=arguments.loss, n_negatives=arguments.negatives, lr=LEARNING_RATE, batch_size=BATCH_SIZE,
        get_trainer_func=trainer,
    )  # fmt: skip
    model.fit(Dataset.construct(training_events(events)))


@torch.no_grad()
def judged(module: LightningModule, events: pd.DataFrame, length: int) -> dict[str, float]:
    """NDCG@10 and HR@10 for every listener's last event, after all others, among all contents of training."""
    module.eval()
    network, id_map = module.torch_model, module.data_preparator.item_id_map
    internal = id_map.to_internal.reindex(events[Columns.Item]).to_numpy()
    known = events.assign(row=internal).dropna(subset="row")
    targets = known[known["from_end"] == 0].set_index(Columns.User)["row"].astype(int)
    before = known[known["from_end"] > 0].groupby(Columns.User)["row"].agg(list)
    contents = network.item_model.get_all_embeddings()
    ranks = []
    for first in range(0, len(targets), BATCH_SIZE):
        users = targets.index[first : first + BATCH_SIZE]
        x = np.zeros((len(users), length), dtype=np.int64)
        for place, heard in enumerate(before[users]):
            x[place, -len(heard[-length:]) :] = heard[-length:]
        scores = network.encode_sessions({"x": torch.from_numpy(x)}, contents)[:, -1] @ contents.T
        scores[:, 0] = -torch.inf
        for place, heard in enumerate(before[users]):
            scores[place, np.array(heard, dtype=np.int64)] = -torch.inf
        own = scores.gather(1, torch.from_numpy(targets[users].to_numpy())[:, None])
        ranks.append((scores > own).sum(dim=1))
    rank = torch.cat(ranks).double()
    module.train()
    listeners = events[Columns.User].nunique()  # a target that training never saw counts as missed
    gains = (1 / torch.log2(rank + 2))[rank < K]
    return {f"ndcg@{K}": gains.sum().item() / listeners, f"hr@{K}": len(gains) / listeners}


def train_flat(events: pd.DataFrame, arguments: argparse.Namespace) -> None:
    """The exact softmax, over all positions as its `forward` gives them."""
    kept = training_events(events)
    users, items = (torch.from_numpy(kept[name].to_numpy()) for name in (Columns.User, Columns.Item))
    x, y, known, _ = build_sequences(users, items, torch.arange(len(kept)), max_len=arguments.length)
    network = FlatSASRecNet(len(known), DIM, BLOCKS, HEADS, arguments.length, arguments.dropout).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, betas=BETAS)
    windows = Windows()
    while True:
        for rows in torch.randperm(len(x)).split(BATCH_SIZE):
            if not windows.goes_on():
                return
            logits = network({"x": x[rows], "y": y[rows]})
            # Contents are counted from 1 and logits from 0; 0 is padding.
            loss = cross_entropy(logits.flatten(0, 1), y[rows].flatten() - 1, ignore_index=-1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            windows.count(len(rows))


if __name__ == "__main__":
    main()
