"""Lightning's Trainer, made of a few settings that suit any machine."""

import contextlib
import logging
import os
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint, ProgressBar, Timer
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler
from torch import Tensor

from towers.data.training_batches import Share
from towers.errors import UserError
from towers.training.module import LOG_EVERY_STEPS
from towers.training.resumption import LastEpochValidated, Resumption
from towers.training.run_folder import BEST, LAST
from towers.training.stopping import StopRequest
from towers.training.strategy import AtomicFiles, SummedGradients
from towers.training.watching import watches

PRECISIONS = ("auto", "float32", "bfloat16")
PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
NOT_FOR_USERS = (
    "Checkpoint directory .* exists and is not empty",  # expected for a resumed run
    "Be aware that when using `ckpt_path`",  # about callbacks that only watch; others change the run's signature
    ".*treespec, LeafSpec",  # torch's, about Lightning's use of it
)
"""Regular expressions of the beginnings of Lightning's warnings that a user cannot act on."""


class Trainer:
    """Settings of when a run validates, saves and ends, and of its hardware; makes Lightning's Trainer.

    Under torchrun or SLURM the processes are those that it started; otherwise `devices` processes are started here.

    Args:
        max_epochs: passes over the training windows.
        validate_every_epochs: epochs between validations; the last epoch is always validated.
        refresh_sounds_every_steps: steps between full refreshes of the audio vectors; null: only at validations.
        monitor: name of the metric by which the best checkpoint is chosen; higher is better; null: the last is kept.
        patience: validations without improvement after which training ends; null: never.
        gradient_clip: norm to which gradients are clipped.
        max_skipped: number of batches without a finite gradient that may be skipped; one more ends the run.
        checkpoint_every_s: seconds between checkpoints.
        accelerator: accelerator of Lightning; auto takes a GPU where there is one.
        devices: processes per machine, each with a device of its own.
        num_nodes: number of machines.
        micro_batches: parts of a process's share of a step that are computed one after another, to save memory.
        precision: float32 or bfloat16; auto is bfloat16 on CUDA and float32 elsewhere.
        progress: whether to show a progress bar and a line per validation.
        callbacks: further callbacks of Lightning.
        max_time: time of training over all starts, as days:hours:minutes:seconds, after which it validates and ends.
        limit_train_batches: number of batches per epoch; null: all.
        fast_dev_run: number of batches, or true for one, of a trial run with a short validation; nothing is kept.
        profiler: simple, advanced or pytorch: profile of the training, written to the run's folder; null: none.
        detect_anomaly: whether to search for the operation whose gradient is not finite, at several times the cost.

    Raises:
        ValueError: a value is out of range or unknown.
    """

    def __init__(
        self,
        max_epochs: int,
        validate_every_epochs: int,
        refresh_sounds_every_steps: int | None,
        monitor: str | None,
        patience: int | None,
        gradient_clip: float,
        max_skipped: int,
        checkpoint_every_s: float,
        accelerator: str,
        devices: int,
        num_nodes: int,
        micro_batches: int,
        precision: str,
        progress: bool,
        callbacks: list[Callback],
        max_time: str | None,
        limit_train_batches: int | None,
        fast_dev_run: bool | int,
        profiler: str | None,
        detect_anomaly: bool,
    ):
        numbers = {
            "max_epochs": max_epochs, "validate_every_epochs": validate_every_epochs, "devices": devices,
            "num_nodes": num_nodes, "micro_batches": micro_batches, "patience": patience,
            "refresh_sounds_every_steps": refresh_sounds_every_steps, "limit_train_batches": limit_train_batches,
        }  # fmt: skip
        for name, number in numbers.items():
            if number is not None and number < 1:
                raise ValueError(f"{name}={number} must be at least 1")
        if not gradient_clip > 0 or not checkpoint_every_s >= 0 or max_skipped < 0 or fast_dev_run < 0:
            raise ValueError(
                f"gradient_clip={gradient_clip} must be above 0, checkpoint_every_s={checkpoint_every_s}, "
                f"max_skipped={max_skipped} and fast_dev_run={fast_dev_run} 0 or more"
            )
        if patience is not None and monitor is None:
            raise ValueError("patience: needs a metric, and monitor is null; set patience=null")
        if precision not in PRECISIONS:
            raise ValueError(f"precision={precision} must be one of {', '.join(PRECISIONS)}")
        if profiler is not None and profiler not in PROFILERS:
            raise ValueError(f"profiler={profiler} must be one of {', '.join(PROFILERS)}, or null")
        self.max_epochs = max_epochs
        self.monitor = monitor
        self.gradient_clip = gradient_clip
        self.max_skipped = max_skipped
        self.refresh_sounds_every_steps = refresh_sounds_every_steps
        self.is_trial = bool(fast_dev_run)
        self._validate_every_epochs = validate_every_epochs
        self._patience = patience
        self._checkpoint_every_s = checkpoint_every_s
        self._accelerator = accelerator
        self._devices, self._num_nodes = _processes(devices, num_nodes)
        self._micro_batches = micro_batches
        self._precision = precision
        self._progress = progress
        self.callbacks = callbacks
        self._max_time = max_time
        self.limit_train_batches = limit_train_batches
        self._fast_dev_run = fast_dev_run
        self._profiler = profiler
        self._detect_anomaly = detect_anomaly

    def lightning(
        self, folder: Path, signature: str, stop: StopRequest, shown: tuple[str, ...], is_judged: bool
    ) -> pl.Trainer:
        """Makes Lightning's Trainer, without loggers yet.

        Args:
            folder: folder of the run.
            signature: signature of the run; a checkpoint of another is refused.
            stop: stop request that signals set.
            shown: names of the metrics to print after a validation.
            is_judged: whether there is a validation set to choose the best checkpoint by.

        Raises:
            UserError: a value that Lightning does not know, or a device that the machine does not have.
        """
        for name in ("pytorch_lightning", "lightning_fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)  # they list devices
        try:
            timer = [] if self._max_time is None else [Timer(self._max_time)]
        except MisconfigurationException as error:
            raise UserError(f"trainer.max_time: {error}") from error
        callbacks = [
            *self.callbacks,
            *timer,
            LastEpochValidated(),
            *(self._watches(shown) if self._progress else ()),
            *(self._choices(folder) if is_judged and not self.is_trial else ()),
            *(() if self.is_trial else (Resumption(folder, signature, self._checkpoint_every_s, stop),)),
        ]
        try:
            return pl.Trainer(
                accelerator=self._accelerator,
                devices=self._devices,
                num_nodes=self._num_nodes,
                strategy=SummedGradients() if self._devices * self._num_nodes > 1 else "auto",
                max_epochs=self.max_epochs,
                check_val_every_n_epoch=self._validate_every_epochs,
                callbacks=callbacks,
                plugins=[AtomicFiles(signature)],
                logger=False,
                log_every_n_steps=LOG_EVERY_STEPS,
                fast_dev_run=self._fast_dev_run,
                profiler=self._made_profiler(folder),
                detect_anomaly=self._detect_anomaly,
                num_sanity_val_steps=0,  # a validation needs all listeners
                use_distributed_sampler=False,  # batches are already divided by rank
                enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
                enable_model_summary=False,
                default_root_dir=folder,
            )
        except (MisconfigurationException, RuntimeError, ValueError) as error:
            raise UserError(f"trainer: {' '.join(str(error).split())}") from error

    def share_of(self, rank: int, ranks: int) -> Share:
        """Returns a process's share of every step."""
        return Share(rank=rank, ranks=ranks, micro_batches=self._micro_batches)

    def autocast(self, device: torch.device) -> AbstractContextManager:
        """Returns the precision on a device, as a reusable context.

        Lightning's own would also cover the backward pass.
        """
        is_bfloat16 = self._precision == "bfloat16" or (self._precision == "auto" and device.type == "cuda")
        if not is_bfloat16:
            return contextlib.nullcontext()
        return torch.autocast(device.type, torch.bfloat16)

    def _watches(self, shown: tuple[str, ...]) -> list[Callback]:
        return watches(shown, has_bar=any(isinstance(callback, ProgressBar) for callback in self.callbacks))

    def _choices(self, folder: Path) -> list[Callback]:
        assert self.monitor is not None  # without one, is_judged is false
        best = BestCheckpoint(folder, self.monitor)
        if self._patience is None:
            return [best]
        return [best, EarlyStopping(self.monitor, mode="max", patience=self._patience, check_finite=False,
                                    check_on_train_epoch_end=False)]  # fmt: skip

    def _made_profiler(self, folder: Path) -> Profiler | None:
        if self._profiler is None:
            return None
        return PROFILERS[self._profiler](dirpath=folder, filename="profile")


class BestCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint of the best validation's weights; a value that is not finite is never the best.

    Args:
        folder: folder of the run.
        monitor: name of the metric; higher is better.
    """

    def __init__(self, folder: Path, monitor: str):
        super().__init__(
            folder, Path(BEST).stem, monitor=monitor, mode="max", save_weights_only=True,
            save_on_train_epoch_end=False, enable_version_counter=False,
        )  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the result of `state_dict`, also in a folder that was moved, where Lightning would lose the best."""

        def here(path: str) -> str:
            return str(Path(self.dirpath or "", Path(path).name)) if path else path

        places = {name: here(state_dict[name]) for name in ("best_model_path", "kth_best_model_path")}
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, "dirpath": self.dirpath, "best_k_models": best, **places})

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        """Refuses a value that is not finite; Lightning would take any value that comes first."""
        return current is not None and bool(torch.isfinite(current)) and super().check_monitor_top_k(trainer, current)


