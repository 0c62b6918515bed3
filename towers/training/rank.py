"""The rank of this process according to the environment, without importing torch."""

import os


def is_first_process() -> bool:
    """Returns whether this is the one process of several that continues after a training.

    torchrun sets RANK, srun SLURM_PROCID, and Lightning LOCAL_RANK in processes that it starts itself, within a task of
    SLURM too; the first process has 0 in all that are set.
    """
    return all(int(os.environ.get(name, "0")) == 0 for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
