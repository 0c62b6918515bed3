"""The versions of a data set and their readers: what a rollback and the history need, without torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from towers.config.composing import resolved
from towers.config.instantiate import instantiate, value
from towers.errors import UserError
from towers.lifecycle.ledger import Ledger
from towers.lifecycle.watching.night_state import NightState
from towers.lifecycle.watching.wandb_night import WandbNight
from towers.lifecycle.watching.watcher import Watcher
from towers.publishing.sinks.sink import Sink
from towers.secrets import masked_settings

WANDB: Final = "towers.training.loggers.wandb_logger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The published versions of a data set.

    Args:
        ledger: ledger of the data set's nights.
        sink: engine that readers query.
        main_metric: metric that decides.
        watchers: watchers of nights and rollbacks, by name.
    """

    ledger: Ledger
    sink: Sink
    main_metric: str
    watchers: Mapping[str, Watcher]


def versions_of(config: DictConfig) -> Versions:
    """Reads the places of versions from the configuration of `towers retrain`.

    Raises:
        UserError: a key does not fit.
    """
    nights, exports, runs = (Path(value(config, f"paths.{name}", str)) for name in ("nights", "exports", "runs"))
    return Versions(
        ledger=Ledger(folder=nights / value(config, "data.name", str), exports=exports, runs=runs),
        sink=instantiate(config.sink, "sink"),
        main_metric=value(config, "evaluation.main_metric", str),
        watchers=_watchers(config),
    )


def state_of(config: DictConfig, ledger: Ledger) -> NightState:
    """Returns the state that watchers of a night are given at its beginning.

    Args:
        config: configuration of `towers retrain`.
        ledger: ledger of the data set.
    """
    return NightState(
        data=value(config, "data.name", str),
        experiment=value(config, "name", str),
        started=datetime.now(UTC),
        root=None if OmegaConf.is_missing(config.data, "root") else value(config, "data.root", str | None),
        project=wandb_project(config),
        config=_plain(config),
        nights=ledger.folder,
        runs=ledger.runs,
    )


def wandb_project(config: DictConfig) -> str | None:
    """Returns the project of Weights & Biases that trainings are logged to; null where they are not."""
    logger = OmegaConf.select(config, "logger")
    if not logger or logger.get("_target_") != WANDB or os.environ.get("WANDB_MODE") == "disabled":
        return None
    return logger.project


def _plain(config: DictConfig) -> dict[str, Any]:
    """Returns the configuration as plain values without secrets; unresolved for a rollback that does not know the raw
    data."""
    written = OmegaConf.to_container(config, resolve=False)
    try:
        found = resolved(config)
    except OmegaConfBaseException:
        assert isinstance(written, dict)
        found = {str(name): each for name, each in written.items()}
    return masked_settings(found, written)


def _watchers(config: DictConfig) -> dict[str, Watcher]:
    """Builds the watchers that `watchers` names; one that is null, or not switched on, is left out.

    Raises:
        UserError: a key does not fit, or a class is no watcher.
    """
    built = {
        str(name): instantiate(node, f"watchers.{name}") for name, node in config.watchers.items() if node is not None
    }
    for name, watcher in built.items():
        if not isinstance(watcher, Watcher):
            raise UserError(f"watchers.{name}: {type(watcher).__name__} is no {Watcher.__module__}.Watcher")
    goes_there = wandb_project(config) is not None
    return {
        name: watcher
        for name, watcher in built.items()
        if watcher.is_on and (goes_there or not isinstance(watcher, WandbNight))
    }
