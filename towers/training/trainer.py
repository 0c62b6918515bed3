"""A Lightning Trainer that suits whatever machine it is on."""

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import Logger

LAST, BEST = "last", "best"
FINISHED = "finished.json"
"""What a run's folder holds: two checkpoints, and this file once training has come to its end."""


def make_trainer(
    folder: Path,
    loggers: Sequence[Logger],
    max_epochs: int,
    validate_every_epochs: int,
    monitor: str,
    gradient_clip: float,
    accelerator: str,
    precision: str,
    progress: bool,
) -> pl.Trainer:
    """One device, whichever there is; keeps the last and the best checkpoint.

    Args:
        folder: where checkpoints go.
        loggers: who hears of metrics.
        max_epochs: passes over the training windows.
        validate_every_epochs: epochs from one validation to the next.
        monitor: the metric by which the best checkpoint is chosen; higher is better.
        gradient_clip: norm to which gradients are clipped.
        accelerator: as Lightning's; auto takes a GPU where there is one.
        precision: as Lightning's; auto is bf16-mixed on CUDA and 32-true elsewhere.
        progress: whether to show a bar, or lines where there is no terminal.

    Raises:
        ValueError: a value that Lightning does not know.
    """
    if max_epochs < 1 or validate_every_epochs < 1:
        raise ValueError(
            f"max_epochs={max_epochs} and validate_every_epochs={validate_every_epochs} must be at least 1"
        )
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # it advertises and counts devices
    on_cuda = torch.cuda.is_available() and accelerator in ("auto", "gpu", "cuda")
    if precision == "auto":
        precision = "bf16-mixed" if on_cuda else "32-true"
    best = ModelCheckpoint(
        dirpath=folder,
        filename=BEST,
        monitor=monitor,
        mode="max",
        enable_version_counter=False,
        every_n_epochs=validate_every_epochs,
        save_on_train_epoch_end=False,  # after validation
    )
    last = ModelCheckpoint(
        dirpath=folder, filename=LAST, enable_version_counter=False, every_n_epochs=1, save_on_train_epoch_end=True
    )
    # A run's folder is not empty when it goes on; workers are for machines with cores to spare.
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")  # of Lightning's own code
    warnings.filterwarnings("ignore", message="The number of training batches .* is smaller than the logging interval")
    callbacks: list[Callback] = [best, last]
    has_terminal = sys.stdout.isatty()
    if progress:
        callbacks.append(RichProgressBar(leave=False) if has_terminal else ValidationLines(monitor))
    try:
        return pl.Trainer(
            accelerator=accelerator,
            devices=1,
            precision=precision,  # type: ignore[arg-type]
            max_epochs=max_epochs,
            check_val_every_n_epoch=validate_every_epochs,
            num_sanity_val_steps=0,
            gradient_clip_val=gradient_clip,
            logger=list(loggers),
            callbacks=callbacks,
            enable_progress_bar=progress and has_terminal,
            enable_model_summary=False,
            log_every_n_steps=10,
            use_distributed_sampler=False,
            default_root_dir=folder,
        )
    except MisconfigurationException as error:
        raise ValueError(str(error)) from error


class ValidationLines(Callback):
    """Where no terminal watches: a line a validation.

    Args:
        monitor: the metric to tell.
    """

    def __init__(self, monitor: str):
        self._monitor = monitor

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints epoch, step, loss and the metric."""
        found = {name: float(trainer.callback_metrics.get(name, float("nan"))) for name in ("loss", self._monitor)}
        figures = ", ".join(f"{name} {figure:.4f}" for name, figure in found.items())
        print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}, step {trainer.global_step:,}: {figures}",
            flush=True,
        )
