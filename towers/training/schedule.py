"""Schedules of the learning rate: stateless functions of a run's progress."""

import math
from abc import ABC, abstractmethod


class Schedule(ABC):
    """A factor of the optimiser's learning rate over the course of a training.

    Args:
        warmup_share: share of the training over which the factor rises from 0; 0: no warm-up.
        max_warmup_steps: steps after which the warm-up ends in any case.

    Raises:
        ValueError: warmup_share is outside of 0 to 1, or max_warmup_steps below 0.
    """

    def __init__(self, warmup_share: float, max_warmup_steps: int):
        if not 0 <= warmup_share <= 1 or max_warmup_steps < 0:
            raise ValueError(
                f"warmup_share={warmup_share} must lie in 0 to 1 and max_warmup_steps={max_warmup_steps} be 0 or more"
            )
        self._warmup_share = warmup_share
        self._max_warmup_steps = max_warmup_steps

    @abstractmethod
    def factor(self, step: int, progress: float) -> float:
        """Returns the factor of the learning rate, 0 to 1.

        Args:
            step: number of steps taken before.
            progress: share of the training that is done, 0 to 1.
        """

    def risen(self, step: int, progress: float) -> float:
        """Returns the warm-up's factor, 0 to 1: the larger of its shares done by steps and by progress, so that a short
        training is not all warm-up. Arguments as for `factor`."""
        if not self._warmup_share or not self._max_warmup_steps:
            return 1.0
        return min(1.0, max((step + 1) / self._max_warmup_steps, progress / self._warmup_share))


class Cosine(Schedule):
    """Schedule that rises from 0, then falls along half a cosine.

    Args:
        warmup_share: share of the training over which the factor rises; 0: no warm-up.
        max_warmup_steps: steps after which the warm-up ends in any case.
        final: factor at the end, 0 to 1.

    Raises:
        ValueError: a share or factor is outside of 0 to 1, or max_warmup_steps below 0.
    """

    def __init__(self, warmup_share: float, max_warmup_steps: int, final: float):
        super().__init__(warmup_share, max_warmup_steps)
        if not 0 <= final <= 1:
            raise ValueError(f"final={final} must lie in 0 to 1")
        self._final = final

    def factor(self, step: int, progress: float) -> float:
        """Returns the product of the warm-up and the cosine, which run at once, as the warm-up is short."""
        fall = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return self.risen(step, progress) * (self._final + (1 - self._final) * fall)


class Continuing(Cosine):
    """Cosine schedule with a peak below the full rate, for a network that was trained before.

    Args:
        warmup_share: share of the training over which the factor rises; 0: no warm-up.
        max_warmup_steps: steps after which the warm-up ends in any case.
        peak: highest factor, 0 to 1.

    Raises:
        ValueError: a share or factor is outside of 0 to 1, or max_warmup_steps below 0.
    """

    def __init__(self, warmup_share: float, max_warmup_steps: int, peak: float):
        super().__init__(warmup_share, max_warmup_steps, final=0.0)
        if not 0 <= peak <= 1:
            raise ValueError(f"peak={peak} must lie in 0 to 1")
        self._peak = peak

    def factor(self, step: int, progress: float) -> float:
        """Returns the cosine schedule's factor times the peak."""
        return self._peak * super().factor(step, progress)


class Constant(Schedule):
    """Schedule that rises from 0 and stays at 1, for runs of unknown length, as with early stopping.

    Args:
        warmup_share: share of the training over which the factor rises; 0: no warm-up.
        max_warmup_steps: steps after which the warm-up ends in any case.

    Raises:
        ValueError: warmup_share is outside of 0 to 1, or max_warmup_steps below 0.
    """

    def factor(self, step: int, progress: float) -> float:
        """Returns the warm-up's factor, 1 after it."""
        return self.risen(step, progress)