def fit(trainer: pl.Trainer, module: pl.LightningModule, data: pl.LightningDataModule, stop: StopRequest) -> None:
    """Trains to the end, from the last checkpoint if there is one.

    Args:
        trainer: result of `Trainer.lightning`.
        module: module to train.
        data: batches of the module.
        stop: stop request that the Trainer was made with; it listens for signals meanwhile.

    Raises:
        Stopped: a signal asked for the end; everything is saved.
        KeyboardInterrupt: the terminal asked twice; nothing is saved.
        UserError: a callback does not fit this training.
    """
    last = Path(trainer.default_root_dir) / LAST
    try:
        with stop, warnings.catch_warnings():
            for message in NOT_FOR_USERS:
                warnings.filterwarnings("ignore", message)
            trainer.fit(module, datamodule=data, ckpt_path=last if last.exists() else None)
    except MisconfigurationException as error:
        raise UserError(f"trainer: {' '.join(str(error).split())}") from error
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error  # Lightning would exit with code 1
        raise


def _processes(devices: int, num_nodes: int) -> tuple[int, int]:
    """Returns processes per machine, and machines; torchrun's environment decides where it has started them."""
    if "LOCAL_WORLD_SIZE" not in os.environ:
        return devices, num_nodes
    devices = int(os.environ["LOCAL_WORLD_SIZE"])
    return devices, int(os.environ["WORLD_SIZE"]) // devices
