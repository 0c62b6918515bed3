"""One of several processes that share a step: prints the gradient of everything as a file. Run by test_ranks.py."""

import contextlib
import pickle
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from towers.data.training_batches import Share
from towers.training.ranks import Ranks
from towers.training.step import accumulate_gradient


def main(folder: Path, rank: int, ranks: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=ranks)
    with (folder / "cases.pickle").open("rb") as file:
        cases = pickle.load(file)
    found = {}
    for name, (learner, batches) in cases.items():
        group = Ranks(Share(rank=rank, ranks=ranks))
        loss, fresh = accumulate_gradient(learner, batches[rank], group, contextlib.nullcontext())
        group.sum_gradients(learner.parameters())
        gradients = {key: parameter.grad for key, parameter in learner.named_parameters()}
        found[name] = loss, gradients, None if fresh is None else fresh.vectors
    torch.save(found, folder / f"found{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
