"""docs/architecture.md agrees with the code: it has every room, and every file and layer that it names exists."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
TREE = re.search(r"```\n(towers/\n.*?)```", PAGE, re.DOTALL)[1]
NAMED = sorted(set(re.findall(r"`((?:towers|configs|tests|docs)/[\w./]*)`", PAGE)))


def drawn():
    """Returns path and description of each of the tree's lines."""
    above = {}
    for line in TREE.splitlines():
        found = re.match(r"( *)([\w./]+) *(.*)", line)
        depth = len(found[1])
        parent = above.get(depth - 2, "") if depth else ""
        above[depth] = f"{parent}{found[2]}"
        yield above[depth], found[3]


def rooms():
    """Returns the folders of modules, and the modules at the top."""
    folders = [path.parent.relative_to(ROOT) for path in (ROOT / "towers").rglob("__init__.py")]
    modules = [path.relative_to(ROOT) for path in (ROOT / "towers").glob("*.py") if not path.name.startswith("__")]
    return {f"{folder}/" for folder in folders} | {str(module) for module in modules} | {"towers/data/sql/"}


def test_every_room_is_drawn_with_a_line():
    tree = dict(drawn())
    del tree["configs/"]
    assert set(tree) == rooms()
    assert [room for room, said in tree.items() if not said] == ["towers/"]


@pytest.mark.parametrize("path", NAMED)
def test_what_is_named_is_there(path):
    assert (ROOT / path).exists()


def test_enough_is_named():
    assert len(NAMED) > 40


def test_layers_are_those_that_are_checked():
    written = re.search(r"^`cli \| api`.*?`errors`$", PAGE, re.MULTILINE | re.DOTALL)[0]
    page = [{*layer.strip(" `").split(" | ")} for layer in written.replace("\n", " ").split(">")]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["name"].startswith("Rooms"))
    there = [[name.strip("()") for name in layer.split(" | ")] for layer in layers]
    exist = {room.removeprefix("towers/").rstrip("/").removesuffix(".py") for room in rooms()}
    assert page == [{name for name in layer if name in exist} for layer in there]


def test_every_command_is_named():
    sentence = re.search(r"^The commands are (.*?)\.$", PAGE, re.MULTILINE | re.DOTALL)[1]
    named = set(re.findall(r"`(\w+)`", sentence))
    assert named == {path.stem for path in (ROOT / "towers" / "commands").glob("*.py")} - {
        "__init__",
        "printed",
        "progress",
        "asked",
    }


@pytest.mark.parametrize("group", ["objective", "audio_encoder", "data", "sink", "world"])
def test_a_group_for_parts_is_there(group):
    assert list((ROOT / "configs" / group).glob("*.yaml"))
