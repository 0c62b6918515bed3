"""`towers retrain`: the nightly cycle, and what belongs to it: roll back, history, backtest."""

from collections.abc import Callable

from omegaconf import DictConfig
from rich.console import Console

from towers.assembly.night import night_plan
from towers.commands.backtest import backtest
from towers.commands.night import night
from towers.commands.progress import StageProgress
from towers.config.instantiate import value
from towers.errors import UserError
from towers.lifecycle.history import history_table
from towers.lifecycle.rollback import roll_back


def run(config: DictConfig) -> None:
    """Does what `action` names."""
    action = value(config, "action", str)
    if action not in ACTIONS:
        raise UserError(f"action={action}: must be one of {', '.join(ACTIONS)}")
    ACTIONS[action](config)


def rolled_back(config: DictConfig) -> None:
    """Puts the version before back, or the one that `to` names; does not wait for a night that runs."""
    plan = night_plan(config)
    to, why = (value(plan.config, key, str | None) for key in ("to", "why"))
    with StageProgress() as progress:
        lines = roll_back(plan.ledger, plan.sink, to, why or "", progress.update)
    print("\n".join(lines))


def history(config: DictConfig) -> None:
    """Prints all versions and nights."""
    plan = night_plan(config)
    Console().print(history_table(plan.ledger.entries(), plan.main_metric))


ACTIONS: dict[str, Callable[[DictConfig], object]] = {
    "night": lambda config: night(night_plan(config)),
    "rollback": rolled_back,
    "history": history,
    "backtest": backtest,
}
"""By their names, what the command can do."""
