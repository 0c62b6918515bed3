"""Lightning's processes and files, as this training wants them."""

from pathlib import Path
from typing import Any

import torch.distributed as dist
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO
from pytorch_lightning.strategies import DDPStrategy

from towers.training.checkpoints import load_unfinished, save_checkpoint
from towers.training.row_files import ROWS, drop_rows, take_rows, write_rows


class SummedGradients(DDPStrategy):
    """Processes and devices of DDP without its wrapper, which averages: a step sums its gradients itself."""

    def configure_ddp(self) -> None:
        """Leaves the module as it is, so `training_step` is called on it directly."""

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Saves on all ranks, each of which may have rows of its own to write; Lightning asks the first alone."""
        self.checkpoint_io.save_checkpoint(checkpoint, filepath, storage_options=storage_options)


class AtomicFiles(CheckpointIO):
    """Checkpoints that are whole at every moment, and known to be of this run.

    Lightning's own go by way of $TMPDIR, which is a copy, torn by a kill, where that is another disk.

    Args:
        signature: of the run.
    """

    def __init__(self, signature: str):
        self._signature = signature

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes beside it and renames; of several ranks the first, and each its rows of tables that are divided."""
        path = Path(path)
        state, rows = take_rows(checkpoint)
        if rows:
            state = {**state, ROWS: write_rows(path, rows)}
        if dist.is_initialized() and dist.get_rank() > 0:
            return
        path.parent.mkdir(parents=True, exist_ok=True)  # Lightning's callbacks leave it to this
        save_checkpoint(path, {**state, "signature": self._signature})
        drop_rows(path, state[ROWS]["folder"] if rows else None)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """On the CPU; no pickled code is run.

        Raises:
            UserError: it is another run's, of another version of the training, or no checkpoint.
        """
        return load_unfinished(Path(path), self._signature)

    def remove_checkpoint(self, path: Any) -> None:
        """Where it is still there."""
        Path(path).unlink(missing_ok=True)
        drop_rows(Path(path), None)
