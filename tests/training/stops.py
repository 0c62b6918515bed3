"""Ends of a run at any place: by a signal, a kill, or an exception in the place of a kill."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

PLACES = (
    "on_train_epoch_start", "on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end",
    "on_validation_start", "on_validation_batch_start", "on_validation_batch_end", "on_validation_end",
    "on_save_checkpoint", "on_train_epoch_end",
)  # fmt: skip
"""Lightning's hooks, in the order of their calls."""


class Killed(Exception):
    """Stands for SIGKILL where only the place counts: nothing after it is saved."""


class At(pl.Callback):
    """Does something once, in the first call of a hook after so many steps.

    Args:
        place: the hook.
        step: number of steps taken by then.
        act: function that is called.
    """

    def __init__(self, place: str, step: int, act: Callable[[], Any]):
        self._step = step
        self._act: Callable[[], Any] | None = act
        setattr(self, place, self._reached)

    def _reached(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        if self._act is not None and module.progress.step >= self._step:
            act, self._act = self._act, None
            act()


def die() -> None:
    """Ends the run as a kill does: none of its own code runs afterwards."""
    raise Killed


def signalled(number: int) -> Callable[[], None]:
    """Sends a signal to this process."""
    return lambda: os.kill(os.getpid(), number)


def killed_in_a_child(train: Callable[[], Any]) -> None:
    """Trains in a forked process, which must end by SIGKILL."""
    import torch

    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)  # a pool of threads does not live through a fork
        train()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
