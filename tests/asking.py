"""Questions asked on the command line, in Python and over HTTP."""

import base64
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from towers import api
from towers.config.composing import compose
from towers.config.overrides import quotation
from towers.errors import UserError
from towers.retrieval.export import Export
from towers.retrieval.search import Found

REMARK = "unknown to this export, and ignored: "


def by_command(export: Export, name: str, question: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> Any:
    """Returns the answer of a command, and its remark on standard error."""
    command = name.removesuffix("_content")
    given = [f"export='{export.folder}'", "check=false", *(f"{key}={spelt(value)}" for key, value in question.items())]
    found = import_module(f"towers.commands.{command}").run(compose(command, given))
    said = capsys.readouterr().err.strip().removeprefix("towers: ") or None
    if isinstance(found, Found):
        ids = [export.content_ids[row] for row in found.rows.tolist()]
        return list(zip(ids, found.scores.tolist(), strict=True)), said
    return found.tolist(), said


def spelt(value: Any) -> str:
    """Returns a value in the form that Hydra reads."""
    if isinstance(value, (str, Path)):
        return quotation(str(value))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {spelt(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple, np.ndarray)):
        return f"[{', '.join(map(spelt, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(float(value) if isinstance(value, np.floating) else value)


def in_python(opened: api.Opened, name: str, question: dict[str, Any]) -> Any:
    """Returns the answer of a method, and its warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = getattr(opened, name)(**question)
    said = str(caught[0].message) if caught else None
    if isinstance(found, np.ndarray):
        return found.tolist(), said
    return [(one["content_id"], one["score"]) for one in found], said


def over_http(client: TestClient, name: str, question: dict[str, Any]) -> Any:
    """Returns the answer to a POST, and the ids that it calls unknown.

    Raises:
        UserError: it is refused.
    """
    answer = client.post(f"/{name}", json={key: in_json(value) for key, value in question.items()})
    if answer.status_code != 200:
        raise UserError(answer.json()["error"])
    found = answer.json()
    said = REMARK + ", ".join(found["unknown_values"]) if found["unknown_values"] else None
    if "vector" in found:
        return found["vector"], said
    return [(item["content"]["content_id"], item["score"]) for item in found["items"]], said


def in_json(value: Any) -> Any:
    """Returns a question with files as they are posted, and arrays as lists."""
    if isinstance(value, Path):
        return base64.b64encode(value.read_bytes()).decode()
    return value.tolist() if isinstance(value, np.ndarray) else value


def doors(export: Export, client: TestClient, capsys: pytest.CaptureFixture[str]) -> dict[str, Callable[..., Any]]:
    """Returns, by the name of a door, a function that asks a question by name and arguments and returns answer and
    remarks.
    """
    opened = api.open(export.folder, check=False)
    return {
        "command line": lambda name, question: by_command(export, name, question, capsys),
        "Python": lambda name, question: in_python(opened, name, question),
        "HTTP": lambda name, question: over_http(client, name, question),
    }
