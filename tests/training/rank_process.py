"""Groups of processes that share a step, then a refresh of the audio memory. Run by test_processes.py.

Each process writes the gradient of everything, the table after the refresh, and how far it had drifted, as a file.
"""

import contextlib
import pickle
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from benchmarks.forks import run_forks
from towers.data.training_batches import Share
from towers.training import embed
from towers.training.processes import Processes
from towers.training.step import accumulate_gradient

SOUNDS_AT_ONCE = 5
"""Number of sounds at once, with which a refresh of the tiny world has several rounds, the last with few or none for a
rank.
"""


def main(folder: Path) -> None:
    """Runs the groups in `folder`, one after the other; a group's folder bears the number of its processes.

    They are forks of this process, which has imported what they need and has started no thread.
    """
    for group in sorted(folder.iterdir()):
        ranks = int(group.name.partition("-")[0])
        run_forks(share, [(group, rank, ranks) for rank in range(ranks)], group.name)


def share(folder: Path, rank: int, ranks: int) -> None:
    """Does the work of one of `ranks` processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=ranks)
    with (folder / "cases.pickle").open("rb") as file:
        cases, records = pickle.load(file)
    found = {}
    group = Processes(Share(rank=rank, ranks=ranks))
    for name, (learner, batches) in cases.items():
        loss, fresh = accumulate_gradient(learner, batches[rank], group, contextlib.nullcontext())
        group.sum_gradients(learner.parameters())
        gradients = {key: parameter.grad for key, parameter in learner.named_parameters()}
        found[name] = loss, gradients, None if fresh is None else fresh.vectors
    embed.SOUNDS_AT_ONCE = SOUNDS_AT_ONCE
    figures = [embed.refresh_audio(learner.two_tower, learner.table, records, group).figures() for _ in range(2)]
    torch.save({"steps": found, "table": learner.table.state_dict(), "staleness": figures}, folder / f"found{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
