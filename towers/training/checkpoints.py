"""A run's state on disk: all that a step depends on, so that a run goes on bit by bit as if it had never stopped.

What is drawn in a step (windows, negatives, crops, dropout) follows from the seed and the step's place alone, so no
generator has a state to keep.
"""

import hashlib
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Bool
from torch import Tensor

from towers.batch import TrainingBatch
from towers.errors import UserError
from towers.manifest import atomic_file
from towers.training.row_files import with_rows
from towers.training.run_folder import BEST, LAST, PLACED

OF_LEARNER = "learner"
"""Names the learner's weights in a checkpoint, and begins their names in one of Lightning's."""
HAS_DELTA = "two_tower.content_tower._is_trained"
"""Names among them which contents' ids have a delta."""


def trained_checkpoint(folder: Path) -> Path:
    """What training has come to: its best state, or the last where nothing was validated."""
    return next(path for name in (BEST, LAST) if (path := folder / name).exists())


def final_checkpoint(folder: Path) -> Path:
    """What a finished run has come to."""
    placed = folder / PLACED
    return placed if placed.exists() else trained_checkpoint(folder)


@dataclass(slots=True, kw_only=True)
class Progress:
    """Where a run stands.

    Args:
        epoch: of the next batch, from 0.
        number: of the next batch in its epoch, from 0.
        step: batches behind it, skipped ones included.
        is_validated: whether nothing is left to do for the epoch before the next batch.
        has_ended: whether it ended before its last epoch: by early stopping, or because time was up.
        skipped: batches whose gradient was not finite.
        best: of the monitored metric so far; null before the first validation.
        best_epoch: after which it was reached.
        seconds: of training so far, by the clock, over all starts.
        core_seconds: of the first process so far, over all starts, without those that build its batches.
        metrics: of the last validation.
    """

    epoch: int = 0
    number: int = 0
    step: int = 0
    is_validated: bool = True
    has_ended: bool = False
    skipped: int = 0
    best: float | None = None
    best_epoch: int | None = None
    seconds: float = 0.0
    core_seconds: float = 0.0
    metrics: dict[str, float]

    def passed(self, batch: TrainingBatch) -> None:
        """A batch is behind the run; after an epoch's last one the epoch waits for its end."""
        self.step += 1
        self.epoch, self.number = batch.epoch, batch.number + 1
        if self.number == batch.batches:
            self.epoch, self.number, self.is_validated = batch.epoch + 1, 0, False

    def note_best(self, found: float) -> None:
        """Takes the monitored metric of a validation; what is not finite is never the best."""
        if math.isfinite(found) and (self.best is None or found > self.best):
            self.best, self.best_epoch = found, self.epoch

    def summary(self) -> dict[str, Any]:
        """Of a finished run, for its last file."""
        return {
            "epochs": self.epoch, "steps": self.step, "skipped": self.skipped, "best": self.best,
            "best_epoch": self.best_epoch, "seconds": self.seconds, "core_seconds": self.core_seconds,
            "metrics": self.metrics,
        }  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes tensors, numbers and texts; a kill leaves the file before or the new one."""
    with atomic_file(path) as temporary:
        torch.save(state, temporary)


def load_weights(path: Path) -> dict[str, Tensor]:
    """The learner's parameters and buffers by name, from a checkpoint of whatever version, on the CPU.

    Raises:
        UserError: no checkpoint.
    """
    state = _loaded(path)
    if OF_LEARNER in state:  # of what was placed, and of runs before Lightning's Trainer
        return state[OF_LEARNER]
    return {name.removeprefix(f"{OF_LEARNER}."): tensor for name, tensor in state["state_dict"].items()}


def load_optimizer(path: Path) -> dict[str, Any]:
    """What the optimiser's `state_dict` gave when the checkpoint was written, on the CPU.

    Raises:
        UserError: no checkpoint, or one without an optimiser.
    """
    states = _loaded(path).get("optimizer_states")
    if not states:
        raise UserError(f"{path}: holds no optimiser's state; give warm_start.optimizer=reset")
    return states[0]


def digest_of_weights(path: Path) -> str:
    """Sha256 of the tensors that `load_weights` reads, in hex; nothing else in the file counts.

    So the same weights under another signature keep their space.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(load_weights(path).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_unfinished(path: Path, signature: str) -> dict[str, Any]:
    """What Lightning's Trainer goes on from, on the CPU.

    Args:
        path: of the file.
        signature: of the run that wants to go on.

    Raises:
        UserError: it is another run's, of a version before Lightning's Trainer, or no checkpoint.
    """
    state = _loaded(path, is_spread=dist.is_initialized() and dist.get_world_size() > 1, signature=signature)
    if state["signature"] != signature:
        raise UserError(
            f"{path}: belongs to the run {state['signature']}, not {signature}; delete the folder to start anew"
        )
    if "loops" not in state:
        raise UserError(
            f"{path}: was written by an earlier version of towers, which alone can go on with it; end the run with "
            f"that version, or delete {path.parent} to start anew"
        )
    return state


def ids_of_unfinished(folder: Path) -> Bool[Tensor, " contents"] | None:
    """Returns which contents' ids have a delta in the run that a folder holds, whatever is counted now; null: no run.

    Raises:
        UserError: no checkpoint.
    """
    path = folder / LAST
    if not path.exists():
        return None
    return _alone(path, mmap=True).get("state_dict", {}).get(f"{OF_LEARNER}.{HAS_DELTA}")


def _loaded(path: Path, is_spread: bool = False, signature: str | None = None) -> dict[str, Any]:
    """Loads a checkpoint with the rows beside it, whole or as this rank's part; another run's is left as it stands."""
    state = _alone(path)
    return state if signature not in (None, state["signature"]) else with_rows(path, state, is_spread)


def _alone(path: Path, mmap: bool = False) -> dict[str, Any]:
    """Loads a checkpoint without the rows beside it; by `mmap` what is not looked at is not read."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        assert "signature" in state
    except (OSError, MemoryError):  # the disk's or the machine's, and no reason to delete anything
        raise
    except Exception as error:  # torch raises whatever its reader met
        raise UserError(f"{path}: cannot be read as a checkpoint; delete it to start the run anew") from error
    return state
