"""How the learning rate goes with the progress of training: functions of where a run stands, without a state."""

import math
from abc import ABC, abstractmethod


class Schedule(ABC):
    """A factor of the optimiser's learning rate.

    Args:
        warmup_share: of the training, over which the factor rises from 0; 0: none.
        max_warmup_steps: after which it has risen in any case.

    Raises:
        ValueError: a share outside of 0 to 1, or fewer than no steps.
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
        """Factor of the learning rate, 0 to 1.

        Args:
            step: steps taken before.
            progress: share of the training that lies behind, 0 to 1.
        """

    def risen(self, step: int, progress: float) -> float:
        """How far the rise has come, 0 to 1: by steps or by progress, whichever is farther, so that a training of few
        steps does not spend them on it. Arguments as those of `factor`."""
        if not self._warmup_share or not self._max_warmup_steps:
            return 1.0
        return min(1.0, max((step + 1) / self._max_warmup_steps, progress / self._warmup_share))


class Cosine(Schedule):
    """Rises from 0, then falls along half a cosine.

    Args:
        warmup_share: of the training, over which it rises; 0: none.
        max_warmup_steps: after which it has risen in any case.
        final: factor at the end, 0 to 1.

    Raises:
        ValueError: fewer than no steps, or a share or factor outside of 0 to 1.
    """

    def __init__(self, warmup_share: float, max_warmup_steps: int, final: float):
        super().__init__(warmup_share, max_warmup_steps)
        if not 0 <= final <= 1:
            raise ValueError(f"final={final} must lie in 0 to 1")
        self._final = final

    def factor(self, step: int, progress: float) -> float:
        """Both at once: the rise is short."""
        fall = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return self.risen(step, progress) * (self._final + (1 - self._final) * fall)


class Continuing(Cosine):
    """A cosine that rises to less than the full rate, for a network that has been trained before.

    Args:
        warmup_share: of the training, over which it rises; 0: none.
        max_warmup_steps: after which it has risen in any case.
        peak: factor to which it rises, 0 to 1.

    Raises:
        ValueError: fewer than no steps, or a share or factor outside of 0 to 1.
    """

    def __init__(self, warmup_share: float, max_warmup_steps: int, peak: float):
        super().__init__(warmup_share, max_warmup_steps, final=0.0)
        if not 0 <= peak <= 1:
            raise ValueError(f"peak={peak} must lie in 0 to 1")
        self._peak = peak

    def factor(self, step: int, progress: float) -> float:
        """The cosine's, times the peak."""
        return self._peak * super().factor(step, progress)


class Constant(Schedule):
    """Rises from 0 and stays: for runs whose end is not known, as with early stopping.

    Args:
        warmup_share: of the training, over which it rises; 0: none.
        max_warmup_steps: after which it has risen in any case.

    Raises:
        ValueError: a share outside of 0 to 1, or fewer than no steps.
    """

    def factor(self, step: int, progress: float) -> float:
        """1 after the rise."""
        return self.risen(step, progress)
