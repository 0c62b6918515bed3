"""Names in Weights & Biases: of the group of a data set's nights, of the runs in it, and of their artifacts."""

import re
from typing import Final, Literal

from towers.lifecycle.watching.night_state import NightState

Kind = Literal["store", "checkpoint", "export"]
"""Kinds of artifacts of a night."""
TYPES: Final[dict[Kind, str]] = {"store": "dataset", "checkpoint": "model", "export": "embeddings"}
"""Types of the kinds in Weights & Biases."""


def group_of(data: str) -> str:
    """Returns the name of the group of all runs of a data set's nights, where `logger.group` is null.

    Args:
        data: name of the data set.
    """
    return f"nights of {data}"


def group_in(state: NightState) -> str:
    """Returns the name of the group of a night's runs."""
    return state.config.get("logger", {}).get("group") or group_of(state.data)


def night_run(state: NightState) -> str:
    """Returns the name of a night's run: a night that continues after a kill has the same record, and the same run. The
    name of one that ends before it has a record contains its start."""
    night = f"{state.started:%Y%m%d-%H%M%S}" if state.record is None else state.record.night
    return f"{state.data}/night-{night}"


def rollback_run(state: NightState) -> str:
    """Returns the name of a rollback's run, by the time when the version was put back."""
    record = state.record
    when = max((one.when for one in record.remarks if one.event == "put back"), default="") if record else ""
    return f"{state.data}/rollback-{re.sub(r'[^0-9]', '', when[:19]) or f'{state.started:%Y%m%d%H%M%S}'}"


def artifact_name(data: str, kind: Kind) -> str:
    """Returns the name of a data set's artifact; its versions are those of all nights.

    >>> artifact_name("my set", "export")
    'my-set-export'
    """
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', data)}-{kind}"


def alias_of(name: str) -> str:
    """Makes an alias from a version's name: an alias may contain neither a slash nor a colon."""
    return re.sub(r"[/:\s]", "-", name)
