"""A run's state on disk: all that a step depends on, so that a resumed run gives the same bits as one never stopped.

The random draws of a step (windows, negatives, crops, dropout) follow from the seed and the step's number alone, so no
generator state has to be saved.
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
"""Key of the learner's weights in a checkpoint, and prefix of their names in one of Lightning's."""
HAS_DELTA = "two_tower.content_tower._is_trained"
"""Name of the buffer among them that says which contents' ids have a delta."""


def trained_checkpoint(folder: Path) -> Path:
    """Returns the checkpoint to use after training: the best state, or the last where nothing was validated."""
    return next(path for name in (BEST, LAST) if (path := folder / name).exists())


def final_checkpoint(folder: Path) -> Path:
    """Returns the checkpoint of a finished run: the one with placed ids if there is one, else `trained_checkpoint`."""
    placed = folder / PLACED
    return placed if placed.exists() else trained_checkpoint(folder)


@dataclass(slots=True, kw_only=True)
class Progress:
    """Progress of a run.

    Args:
        epoch: epoch of the next batch, from 0.
        number: number of the next batch in its epoch, from 0.
        step: number of batches done, skipped ones included.
        is_validated: whether everything that precedes the next batch's epoch is done.
        has_ended: whether the run ended before its last epoch, by early stopping or a time limit.
        skipped: number of batches whose gradient was not finite.
        best: best value of the monitored metric so far; null before the first validation.
        best_epoch: number of epochs after which it was reached.
        seconds: wall-clock seconds of training so far, over all starts.
        core_seconds: CPU seconds of the first process so far, over all starts, without its data workers.
        metrics: metrics of the last validation.
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
        """Counts a finished batch; after the last one of an epoch the epoch still has to be validated."""
        self.step += 1
        self.epoch, self.number = batch.epoch, batch.number + 1
        if self.number == batch.batches:
            self.epoch, self.number, self.is_validated = batch.epoch + 1, 0, False

    def note_best(self, found: float) -> None:
        """Takes the monitored metric of a validation; a value that is not finite is never the best."""
        if math.isfinite(found) and (self.best is None or found > self.best):
            self.best, self.best_epoch = found, self.epoch

    def summary(self) -> dict[str, Any]:
        """Returns the figures of a finished run, as its last file holds them."""
        return {
            "epochs": self.epoch, "steps": self.step, "skipped": self.skipped, "best": self.best,
            "best_epoch": self.best_epoch, "seconds": self.seconds, "core_seconds": self.core_seconds,
            "metrics": self.metrics,
        }  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Returns all fields, for a checkpoint."""
        return asdict(self)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes tensors, numbers and strings atomically: a killed process leaves the old file or the new one."""
    with atomic_file(path) as temporary:
        torch.save(state, temporary)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Reads the learner's parameters and buffers by name, onto the CPU, from a checkpoint of any version.

    Raises:
        UserError: the file is no checkpoint.
    """
    state = _loaded(path)
    if OF_LEARNER in state:  # a placed checkpoint, or one from before Lightning's Trainer
        return state[OF_LEARNER]
    return {name.removeprefix(f"{OF_LEARNER}."): tensor for name, tensor in state["state_dict"].items()}


def load_optimizer(path: Path) -> dict[str, Any]:
    """Reads the optimiser's `state_dict` at the time of the checkpoint, onto the CPU.

    Raises:
        UserError: the file is no checkpoint, or has no optimiser state.
    """
    states = _loaded(path).get("optimizer_states")
    if not states:
        raise UserError(f"{path}: holds no optimiser's state; give warm_start.optimizer=reset")
    return states[0]


def digest_of_weights(path: Path) -> str:
    """Returns the SHA-256, in hex, of the tensors that `load_weights` reads; nothing else in the file counts.

    So a run of another signature with the same weights has the same digest, and keeps its space.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(load_weights(path).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_unfinished(path: Path, signature: str) -> dict[str, Any]:
    """Reads the checkpoint from which Lightning's Trainer resumes, onto the CPU.

    Args:
        path: path of the checkpoint.
        signature: signature of the run to resume.

    Raises:
        UserError: the file is another run's, was written before Lightning's Trainer, or is no checkpoint.
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
    """Returns which contents' ids have a delta in a folder's unfinished run, not in today's counts; null: no run.

    Raises:
        UserError: the file is no checkpoint.
    """
    path = folder / LAST
    if not path.exists():
        return None
    return _alone(path, mmap=True).get("state_dict", {}).get(f"{OF_LEARNER}.{HAS_DELTA}")


def _loaded(path: Path, is_spread: bool = False, signature: str | None = None) -> dict[str, Any]:
    """Loads a checkpoint with the row files beside it, whole or as this rank's part; without them if another run's."""
    state = _alone(path)
    return state if signature not in (None, state["signature"]) else with_rows(path, state, is_spread)


def _alone(path: Path, mmap: bool = False) -> dict[str, Any]:
    """Loads a checkpoint without the row files beside it; with `mmap`, only tensors that are used are read."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        assert "signature" in state
    except (OSError, MemoryError):  # a fault of the disk or the machine, not of the file
        raise
    except Exception as error:  # torch's reader raises many types
        raise UserError(f"{path}: cannot be read as a checkpoint; delete it to start the run anew") from error
    return state
