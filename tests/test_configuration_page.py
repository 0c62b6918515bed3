"""docs/configuration.md agrees with configs/ and the code: groups, files, defaults, help, and keys of a signature."""

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from towers.config.composing import composed, narrowed, without_said
from towers.config.help import help_text
from towers.config.keys import CONFIG_DIR
from towers.config.signature import DECIDES

pytestmark = pytest.mark.unhooked  # commands of other tests are composed with the hook
CONFIGS = Path(CONFIG_DIR)
PAGE = (Path(__file__).resolve().parents[1] / "docs" / "configuration.md").read_text()


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """Returns the cells of a section's table, without its head."""
    found = [line.strip("|").split(" | ") for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in found[1:]]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_map_has_every_group_with_every_file() -> None:
    drawn = {names(row[0])[0]: names(row[2]) for row in rows("The groups as a map") if names(row[0])}
    folders = {path.parent.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml")} - {"."}
    assert drawn == {folder: sorted(path.stem for path in (CONFIGS / folder).glob("*.yaml")) for folder in folders}


def test_ten_keys_have_the_defaults_of_the_page() -> None:
    told = {names(row[0])[0]: row[1].strip("`") for row in rows("The ten keys that matter")}
    assert len(told) == 10
    assert OmegaConf.is_missing(OmegaConf.load(CONFIGS / "data" / "parquet.yaml"), "root")
    assert told.pop("data.root") == "none"
    config = composed("train", [])
    chosen = {
        str(group): file
        for each in OmegaConf.load(CONFIGS / "base.yaml").defaults
        if not isinstance(each, str)
        for group, file in each.items()
    }
    for key, default in told.items():
        value = chosen[key] if key in chosen else OmegaConf.select(config, key, throw_on_missing=True)
        assert str(value).replace("None", "null") == default, key


def test_the_help_that_is_shown_is_the_help() -> None:
    config = composed("train", [])
    shown = help_text("train", config, without_said(narrowed("train", config, [])))
    block = section("Finding any other key").split("```text\n")[1].split("```")[0]
    lines = [line.split(" # ")[0].split("...")[0].strip() for line in block.splitlines()]
    assert len(lines) > 10
    for line in filter(None, lines):
        assert line in shown, line


def test_keys_of_a_signature_are_those_of_the_page() -> None:
    told: dict[str, tuple[str, ...] | None] = {}
    for groups, keys in rows("Which keys decide what a run is"):
        told |= {group: None if keys == "all" else tuple(names(keys)) for group in names(groups)}
    assert told == DECIDES
