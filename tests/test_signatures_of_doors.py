"""The table of docs/serving.md on the arguments of each door, with reasons for missing ones, agrees with the code."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from pydantic import BaseModel

from towers import api
from towers.config.keys import keys_of_command
from towers.service import playlist_questions, questions

ROOT = Path(__file__).parents[1]
QUESTIONS = ("recommend", "similar", "embed", "embed_content")
COMMANDS = {
    "recommend": ("recommend",),
    "similar": ("similar",),
    "embed": ("embed", "embed_content"),
    "playlists": ("playlist",),
}
"""Questions that each command asks."""
BODIES: dict[str, type[BaseModel]] = {
    "recommend": questions.RecommendQuestion,
    "similar": questions.SimilarQuestion,
    "embed": questions.EmbedQuestion,
    "embed_content": questions.EmbedContentQuestion,
    "playlist": playlist_questions.ListQuestion,
}
META = ("command", "hydra", "defaults")


@dataclass(frozen=True)
class Row:
    """An argument of a question, and for each door `yes` or the reason why not."""

    question: str
    argument: str
    command_line: str
    python: str
    http: str


def table() -> Iterator[Row]:
    _, _, section = (ROOT / "docs" / "serving.md").read_text().partition("\n## All arguments\n")
    for line in section.partition("\n## ")[0].splitlines():
        if line.startswith("| `"):
            asked, arguments, *doors = (cell.strip() for cell in line.strip("|").split("|"))
            for question in re.findall(r"`(\w+)`", asked):
                for argument in re.findall(r"`(\w+)`", arguments):
                    yield Row(question, argument, *doors)


def told(door: str, *asked: str) -> set[str]:
    """Returns the arguments that a door takes by the table."""
    return {row.argument for row in table() if row.question in asked and getattr(row, door) == "yes"}


def of_function(function: Callable[..., Any]) -> dict[str, Any]:
    """Returns defaults by argument."""
    return {name: one.default for name, one in inspect.signature(function).parameters.items() if name != "self"}


def of_command(command: str) -> dict[str, Any]:
    own = OmegaConf.load(ROOT / "configs" / f"{command}.yaml")
    found = OmegaConf.to_container(own, resolve=False)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items() if key not in META}


def of_body(question: str) -> dict[str, Any]:
    return {name: field.get_default() for name, field in BODIES[question].model_fields.items()}


def test_every_row_is_there_once_and_every_gap_has_a_reason() -> None:
    rows = list(table())
    assert len(rows) == len({(row.question, row.argument) for row in rows})
    for row in rows:
        cells = (row.command_line, row.python, row.http)
        assert "yes" in cells
        assert all(cell == "yes" or len(cell.split()) >= 4 for cell in cells), row


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line(command: str) -> None:
    assert of_command(command).keys() == told("command_line", *COMMANDS[command])
    assert {key for key in keys_of_command(command) if "." not in key} - {*META} == of_command(command).keys()


@pytest.mark.parametrize("question", [*QUESTIONS, "playlist", "withheld"])
def test_python(question: str) -> None:
    opened = of_function(getattr(api.Opened, question))
    assert opened.keys() == told("python", question) - {"export"}
    if question != "withheld":  # it is for callers that hold the export open beside an engine
        folder = of_function(getattr(api, question))
        assert folder.keys() == told("python", question)
        assert {name: default for name, default in folder.items() if name != "export"} == opened
    public = {name for name, _ in inspect.getmembers(api.Opened, inspect.isfunction) if not name.startswith("_")}
    assert public == {*QUESTIONS, "playlist", "withheld"}


@pytest.mark.parametrize("question", [*QUESTIONS, "playlist"])
def test_http(question: str) -> None:
    assert of_body(question).keys() == told("http", question)


def test_http_by_address() -> None:
    for name, parameters in (("recommend", questions.ListenerFilter), ("similar", questions.ContentFilter)):
        apart = {"history", "features", "vector", "audio", "metadata"}
        assert parameters.model_fields.keys() == told("http", name) - apart
        assert {key: field.get_default() for key, field in parameters.model_fields.items()}.items() <= {
            **of_body(name)
        }.items()


@pytest.mark.parametrize("question", [*QUESTIONS, "playlist"])
def test_defaults_are_the_same(question: str) -> None:
    """A parameter that is left out means the same in all doors; none may be null, an empty list or an empty mapping."""

    def plain(default: Any) -> Any:
        default = list(default) if isinstance(default, tuple) else default
        return None if default in ([], {}) else default

    command = next(name for name, asked in COMMANDS.items() if question in asked)
    doors = (of_command(command), of_function(getattr(api.Opened, question)), of_body(question))
    for argument in set.intersection(*({*door} for door in doors)):
        first, *others = (plain(door[argument]) for door in doors)
        assert all(other == first for other in others), argument
