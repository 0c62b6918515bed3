"""Text of `towers COMMAND --help`: the keys that matter first, then the groups, then all keys.

The meaning of a key is written once, in the comment beside its value in `configs/`, and read from there.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from towers.config.composing import COMMAND
from towers.config.keys import CONFIG_DIR, EXPERIMENT, groups, keys, keys_of_command, lines

MAX_WIDTH = 40
"""Most columns before the explanations; a longer key shifts its own explanation to the right."""


def help_text(command: str, config: DictConfig, shown: DictConfig, config_dir: str | None = None) -> str:
    """Returns the help of a command.

    Args:
        command: name of the command.
        config: whole composed configuration; its node `command` says which keys come first.
        shown: part of it that the command reads.
        config_dir: folder of the caller's own groups; null: none.
    """
    own: Any = config.get(COMMAND) or {}
    explained = {**keys(), **keys_of_command(command)}
    parts = {
        "The keys that matter first": [
            (f"{key}={_short(shown, key)}", explained.get(key, ""))
            for key in own.get("first") or ()
            if _has(shown, key)
        ],
        "Groups: group=name takes one of its files": list(_groups(config, shown, config_dir)),
        "All keys": [(line, explained.get(".".join(path), "")) for path, line, _ in lines(OmegaConf.to_yaml(shown))],
    }
    usage = f"usage: towers {command} [key=value ...] [group=name ...]; a key of a group is typed group.key=value"
    told = [own.get("does") or f"towers {command}", "", usage]
    if own.get("stored"):
        told.append(f"Taken from the prepared store, need not be given again: {', '.join(own.stored)}")
    for title, rows in parts.items():
        if rows:
            width = min(max(len(left) for left, _ in rows), MAX_WIDTH)
            told += ["", f"== {title} ==", *(f"{left:<{width}}  # {what}" if what else left for left, what in rows)]
    folders = " and ".join(dict.fromkeys([CONFIG_DIR, *([config_dir] if config_dir else [])]))
    told += ["", f"-m sweeps over key=a,b; --cfg job prints all keys as YAML; --config-dir DIR adds files to {folders}"]
    return "\n".join(told) + "\n"


def _has(config: DictConfig, key: str) -> bool:
    """Returns whether a key exists, even if its value is still missing."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return isinstance(node, DictConfig) and name in list(node)


def _short(config: DictConfig, key: str) -> str:
    """Formats a key's value as it is typed."""
    value: Any = OmegaConf.to_container(config)
    for name in key.split("."):
        value = value.get(name, {})
    if isinstance(value, list):
        return "[" + ",".join(map(str, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _groups(config: DictConfig, shown: DictConfig, config_dir: str | None) -> Iterator[tuple[str, str]]:
    """Yields each group that a command reads, with its files, and its meaning."""
    for typed, told in groups().items():
        group, _, node = typed.partition("@")
        folders = [Path(folder) / group for folder in (CONFIG_DIR, config_dir) if folder is not None]
        files = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
        is_read = isinstance(OmegaConf.select(shown, node or group.replace("/", ".")), DictConfig)
        if is_read or (group == EXPERIMENT and "name" in config):
            yield f"{typed}={'|'.join(files)}", told
