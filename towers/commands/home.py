"""`towers home`: the policy of the home page, from a simulated world to the version that serves."""

from collections.abc import Callable

from omegaconf import DictConfig

from towers.commands import home_policy, home_simulation, home_visits
from towers.config.instantiate import value
from towers.errors import UserError


def run(config: DictConfig) -> None:
    """Runs the action that `action` names."""
    action = value(config, "action", str)
    if action not in ACTIONS:
        raise UserError(f"action={action}: must be one of {', '.join(ACTIONS)}")
    ACTIONS[action](config)


ACTIONS: dict[str, Callable[[DictConfig], object]] = {
    "simulate": home_simulation.simulate,
    "train": home_policy.train,
    "update": home_policy.update,
    "evaluate": home_policy.evaluate,
    "gate": home_policy.gate,
    "visit": home_visits.visits,
    "show": home_visits.show,
    "log": home_policy.write_log,
    "rollback": home_policy.rolled_back,
}
"""Actions of the command by their names."""
