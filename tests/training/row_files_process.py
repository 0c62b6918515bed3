"""Groups of processes that write divided tables and read them again, in other numbers. Run by test_rows.py.

The first group writes; every process of every group returns what it has read, and the answers to questions in between.
"""

import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from benchmarks.forks import run_forks
from towers.batch import Route
from towers.data.training_batches import Share
from towers.models.rows import Divided, DividedIds, Division
from towers.training.checkpoints import load_unfinished
from towers.training.optimizing import MOMENTS, RowwiseAdamW
from towers.training.processes import Processes
from towers.training.step import _Shared
from towers.training.strategy import AtomicFiles

HAS_ROW = torch.tensor([True, True, False, True, True, True])
DIM, NUM_SOUNDS = 3, 7
GROUPS = (2, 1, 3, 4)
IDS, SOUNDS = "ids", "sounds"


def main(folder: Path) -> None:
    """Runs the groups one after the other."""
    for ranks in GROUPS:
        run_forks(share, [(folder, rank, ranks) for rank in range(ranks)], f"{ranks} processes")


def share(folder: Path, rank: int, ranks: int) -> None:
    """Does the work of one of `ranks` processes."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous{ranks}", rank=rank, world_size=ranks,
        timeout=timedelta(seconds=30),
    )  # fmt: skip
    torch.manual_seed(0)
    table = Divided(rank, ranks).ids(HAS_ROW, DIM).train()
    assert isinstance(table, DividedIds)
    optimizer = RowwiseAdamW([{"params": [torch.nn.Parameter(torch.ones(2))]}], table, 0.1, 0.1, 0.0, (0.9, 0.99))
    sounds = Division(num_rows=NUM_SOUNDS, rank=rank, ranks=ranks)
    path = folder / "last.ckpt"
    if ranks == GROUPS[0]:
        write(path, table, optimizer, sounds)
    dist.barrier()
    state = load_unfinished(path, "run")
    weights = state["state_dict"]
    with torch.no_grad():
        table.weight.copy_(table.division.part(weights[IDS]))
    optimizer.zero_grad()
    optimizer.load_state_dict(state["optimizer_states"][0])
    found = {
        IDS: table.weight.detach(), SOUNDS: sounds.part(weights[SOUNDS]),
        **{name: optimizer.state[table.weight][name] for name in MOMENTS},
    }  # fmt: skip
    with torch.inference_mode():
        found["everywhere"] = table.eval()(torch.arange(len(HAS_ROW)))
    found["gradient"] = gradient_of_two_contents(table.train(), rank, ranks)
    torch.save({name: tensor.clone() for name, tensor in found.items()}, folder / f"found{ranks}-{rank}.pt")
    dist.destroy_process_group()


def write(path: Path, table: DividedIds, optimizer: RowwiseAdamW, sounds: Division) -> None:
    """Writes a checkpoint of rows that all differ, with moments, after a step in which every rank met its rows."""
    rows = torch.arange(len(table.weight))
    owned = table.weight.index_select(0, rows).requires_grad_()
    owned.grad = 1 + table.weight.detach().square()
    table._met = [(rows, owned)]
    optimizer.step()
    vectors = torch.arange(float(NUM_SOUNDS * DIM)).reshape(NUM_SOUNDS, DIM)[sounds.own]
    weights = {IDS: table.division.spread(table.weight.detach()), SOUNDS: sounds.spread(vectors)}
    state = {"state_dict": weights, "optimizer_states": [optimizer.state_dict()], "loops": {}}
    AtomicFiles("run").save_checkpoint(state, path)


def gradient_of_two_contents(table: DividedIds, rank: int, ranks: int) -> torch.Tensor:
    """Returns the gradient of this rank's rows, from a step of two contents: in larger groups some ranks have none of
    them.
    """
    contents = np.array([0, 5])
    processes = Processes(Share(rank=rank, ranks=ranks))
    route = Route.of(table.row_of.numpy()[contents], table.division.num_rows, rank, ranks)
    own = table(torch.from_numpy(contents)[processes.share.of(2)], route) * 2.0
    shared = _Shared(own, 2, processes)
    if rank == 0:
        shared.vectors.sum().backward()
    shared.backward()
    found = torch.zeros_like(table.weight)
    met = table.gradient()
    return found if met is None else found.index_add(0, *met)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
