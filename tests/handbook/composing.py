"""Composes the configuration of the command lines on a page, whether or not the page is run."""

from contextlib import chdir
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from tests.handbook.pages import SHELL, TRANSCRIPT, Page, commands
from tests.handbook.splitting import arguments_of_towers, is_command
from towers.config.composing import check_overrides, composed, default
from towers.config.keys import choices
from towers.config.messages import one_line
from towers.config.overrides import quoted
from towers.errors import UserError

LEFT_OUT = ("...", "…", "experiment=mine")
"""Words that stand for more of the same, or for an experiment of the reader's own."""


@dataclass(frozen=True, slots=True)
class Line:
    """A call of `towers` on a page: the line that it stands in, and its arguments."""

    line: int
    arguments: tuple[str, ...]


@cache
def _found(page_path: str, block_lines: tuple[tuple[int, str], ...]) -> tuple[Line, ...]:
    return tuple(
        Line(number, tuple(arguments)) for number, text in block_lines for arguments in arguments_of_towers(text)
    )


def lines_of_towers(page: Page) -> tuple[Line, ...]:
    """Returns all calls of `towers` in the page's bash blocks, run or not, and behind the `$` of a terminal's
    output.
    """
    texts = []
    for block in page.blocks:
        if block.language == SHELL:
            texts += [(command.line, command.text) for command in commands(block)]
        elif block.language == TRANSCRIPT:
            shown = enumerate(block.text.splitlines(), block.line)
            texts += [(number, line[2:]) for number, line in shown if line.startswith("$ ")]
    return _found(page.path, tuple(texts))


def complaint(page: Page, line: Line, scratch: Path) -> str | None:
    """Returns what is wrong with a command line, in one line that names page and line; None if nothing is.

    Args:
        page: page of the line; its YAML files are written first.
        line: the call.
        scratch: folder for the YAML files.
    """
    for block in page.files:
        if block.language == "yaml":
            path = scratch / str(block.title)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
    said = f"{page.path}:{line.line}: towers {' '.join(line.arguments)}"
    if not is_command(list(line.arguments)):
        return f"{said}: there is no such command"
    command, *rest = line.arguments
    if command.startswith("-") or command == "help":
        return None
    try:
        with chdir(scratch):
            _config(command, [each for each in rest if each not in LEFT_OUT])
            _check_action(command, rest)
    except Exception as error:
        return f"{said}: {one_line(error, command)}"
    return None


def _config(command: str, rest: list[str]) -> dict[str, Any]:
    """Composes the configuration of a command line; of a sweep, that of its first job.

    Composing takes a fifth of a second. So lines that choose the same files share a composition, where all their other
    keys are in it.
    """
    parser = get_args_parser()
    parser.error = _refuse
    is_sweep = bool({"-m", "--multirun"} & {*rest})
    args = parser.parse_intermixed_args([quoted(each, is_sweep) for each in rest])
    check_overrides(args.overrides, command)
    overrides = _first_of_sweep(args.overrides)
    name = args.config_name or command
    if args.config_dir is None:
        read = OverridesParser.create().parse_overrides(overrides)
        chosen = [typed for each, typed in zip(read, overrides, strict=True) if not _is_of_value(each)]
        config = _chosen(name, tuple(chosen))
        if all(_is_in(config, each.key_or_group) for each in read if _is_of_value(each)):
            return config
    return _plain(composed(name, overrides, args.config_dir))


def _refuse(message: str) -> NoReturn:
    raise UserError(message)


@cache
def _chosen(name: str, files: tuple[str, ...]) -> dict[str, Any]:
    return _plain(composed(name, files) if files else default(name))


def _plain(config: DictConfig) -> dict[str, Any]:
    found = OmegaConf.to_container(config, resolve=False)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def _is_of_value(override: Override) -> bool:
    """Returns whether an override gives a key a value, and neither chooses a file nor adds or removes a key."""
    is_file = override.package is not None or "/" in override.key_or_group or bool(choices(override.key_or_group))
    return not is_file and not override.is_add() and not override.is_force_add() and not override.is_delete()


def _is_in(config: dict[str, Any], key: str) -> bool:
    node: Any = config
    for name in key.split("."):
        if not isinstance(node, dict) or name not in node:
            return False
        node = node[name]
    return True


def _first_of_sweep(overrides: list[str]) -> list[str]:
    read = OverridesParser.create().parse_overrides(overrides)
    return [
        f"{each.get_key_element()}={next(iter(each.sweep_string_iterator()))}" if each.is_sweep_override() else typed
        for each, typed in zip(read, overrides, strict=True)
    ]


def _check_action(command: str, rest: list[str]) -> None:
    """Checks `action=` against the actions of the command."""
    typed = [each.partition("=")[2] for each in rest if each.startswith("action=")]
    if typed:
        actions = import_module(f"towers.commands.{command}").ACTIONS
        if typed[0] not in actions:
            raise UserError(f"action={typed[0]}: there are {', '.join(actions)}")
