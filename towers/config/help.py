"""What `towers COMMAND --help` shows: the keys that matter first, then the groups, then all keys.

What a key means is said once, in the comment beside its value in `configs/`, and read from there.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from towers.config.composing import COMMAND, CONFIG_DIR

_LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w/]+):(?: (?P<value>.*?))?(?: +# (?P<comment>.+))?$")
_DEFAULT = re.compile(r"^ +- (?P<group>[\w/]+)(?:@(?P<node>\w+))?: (?P<name>\w+)(?: +# (?P<comment>.+))?$")
EXPERIMENT = "experiment"
MAX_WIDTH = 40
"""Columns before the explanations; what is longer pushes its own aside."""


def help_text(command: str, config: DictConfig, shown: DictConfig, config_dir: str | None = None) -> str:
    """The help of a command.

    Args:
        command: its name.
        config: all that was composed; its node `command` says which keys come first.
        shown: what the command reads of it.
        config_dir: of the caller's own groups; null: none.
    """
    own = config[COMMAND]
    explained = {**_explained(), **dict(_keys((Path(CONFIG_DIR) / f"{command}.yaml").read_text()))}
    parts = {
        "The keys that matter first": [(f"{key}={_short(shown, key)}", explained.get(key, "")) for key in own.first],
        "Groups: group=name takes one of its files": list(_groups(config, shown, config_dir)),
        "All keys": [(line, explained.get(".".join(path), "")) for path, line, _ in _lines(OmegaConf.to_yaml(shown))],
    }
    usage = f"usage: towers {command} [key=value ...] [group=name ...]; a key of a group is typed group.key=value"
    lines = [own.does, "", usage]
    if own.get("stored"):
        lines.append(f"Taken from the prepared store, need not be given again: {', '.join(own.stored)}")
    for title, rows in parts.items():
        width = min(max((len(left) for left, _ in rows), default=0), MAX_WIDTH)
        lines += ["", f"== {title} ==", *(f"{left:<{width}}  # {told}" if told else left for left, told in rows)]
    lines += [
        "",
        "-m sweeps over key=a,b; --cfg job prints all keys as YAML; --config-dir DIR adds your own files to those of",
    ]
    lines += [CONFIG_DIR]
    return "\n".join(lines) + "\n"


def _short(config: DictConfig, key: str) -> str:
    """A key's value as it is typed."""
    value: Any = OmegaConf.to_container(config)
    for name in key.split("."):
        value = value.get(name, {})
    if isinstance(value, list):
        return "[" + ",".join(map(str, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _groups(config: DictConfig, shown: DictConfig, config_dir: str | None) -> Iterator[tuple[str, str]]:
    """Each group that a command reads, with its files, and what it is."""
    for group, told in _groups_explained().items():
        folders = [Path(folder) / group for folder in (CONFIG_DIR, config_dir) if folder is not None]
        files = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
        is_read = OmegaConf.select(shown, group.replace("/", ".")) is not None
        if is_read or (group == EXPERIMENT and "name" in config):
            yield f"{group}={'|'.join(files)}", told


@cache
def _groups_explained() -> dict[str, str]:
    """By group, the comment beside it in a list of defaults."""
    return {group: comment for group, _, _, comment in _defaults() if comment}


def _defaults() -> Iterator[tuple[str, str, str, str | None]]:
    """(group, its node, file, comment) of the lists of defaults."""
    for path in _files():
        for line in map(_DEFAULT.match, path.read_text().splitlines()):
            if line:
                group = "/".join([*path.parent.relative_to(CONFIG_DIR).parts, line["group"]])
                yield group, line["node"] or group, line["name"], line["comment"]


def _files() -> list[Path]:
    """All but experiments, which set keys of others."""
    paths = sorted(Path(CONFIG_DIR).rglob("*.yaml"))
    return [path for path in paths if EXPERIMENT not in path.relative_to(CONFIG_DIR).parts]


@cache
def _explained() -> dict[str, str]:
    """By dotted key, the comment beside its value; where two files explain one key, that of the default."""
    defaults = [(Path(CONFIG_DIR) / group / f"{name}.yaml", node) for group, node, name, _ in _defaults()]
    others = [(path, path.parent.relative_to(CONFIG_DIR).as_posix()) for path in _files()]
    found = dict(_keys((Path(CONFIG_DIR) / "base.yaml").read_text()))
    for path, node in [*defaults, *others]:
        if path.exists() and node != ".":
            found = {**dict(_keys(path.read_text(), tuple(node.split("/")))), **found}
    return found


def _keys(text: str, above: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """(dotted key, comment) of the lines of a YAML file that have one."""
    for path, _, comment in _lines(text):
        if comment:
            yield ".".join([*above, *path]), comment


def _lines(text: str) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """(path of keys, line, comment) of each line of YAML; the path is empty where no key begins."""
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None:
            yield (), line, ""
            continue
        depth = len(found["indent"])
        above = [(at, key) for at, key in above if at < depth]
        above.append((depth, found["key"]))
        yield tuple(key for _, key in above), line, found["comment"] or ""
