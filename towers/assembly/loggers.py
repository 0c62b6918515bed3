"""Loggers of a run's metrics: the CSV, and those that `logger` and `loggers` name."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers.logger import Logger

from towers.config.instantiate import Factory, factory
from towers.config.sweeping import sweep_name
from towers.errors import UserError
from towers.training.loggers import CsvLogger


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggerPart:
    """A logger that is built once a run's folder is known.

    Args:
        build: builds the logger.
        is_ours: whether it takes `save_dir` and `name`; another one gets the folder where it takes one and has none.
    """

    build: Factory
    is_ours: bool

    def of(self, folder: Path, experiment: str) -> Logger:
        """Builds the logger of the run in `folder`.

        Raises:
            UserError: it is no logger of Lightning.
        """
        target, given = self.build.target, self.build.made.keywords
        taken = inspect.signature(target).parameters
        facts: dict[str, Any] = {"save_dir": folder}
        if self.is_ours:
            facts["name"] = f"{experiment}/{folder.name}"
            known = {"group": sweep_name(), "job_type": None}  # unless the configuration gives them, as a night's does
            facts |= {key: each for key, each in known.items() if key in taken and key not in given}
        elif "save_dir" in given or "save_dir" not in taken:
            facts = {}
        logger = self.build(**facts)
        if not isinstance(logger, Logger):
            raise UserError(f"{self.build.key}: {target.__module__}.{target.__qualname__} is no logger of Lightning")
        return logger


def logger_parts(config: DictConfig) -> tuple[LoggerPart, ...]:
    """Reads the loggers that `logger` and `loggers` name.

    Raises:
        UserError: an entry is no logger.
    """
    nodes = {"logger": config.logger, **{f"loggers[{place}]": node for place, node in enumerate(config.loggers)}}
    return tuple(_part(key, node) for key, node in nodes.items() if node)


def _part(key: str, node: Any) -> LoggerPart:
    if not OmegaConf.is_dict(node):
        raise UserError(f"{key}={node}: give a logger by its _target_, such as pytorch_lightning.loggers.CSVLogger")
    values: Any = OmegaConf.to_container(node, resolve=True)
    return LoggerPart(build=factory({**values, "_partial_": True}, key), is_ours=bool(values.get("_partial_")))


def loggers_of(parts: Sequence[LoggerPart], folder: Path, experiment: str, config: dict[str, Any]) -> list[Logger]:
    """Builds the CSV logger and the others, which write into the run's folder, and passes them the configuration."""
    named = [part.of(folder, experiment) for part in parts]
    for logger in named:
        logger.log_hyperparams(config)
    return [CsvLogger(folder / "metrics.csv"), *named]
