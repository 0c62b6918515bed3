"""`towers home`: the policy of the home page, from a simulated world to the version that serves."""

from collections.abc import Callable

from omegaconf import DictConfig

from towers.commands.home_simulation import simulate
from towers.config.instantiate import value
from towers.errors import UserError


def run(config: DictConfig) -> None:
    """Does what `action` names."""
    action = value(config, "action", str)
    if action not in ACTIONS:
        raise UserError(f"action={action}: must be one of {', '.join(ACTIONS)}")
    ACTIONS[action](config)


ACTIONS: dict[str, Callable[[DictConfig], object]] = {
    "simulate": simulate,
}
"""By their names, what the command can do."""
