"""A Lightning Trainer that suits whatever machine it is on."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
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
        progress: whether to show a bar.
    """
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
    if progress:
        callbacks.append(RichProgressBar(leave=False))
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
        enable_progress_bar=progress,
        enable_model_summary=False,
        log_every_n_steps=10,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
