"""Lightning's strategy and checkpoint files, adapted to this training."""

from pathlib import Path
from typing import Any

import torch.distributed as dist
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO
from pytorch_lightning.strategies import DDPStrategy

from towers.training.checkpoints import load_unfinished, save_checkpoint
from towers.training.row_files import ROWS, drop_rows, take_rows, write_rows


class SummedGradients(DDPStrategy):
    """DDP's processes and devices without its wrapper, which averages gradients: a step sums them itself."""

    def configure_ddp(self) -> None:
        """Leaves the module unwrapped, so `training_step` is called on it directly."""

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Saves on all ranks, each of which may have its own rows to write; Lightning would save on the first alone."""
        self.checkpoint_io.save_checkpoint(checkpoint, filepath, storage_options=storage_options)


class AtomicFiles(CheckpointIO):
    """Checkpoint files that are complete at every moment, and marked with the run's signature.

    Lightning's own writes to $TMPDIR first; on another disk that means a copy, which a kill may cut off.

    Args:
        signature: signature of the run.
    """

    def __init__(self, signature: str):
        self._signature = signature

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes atomically: the first rank writes the checkpoint, and each rank its rows of divided tables."""
        path = Path(path)
        state, rows = take_rows(checkpoint)
        if rows:
            state = {**state, ROWS: write_rows(path, rows)}
        if dist.is_initialized() and dist.get_rank() > 0:
            return
        path.parent.mkdir(parents=True, exist_ok=True)  # Lightning's callbacks expect this
        save_checkpoint(path, {**state, "signature": self._signature})
        drop_rows(path, state[ROWS]["folder"] if rows else None)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Loads a checkpoint onto the CPU, without running pickled code.

        Raises:
            UserError: the file is another run's, of another version of the training, or no checkpoint.
        """
        return load_unfinished(Path(path), self._signature)

    def remove_checkpoint(self, path: Any) -> None:
        """Removes a checkpoint and its rows, if it exists."""
        Path(path).unlink(missing_ok=True)
        drop_rows(Path(path), None)
