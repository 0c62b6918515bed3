"""Groups of processes that train some steps with tables that are divided among them. Run by test_rows.py.

Each process writes losses, norms, the gradient of the first step, the trained state, and the vectors of all contents.
"""

import contextlib
import pickle
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from benchmarks.forks import run_forks
from towers.data.training_batches import Share
from towers.training.embed import embed_contents, refresh_audio
from towers.training.optimizing import adamw, advance, clip_gradients
from towers.training.processes import Processes
from towers.training.step import accumulate_gradient

ADAMW = {"lr": 0.01, "id_lr": 0.02, "weight_decay": 0.01, "id_weight_decay": 0.1, "betas": (0.9, 0.98)}


def main(folder: Path) -> None:
    """Runs the groups in `folder`, one after the other; a group's folder bears the number of its processes."""
    for group in sorted(folder.iterdir()):
        ranks = int(group.name)
        run_forks(share, [(group, rank, ranks) for rank in range(ranks)], group.name)


def share(folder: Path, rank: int, ranks: int) -> None:
    """Does the work of one of `ranks` processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=ranks)
    found = trained(
        *pickle.loads((folder / f"case{rank}.pickle").read_bytes()), Processes(Share(rank=rank, ranks=ranks))
    )
    torch.save(found, folder / f"found{rank}.pt")
    dist.destroy_process_group()


def trained(learner, batches, records, group):
    """Trains the learner on the batches, as the module does it, and refreshes its audio memory."""
    table, found = learner.divided_ids(), {"losses": [], "norms": []}
    optimizer = adamw(learner, **ADAMW)
    for batch in (batch.to("cpu") for batch in batches):  # as the data module gives them
        loss, fresh = accumulate_gradient(learner, batch, group, contextlib.nullcontext())
        group.sum_gradients(learner.parameters())
        norm = clip_gradients(learner.parameters(), 1.0, table, group.sum_)
        found["losses"].append(loss.item())
        found["norms"].append(norm.item())
        if "gradients" not in found:
            found["gradients"] = {
                name: parameter.grad.clone()
                for name, parameter in learner.named_parameters()
                if parameter.grad is not None
            }
            found["rows"] = None if table is None else tuple(tensor.clone() for tensor in table.gradient())
        is_finite = torch.isfinite(norm) & torch.isfinite(loss)
        advance(optimizer, is_finite, optimizer.step)
        if fresh is not None:
            learner.table.remember(fresh.content_rows, fresh.vectors, is_finite, fresh.routes)
    found["state"] = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    found["moments"] = None if table is None else optimizer.state[table.weight]
    found["staleness"] = refresh_audio(learner.two_tower, learner.table, records, group).figures()
    found["vectors"] = embed_contents(learner.two_tower, learner.table).clone()
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
