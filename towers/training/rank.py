"""Which of several processes this one is, as far as the environment says; imports no torch."""

import os


def is_first_process() -> bool:
    """Returns whether this is the one of several processes that goes on after a training.

    torchrun sets RANK, srun SLURM_PROCID, and Lightning LOCAL_RANK in processes that it starts itself, also within a
    task of SLURM; the first has 0 in all that are set.
    """
    return all(int(os.environ.get(name, "0")) == 0 for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
