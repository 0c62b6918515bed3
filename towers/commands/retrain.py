"""`towers retrain`: the nightly cycle, its rollback, history and backtest.

Modules are imported by the action that needs them: a rollback does not wait for torch.
"""

import time
from collections.abc import Callable

from omegaconf import DictConfig

from towers.assembly.versions import state_of, versions_of
from towers.commands.printed import print_table
from towers.commands.progress import StageProgress
from towers.config.instantiate import value
from towers.errors import UserError
from towers.lifecycle.history import history_table
from towers.lifecycle.rollback import roll_back
from towers.lifecycle.watching.watcher import Watch, serving


def run(config: DictConfig) -> None:
    """Runs the action that `action` names."""
    action = value(config, "action", str)
    if action not in ACTIONS:
        raise UserError(f"action={action}: must be one of {', '.join(ACTIONS)}")
    ACTIONS[action](config)


def run_night(config: DictConfig) -> None:
    """Runs the cycle once."""
    from towers.assembly.night import night_plan
    from towers.commands.night import night

    night(night_plan(config))


def replay(config: DictConfig) -> None:
    """Runs the cycle over past days."""
    from towers.commands.backtest import backtest

    backtest(config)


def rolled_back(config: DictConfig) -> None:
    """Makes the version before the served one serve again, or the one that `to` names; does not wait for a running
    night."""
    versions = versions_of(config)
    to, why = (value(config, key, str | None) for key in ("to", "why"))
    watch, before = Watch(versions.watchers, state_of(config, versions.ledger)), serving(versions.ledger)
    begun = time.perf_counter()
    with StageProgress() as progress:
        lines = roll_back(versions.ledger, versions.sink, to, why or "", progress.update)
    print("\n".join(lines), f"({time.perf_counter() - begun:.2f} s)", flush=True)
    watch.put_back(versions.ledger, before)


def history(config: DictConfig) -> None:
    """Prints all versions and nights."""
    versions = versions_of(config)
    print_table(history_table(versions.ledger.entries(), versions.main_metric))


ACTIONS: dict[str, Callable[[DictConfig], object]] = {
    "night": run_night,
    "rollback": rolled_back,
    "history": history,
    "backtest": replay,
}
"""Actions of the command by their names."""
