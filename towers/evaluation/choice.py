"""Record of a tuning in `metrics.json`: trials, chosen settings and cost."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One combination of settings and its mean on the validation period.

    Args:
        settings: settings that were tried.
        figure: mean of the metric over the evaluated listeners.
        listeners: number of evaluated listeners.
        error: standard error of its paired difference to the best trial on the same listeners.
        core_seconds: processor seconds of the fit and the evaluation.
    """

    settings: Mapping[str, Any]
    figure: float
    listeners: int = 0
    error: float = 0.0
    core_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreSeconds:
    """Cost of a baseline in processor seconds: of tuning, of the final fit, and of ranking for all listeners."""

    tuning: float = 0.0
    fit: float = 0.0
    ranking: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Chosen settings of a baseline, and the trials behind them.

    Args:
        settings: best settings; empty if nothing was tried and the baseline stays as configured.
        metric: metric that decided; null if nothing was tried.
        trials: all trials.
        left_out: settings that were not tried because the budget was spent.
        listeners_left_out: number of further listeners on whom close trials were not evaluated, for the same reason.
        is_on_evaluated_period: whether the settings were chosen on the reported period, which favours the baseline.
        core_seconds: cost of the baseline.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    metric: str | None = None
    trials: tuple[Trial, ...] = ()
    left_out: tuple[Mapping[str, Any], ...] = ()
    listeners_left_out: int = 0
    is_on_evaluated_period: bool = False
    core_seconds: CoreSeconds = field(default_factory=CoreSeconds)

    def as_dict(self) -> dict[str, Any]:
        """Returns the choice as plain values for JSON."""
        return {
            **asdict(self),
            "trials": [asdict(trial) for trial in self.trials],
            "left_out": [dict(settings) for settings in self.left_out],
        }


def is_complete(choice: Mapping[str, Any]) -> bool:
    """Returns whether the budget sufficed for all trials of a choice (in the form of `Choice.as_dict`)."""
    return not choice["left_out"] and not choice["listeners_left_out"]
