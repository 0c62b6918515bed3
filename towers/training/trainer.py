"""Processes, devices and precision that suit whatever machine it is on: Lightning Fabric's, from few settings."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException

import towers
from towers.data.training_batches import Share
from towers.training.loop import LoopSettings
from towers.training.ranks import Ranks

PRECISIONS = ("auto", "float32", "bfloat16")


class Trainer:
    """When a run validates, saves and ends, and what it runs on.

    Under torchrun or SLURM the processes are those that it started; else `devices` of them are started here.

    Args:
        max_epochs: passes over the training windows.
        validate_every_epochs: epochs from one validation to the next.
        refresh_sounds_every_steps: steps from one full refresh of the audio vectors to the next; null: at validations
            alone.
        monitor: the metric by which the best checkpoint is chosen; higher is better.
        patience: validations without a better one after which training ends; null: never.
        gradient_clip: norm to which gradients are clipped.
        max_skipped: batches with a gradient that is not finite that are left out; one more ends the run.
        checkpoint_every_s: seconds between checkpoints.
        accelerator: auto takes a GPU where there is one.
        devices: processes on a machine, each with a device of its own.
        num_nodes: machines.
        micro_batches: parts of a process's share of a step that run one after the other, to save memory.
        precision: auto is bfloat16 on CUDA and float32 elsewhere.
        progress: whether to show a bar, or lines where there is no terminal.

    Raises:
        ValueError: a value that will not do.
    """

    def __init__(
        self,
        max_epochs: int,
        validate_every_epochs: int,
        refresh_sounds_every_steps: int | None,
        monitor: str,
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
    ):
        numbers = {
            "max_epochs": max_epochs, "validate_every_epochs": validate_every_epochs, "devices": devices,
            "num_nodes": num_nodes, "micro_batches": micro_batches, "patience": 1 if patience is None else patience,
            "refresh_sounds_every_steps": 1 if refresh_sounds_every_steps is None else refresh_sounds_every_steps,
        }  # fmt: skip
        for name, number in numbers.items():
            if number < 1:
                raise ValueError(f"{name}={number} must be at least 1")
        if not gradient_clip > 0 or not checkpoint_every_s >= 0 or max_skipped < 0:
            raise ValueError(
                f"gradient_clip={gradient_clip} must be above 0, checkpoint_every_s={checkpoint_every_s} and "
                f"max_skipped={max_skipped} 0 or more"
            )
        if precision not in PRECISIONS:
            raise ValueError(f"precision={precision}: there are {', '.join(PRECISIONS)}")
        self.max_epochs = max_epochs
        self.monitor = monitor
        self.progress = progress
        self._validate_every_epochs = validate_every_epochs
        self._refresh_sounds_every_steps = refresh_sounds_every_steps
        self._patience = patience
        self._gradient_clip = gradient_clip
        self._max_skipped = max_skipped
        self._checkpoint_every_s = checkpoint_every_s
        self._micro_batches = micro_batches
        self._precision = precision
        self._fabric = _fabric(accelerator, devices, num_nodes)

    def launch(self) -> Ranks:
        """Starts the processes that are not there yet; returns this one among them."""
        with _command_line_to_start_again():
            self._fabric.launch()
        return Ranks(
            Share(rank=self._fabric.global_rank, ranks=self._fabric.world_size, micro_batches=self._micro_batches)
        )

    @property
    def device(self) -> torch.device:
        """Of this process."""
        return self._fabric.device

    def autocast(self) -> AbstractContextManager:
        """Can be entered again and again."""
        is_bfloat16 = self._precision == "bfloat16" or (self._precision == "auto" and self.device.type == "cuda")
        if not is_bfloat16:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def settings(self, seed: int) -> LoopSettings:
        """For the loop."""
        return LoopSettings(
            max_epochs=self.max_epochs,
            validate_every_epochs=self._validate_every_epochs,
            refresh_sounds_every_steps=self._refresh_sounds_every_steps,
            monitor=self.monitor,
            patience=self._patience,
            gradient_clip=self._gradient_clip,
            max_skipped=self._max_skipped,
            checkpoint_every_s=self._checkpoint_every_s,
            seed=seed,
        )


def is_first_process() -> bool:
    """Whether this is the one of several processes that goes on after a training."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


@contextlib.contextmanager
def _command_line_to_start_again() -> Iterator[None]:
    """Fabric starts further processes by this one's command line, of which `cli` has cut off the sub-command."""
    before = sys.argv
    program, _, command = sys.argv[0].partition(" ")
    if program == "towers" and command:
        sys.argv = [str(Path(towers.__path__[0]) / "__main__.py"), command, *sys.argv[1:]]
    try:
        yield
    finally:
        sys.argv = before


def _fabric(accelerator: str, devices: int, num_nodes: int) -> Fabric:
    """Raises ValueError for a value that Lightning does not know, or a machine without such a device."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it counts devices
    if "LOCAL_WORLD_SIZE" in os.environ:  # torchrun has started the processes, and knows how many
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        num_nodes = int(os.environ["WORLD_SIZE"]) // devices
    try:
        strategy = "ddp" if devices * num_nodes > 1 else "auto"
        return Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes, strategy=strategy)
    except (MisconfigurationException, RuntimeError) as error:
        raise ValueError(str(error)) from error
