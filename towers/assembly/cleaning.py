"""`towers clean`: its configuration to a plan."""

from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from towers.assembly.prepared import until_of
from towers.assembly.twin import twin_of
from towers.config.composing import config_of_run, resolved
from towers.config.instantiate import value
from towers.config.signature import digest_of_run
from towers.errors import UserError
from towers.lifecycle.cleaning import Keep
from towers.lifecycle.inventory import Folders, Origin

UNREADABLE = (OmegaConfBaseException, YAMLError, OSError, AssertionError, UnicodeDecodeError, UserError)
"""Exceptions from reading a run's configuration that is damaged or missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleaningPlan:
    """Plan of `towers clean`.

    Args:
        folders: folders that are searched.
        keep: number of things of each kind that stay.
        older_than_days: least age, in days, of a thing that is removed.
        is_trial: whether to report only.
    """

    folders: Folders
    keep: Keep
    older_than_days: float
    is_trial: bool


def cleaning_plan(config: DictConfig) -> CleaningPlan:
    """Turns the configuration of `towers clean` into a plan.

    Raises:
        UserError: a key does not fit.
    """
    numbers = {name: value(config, f"keep.{name}", int) for name in ("runs", "stores", "exports")}
    return CleaningPlan(
        folders=folders_of(config),
        keep=Keep(**numbers),
        older_than_days=value(config, "older_than_days", float),
        is_trial=value(config, "dry_run", bool),
    )


def folders_of(config: DictConfig) -> Folders:
    """Reads the folders that `paths` names."""
    return Folders(**{each.name: Path(value(config, f"paths.{each.name}", str)) for each in fields(Folders)})


def config_digest(folder: Path) -> str | None:
    """Returns the digest of a run's configuration, which its exports' manifests contain; null where it cannot be
    read."""
    with suppress(*UNREADABLE):
        return digest_of_run(resolved(config_of_run(folder)))
    return None


def origin_of(folder: Path) -> Origin:
    """Returns what a run was made with, as far as that can be read."""
    twin = None
    with suppress(*UNREADABLE):
        if until_of(config_of_run(folder)) != "validation":
            twin = twin_of(folder)
    return Origin(config=config_digest(folder), twin=twin)
