"""What a run shows while it trains: a line a validation, and on a terminal a bar."""

import sys
from datetime import datetime
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, RichProgressBar

from towers.training.module import ours


class Lines(Callback):
    """A line a validation.

    Args:
        shown: the metrics to tell.
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
    """Lightning's own, with the loss of the last step, which is not logged to Lightning in every step."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """What stands beside the bar."""
        return {**super().get_metrics(trainer, pl_module), "loss": f"{ours(pl_module).loss:.4f}"}


def watches(shown: tuple[str, ...], has_bar: bool) -> list[Callback]:
    """Lines, and a bar on a terminal that has none yet.

    Args:
        shown: the validation metrics to tell.
        has_bar: whether a caller has brought a bar.
    """
    return [Lines(shown), *([] if has_bar or not sys.stdout.isatty() else [Bar()])]
