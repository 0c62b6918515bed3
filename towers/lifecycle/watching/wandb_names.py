"""Names in Weights & Biases: of the group of a data set's nights, of the runs in it, and of their artifacts."""

import re
from typing import Final, Literal

from towers.lifecycle.watching.night_state import NightState

Kind = Literal["store", "checkpoint", "export"]
"""What a night has artifacts of."""
TYPES: Final[dict[Kind, str]] = {"store": "dataset", "checkpoint": "model", "export": "embeddings"}
"""Their types in Weights & Biases."""


def group_of(data: str) -> str:
    """Names the group of all runs of a data set's nights, unless `logger.group` does.

    Args:
        data: name of the data set.
    """
    return f"nights of {data}"


def group_in(state: NightState) -> str:
    """Names the group that a night's runs are in."""
    return state.config.get("logger", {}).get("group") or group_of(state.data)


def night_run(state: NightState) -> str:
    """Names the run of a night: a night that goes on after a kill has the same record, and goes on with the same run.
    One that ends before it has a record has its beginning in its name."""
    night = f"{state.started:%Y%m%d-%H%M%S}" if state.record is None else state.record.night
    return f"{state.data}/night-{night}"


def rollback_run(state: NightState) -> str:
    """Names the run of a roll back, by when the version was put back."""
    record = state.record
    when = max((one.when for one in record.remarks if one.event == "put back"), default="") if record else ""
    return f"{state.data}/rollback-{re.sub(r'[^0-9]', '', when[:19]) or f'{state.started:%Y%m%d%H%M%S}'}"


def artifact_name(data: str, kind: Kind) -> str:
    """Names the artifact of a data set; its versions are those of all nights.

    >>> artifact_name("my set", "export")
    'my-set-export'
    """
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', data)}-{kind}"


def alias_of(name: str) -> str:
    """Makes an alias of a version's name: one may hold neither a slash nor a colon."""
    return re.sub(r"[/:\s]", "-", name)
