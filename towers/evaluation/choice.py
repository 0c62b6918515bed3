"""What tuning tried, chose and cost, as it stands in `metrics.json`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One setting and its mean on the validation period.

    Args:
        settings: that were tried.
        figure: the mean over the listeners judged.
        listeners: how many were judged.
        error: standard error of its distance from the best that was judged on as many, over the same listeners.
        core_seconds: that fitting and judging took.
    """

    settings: Mapping[str, Any]
    figure: float
    listeners: int = 0
    error: float = 0.0
    core_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreSeconds:
    """What a baseline cost, in seconds of a processor: of tuning, of the fit for good, and of ranking for all."""

    tuning: float = 0.0
    fit: float = 0.0
    ranking: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was chosen for a baseline, and from what.

    Args:
        settings: the best; empty where nothing was tried, and the baseline stays as it is configured.
        metric: that decided; null where nothing was tried.
        trials: all that were tried.
        left_out: settings that were not tried, for the budget was spent.
        listeners_left_out: how many more listeners were still to judge what lies close, when the budget was spent.
        is_on_evaluated_period: whether the period chosen on is the one that is reported, which flatters the baseline.
        core_seconds: what it cost.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    metric: str | None = None
    trials: tuple[Trial, ...] = ()
    left_out: tuple[Mapping[str, Any], ...] = ()
    listeners_left_out: int = 0
    is_on_evaluated_period: bool = False
    core_seconds: CoreSeconds = field(default_factory=CoreSeconds)

    def as_dict(self) -> dict[str, Any]:
        """Returns the same as plain values for JSON."""
        return {
            **asdict(self),
            "trials": [asdict(trial) for trial in self.trials],
            "left_out": [dict(settings) for settings in self.left_out],
        }


def is_complete(choice: Mapping[str, Any]) -> bool:
    """Whether the budget sufficed for all that there was to try (`Choice.as_dict`)."""
    return not choice["left_out"] and not choice["listeners_left_out"]
