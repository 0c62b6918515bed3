"""Output of a run while it trains: a line per validation, and a bar on a terminal."""

import sys
from datetime import datetime
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, RichProgressBar

from towers.training.module import ours


class Lines(Callback):
    """Prints a line per validation.

    Args:
        shown: names of the metrics to print.
    """

    def __init__(self, shown: tuple[str, ...]):
        self._shown = shown

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints epoch, step, loss, the metrics, seconds of training and the time of day."""
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        module = ours(pl_module)
        progress = module.progress
        found = {name: progress.metrics[name] for name in self._shown if name in progress.metrics}
        shown = ", ".join(f"{name} {figure:.4f}" for name, figure in {"loss": module.loss, **found}.items())
        when = f"{progress.seconds:.0f} s, {datetime.now():%H:%M:%S}"
        print(f"epoch {progress.epoch}/{trainer.max_epochs}, step {progress.step:,}: {shown} ({when})", flush=True)


class Bar(RichProgressBar):
    """Lightning's progress bar with the loss of the last step, which is not logged to Lightning in every step."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Returns the metrics beside the bar."""
        return {**super().get_metrics(trainer, pl_module), "loss": f"{ours(pl_module).loss:.4f}"}


def watches(shown: tuple[str, ...], has_bar: bool) -> list[Callback]:
    """Returns callbacks that print lines, and show a bar on a terminal unless there is one already.

    Args:
        shown: names of the validation metrics to print.
        has_bar: whether the caller has added a bar.
    """
    return [Lines(shown), *([] if has_bar or not sys.stdout.isatty() else [Bar()])]
