"""Readers of the files in `deploy/`."""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import yaml

from towers.errors import ExitCode

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
REFUSED, MISTAKE, TERMINATED = ExitCode.REFUSED, ExitCode.CALLER, ExitCode.TERMINATED
"""Exit codes that schedulers tell apart: refused by the gate, a mistake of the caller, saved on SIGTERM."""


def documents(name: str) -> list[dict[str, Any]]:
    """Returns the documents of a YAML file of `deploy/`."""
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def compose_words(service: str) -> list[str]:
    """Returns the arguments that a service of the compose file gives `towers`, its variables filled in."""
    (compose,) = documents("compose.yaml")
    asked = compose["services"][service]
    words = shlex.split(_filled(asked["entrypoint"])) if "entrypoint" in asked else asked["command"]
    return [word for word in map(str, words) if word not in ("tini", "--", "towers")]


def pod_of(document: dict[str, Any]) -> dict[str, Any]:
    """Returns the pod's specification in a CronJob or a Deployment."""
    spec = document["spec"]
    return (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]["spec"]


def kubernetes_words(name: str) -> list[str]:
    """Returns the arguments of the one container in a file's first document, with values for its variables."""
    (container,) = pod_of(documents(f"kubernetes/{name}")[0])["containers"]
    return [_filled(str(word)) for word in container["args"]]


def unit(name: str) -> list[tuple[str, str]]:
    """Returns the settings of a systemd unit in their order; a repeated name is repeated."""
    lines = (DEPLOY / "systemd" / name).read_text().splitlines()
    pairs = [line.partition("=") for line in lines if line and line[0] not in "#["]
    return [(key, value) for key, _, value in pairs]


def unit_words(name: str) -> list[str]:
    """Returns the command of a systemd service without the program, with values for its variables."""
    (command,) = [value for key, value in unit(name) if key == "ExecStart"]
    return [word for word in map(_filled, command.split()[1:]) if word]


def hand_words(*words: str, folder: Path) -> tuple[list[str], list[str]]:
    """Returns what `towers-run` gives systemd for these arguments: the options, and the words for `towers` filled in.

    Args:
        words: arguments of `towers-run`.
        folder: for a `systemd-run` that prints what it was given; there is no systemd where tests are run.
    """
    shown = folder / "systemd-run"
    shown.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    shown.chmod(0o755)
    done = subprocess.run(
        [DEPLOY / "systemd" / "towers-run", *words], check=True, capture_output=True, text=True,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
    )  # fmt: skip
    asked = done.stdout.split("\0")[:-1]
    at = asked.index("--")
    filled = [_filled(word).replace("$$", "$") for word in asked[at + 2 :]]
    return asked[:at], [word for word in filled if word]


def _filled(text: str) -> str:
    """Replaces the variables of a text: an experiment by one that exists, overrides by nothing, any other by a
    folder.
    """
    text = re.sub(r"(?<!\$)\$(?:OVERRIDES\b|\{\w*OVERRIDES[^}]*\})", "", text)
    text = re.sub(r"(?<=experiment=)\$[({][^})]*[)}]", "catalogue", text)
    return re.sub(r"(?<!\$)\$[({][^})]*[)}]", "/data", text)
