"""How the learning rate goes with the progress of training: functions of where a run stands, without a state."""

import math
from abc import ABC, abstractmethod


class Schedule(ABC):
    """A factor of the optimiser's learning rate."""

    @abstractmethod
    def factor(self, step: int, progress: float) -> float:
        """Factor of the learning rate, 0 to 1.

        Args:
            step: steps taken before.
            progress: share of the training that lies behind, 0 to 1.
        """


class Cosine(Schedule):
    """Rises from 0, then falls along half a cosine.

    Args:
        warmup_steps: over which it rises.
        final: factor at the end, 0 to 1.

    Raises:
        ValueError: fewer than no steps, or a factor outside of 0 to 1.
    """

    def __init__(self, warmup_steps: int, final: float):
        if warmup_steps < 0 or not 0 <= final <= 1:
            raise ValueError(f"warmup_steps={warmup_steps} must be 0 or more and final={final} lie in 0 to 1")
        self._warmup_steps = warmup_steps
        self._final = final

    def factor(self, step: int, progress: float) -> float:
        """Both at once: the rise is short."""
        rise = min(1.0, (step + 1) / self._warmup_steps) if self._warmup_steps else 1.0
        return rise * (self._final + (1 - self._final) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


class Constant(Schedule):
    """Rises from 0 and stays: for runs whose end is not known, as with early stopping.

    Args:
        warmup_steps: over which it rises.

    Raises:
        ValueError: fewer than no steps.
    """

    def __init__(self, warmup_steps: int):
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps={warmup_steps} must be 0 or more")
        self._warmup_steps = warmup_steps

    def factor(self, step: int, progress: float) -> float:
        """1 after the rise."""
        return min(1.0, (step + 1) / self._warmup_steps) if self._warmup_steps else 1.0
