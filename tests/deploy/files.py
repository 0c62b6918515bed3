"""What stands in `deploy/`, as the tests read it."""

import re
from pathlib import Path
from typing import Any

import yaml

from towers.errors import ExitCode

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
REFUSED, MISTAKE, TERMINATED = ExitCode.REFUSED, ExitCode.CALLER, ExitCode.TERMINATED
"""Exit codes that schedulers tell apart: refused by the gate, the caller's mistake, saved on SIGTERM."""


def documents(name: str) -> list[dict[str, Any]]:
    """The documents of a YAML file of `deploy/`."""
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def compose_words(service: str) -> list[str]:
    """The command of a service of the compose file, its variables set to something."""
    (compose,) = documents("compose.yaml")
    return [_filled(str(word)) for word in compose["services"][service]["command"]]


def pod_of(document: dict[str, Any]) -> dict[str, Any]:
    """The pod's specification in a CronJob or a Deployment."""
    spec = document["spec"]
    return (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]["spec"]


def kubernetes_words(name: str) -> list[str]:
    """The arguments of the one container of the first document of a file, its variables set to something."""
    (container,) = pod_of(documents(f"kubernetes/{name}")[0])["containers"]
    return [_filled(str(word)) for word in container["args"]]


def unit(name: str) -> list[tuple[str, str]]:
    """The settings of a unit of systemd, in their order; several of one name stand in it several times."""
    lines = (DEPLOY / "systemd" / name).read_text().splitlines()
    pairs = [line.partition("=") for line in lines if line and line[0] not in "#["]
    return [(key, value) for key, _, value in pairs]


def unit_words(name: str) -> list[str]:
    """The command of a service of systemd, its variables set to something, without the program."""
    (command,) = [value for key, value in unit(name) if key == "ExecStart"]
    return [_filled(word) for word in command.split()[1:] if word != "$OVERRIDES"]


def _filled(word: str) -> str:
    """An experiment that there is in the place of a variable's experiment, and a folder in the place of any other."""
    return re.sub(r"\$[({][^})]*[)}]", "catalogue" if word.startswith("experiment=") else "/data", word)
