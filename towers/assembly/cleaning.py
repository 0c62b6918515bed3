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
"""What reading a run's configuration raises where it is damaged or gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleaningPlan:
    """What `towers clean` does.

    Args:
        folders: that it looks into.
        keep: how many of each kind stay.
        older_than_days: age from which on something may go.
        is_trial: whether it only says what would go.
    """

    folders: Folders
    keep: Keep
    older_than_days: float
    is_trial: bool


def cleaning_plan(config: DictConfig) -> CleaningPlan:
    """Turns the configuration of `towers clean` into a plan.

    Raises:
        UserError: a key that does not fit.
    """
    numbers = {name: value(config, f"keep.{name}", int) for name in ("runs", "stores", "exports")}
    return CleaningPlan(
        folders=folders_of(config),
        keep=Keep(**numbers),
        older_than_days=value(config, "older_than_days", float),
        is_trial=value(config, "dry_run", bool),
    )


def folders_of(config: DictConfig) -> Folders:
    """Reads where things stand, as `paths` has it."""
    return Folders(**{each.name: Path(value(config, f"paths.{each.name}", str)) for each in fields(Folders)})


def config_digest(folder: Path) -> str | None:
    """Gives the digest of a run's configuration, which its exports' manifests have; null where it cannot be read."""
    with suppress(*UNREADABLE):
        return digest_of_run(resolved(config_of_run(folder)))
    return None


def origin_of(folder: Path) -> Origin:
    """Tells what a run was made with, as far as that can be read."""
    twin = None
    with suppress(*UNREADABLE):
        if until_of(config_of_run(folder)) != "validation":
            twin = twin_of(folder)
    return Origin(config=config_digest(folder), twin=twin)
