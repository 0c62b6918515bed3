"""Lightning's processes and files, as this training wants them."""

from pathlib import Path
from typing import Any

from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO
from pytorch_lightning.strategies import DDPStrategy

from towers.training.checkpoints import load_unfinished, save_checkpoint


class SummedGradients(DDPStrategy):
    """Processes and devices of DDP without its wrapper, which averages: a step sums its gradients itself."""

    def configure_ddp(self) -> None:
        """Leaves the module as it is, so `training_step` is called on it directly."""


class AtomicFiles(CheckpointIO):
    """Checkpoints that are whole at every moment, and known to be of this run.

    Lightning's own go by way of $TMPDIR, which is a copy, torn by a kill, where that is another disk.

    Args:
        signature: of the run.
    """

    def __init__(self, signature: str):
        self._signature = signature

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes beside it and renames."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)  # Lightning's callbacks leave it to this
        save_checkpoint(Path(path), {**checkpoint, "signature": self._signature})

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """On the CPU; no pickled code is run.

        Raises:
            UserError: it is another run's, of another version of the training, or no checkpoint.
        """
        return load_unfinished(Path(path), self._signature)

    def remove_checkpoint(self, path: Any) -> None:
        """Where it is still there."""
        Path(path).unlink(missing_ok=True)
