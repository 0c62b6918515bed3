"""Keys of the files in `configs/`, and the comments beside them. Does not import Hydra."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from towers.contract.near_names import near_name

_HERE = Path(__file__).resolve().parents[1]
CONFIG_DIR = str(next(path for path in (_HERE / "configs", _HERE.parent / "configs") if path.is_dir()))
"""Folder of the YAML files: inside the package in a wheel, beside it in a clone."""
EXPERIMENT = "experiment"

_LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w/]+):(?: (?P<value>.*?))?(?: +# (?P<comment>.+))?$")
_CONTINUED = re.compile(r"^ {8,}# (?P<comment>.+)$")
_COMMAND = re.compile(r"^command:", re.MULTILINE)
_BASE = re.compile(r"^ +- base$", re.MULTILINE)
_DEFAULT = re.compile(r"^ +- (?P<group>[\w/]+)(?:@(?P<node>\w+))?: (?P<name>\w+)(?: +# (?P<comment>.+))?$")


@cache
def keys() -> dict[str, str]:
    """Returns the comment beside each key's value, by dotted key; where two files have one key, the default's comment.

    Keys that only a command has are in `keys_of_command`; experiments only set keys of other files.
    """
    defaults = [(Path(CONFIG_DIR) / group / f"{name}.yaml", node) for group, node, name, _ in _defaults()]
    others = [(path, path.parent.relative_to(CONFIG_DIR).as_posix()) for path in _files()]
    found = dict(_keys((Path(CONFIG_DIR) / "base.yaml").read_text()))
    for path, node in [*defaults, *others]:
        if path.exists() and node != ".":
            found = {**dict(_keys(path.read_text(), tuple(node.split("/")))), **found}
    return found


def keys_of_command(command: str) -> dict[str, str]:
    """Returns the comments of a command's own file, by dotted key."""
    return dict(_keys((Path(CONFIG_DIR) / f"{command}.yaml").read_text()))


@cache
def groups() -> dict[str, str]:
    """Returns the comments of groups in lists of defaults, by group as it is typed, such as `publishing@export`."""
    return {_as_typed(group, node): comment for group, node, _, comment in _defaults() if comment}


@cache
def names() -> frozenset[str]:
    """Returns the first parts of all keys: groups, nodes where they are mounted, and keys of the commands' files."""
    files = [path for path in _files() if path.parent == Path(CONFIG_DIR)]
    own = {key for path in files for key in dict(_keys(path.read_text()))}
    mounted = {node for _, node, _, _ in _defaults()}
    folders = {path.name for path in Path(CONFIG_DIR).iterdir() if path.is_dir()}
    return frozenset(key.partition(".")[0].partition("/")[0] for key in {*own, *mounted, *folders})


def choices(group: str) -> list[str]:
    """Returns the names of a group's files; none if there is no such group."""
    return sorted(path.stem for path in (Path(CONFIG_DIR) / group).glob("*.yaml"))


def reads(command: str) -> list[str] | None:
    """Returns keys and groups that a command's own file lists as read or taken from the store; null: it reads all that
    is composed."""
    return _listed(command, "reads|stored") or None


def readers(key: str) -> list[str]:
    """Returns the commands that read a key or a group; commands that read all keys only where no other does."""
    commands = [path.stem for path in _files() if _COMMAND.search(path.read_text()) and _is_read(key, path.stem)]
    return [command for command in commands if not _reads_all(command)] or commands


def nearest(key: str, command: str | None = None) -> str | None:
    """Returns the key or group that an unknown one probably means: one with a similar name in the same group, one with
    the same last name, a similar one anywhere, or the value that it stands below. Keys that the command reads come
    first."""
    known = _known()
    if key in known:
        return key
    if command is None:
        return _nearest(key, known)
    own = [each for each in known if _is_read(each, command)]
    first = [each for each in _listed(command, "first") if re.search(rf"(?:^|[._]){re.escape(key)}$", each)]
    return next(iter(first), None) or _nearest(key, own) or _nearest(key, known)


def _nearest(key: str, known: list[str]) -> str | None:
    above, _, last = key.rpartition(".")
    beside = {each.rpartition(".")[2]: each for each in known if above and each.rpartition(".")[0] == above}
    if (meant := near_name(last, beside)) is not None:
        return beside[meant]
    of_last_name = [each for each in known if each.rpartition(".")[2] == last]
    spelled = near_name(key, of_last_name, 0.0) or near_name(key, known)
    return spelled or next((each for each in known if each == above), None)


@cache
def _known() -> list[str]:
    """Returns all keys, and groups as they are typed."""
    own = [each for path in _files() if path.parent == Path(CONFIG_DIR) for each in keys_of_command(path.stem)]
    typed = [_as_typed(group, node) for group, node, _, _ in _defaults()]
    found = [each for each in [*keys(), *own, *typed, EXPERIMENT] if not each.endswith("_")]
    return [each for each in dict.fromkeys(found) if re.split(r"[./]", each)[0] not in ("command", "hydra", "defaults")]


@cache
def _is_read(key: str, command: str) -> bool:
    if _reads_all(command):
        return True
    own, listed = keys_of_command(command), reads(command)
    names = {"paths", *([] if listed is None else [*listed, EXPERIMENT])} - own.keys()  # its own keys are values
    dotted = key.partition("@")[2] or key.replace("/", ".")
    is_above = any(name.startswith(f"{dotted}.") for name in names)
    return dotted in own or is_above or any(f"{dotted}.".startswith(f"{name}.") for name in names)


def _reads_all(command: str) -> bool:
    return reads(command) is None and _BASE.search((Path(CONFIG_DIR) / f"{command}.yaml").read_text()) is not None


def _listed(command: str, name: str) -> list[str]:
    """Returns the keys of a list in the node `command` of a command's own file."""
    lists = re.findall(
        rf"^  (?:{name}): \[([^\]]*)\]", (Path(CONFIG_DIR) / f"{command}.yaml").read_text(), re.MULTILINE
    )
    return [each.strip() for names in lists for each in names.split(",")]


def lines(text: str) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yields (path of keys, line, comment) for each line of YAML; the path is empty where no key begins."""
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


def _keys(text: str, above: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yields (dotted key, comment) of a YAML file's lines that have a key; a comment may continue on lines of its
    own."""
    key, said = "", ""
    for path, line, comment in lines(text):
        continued = _CONTINUED.match(line)
        if continued and said:
            said = f"{said} {continued['comment']}"
        elif path:
            if key:
                yield key, said
            key, said = ".".join([*above, *path]), comment
    if key:
        yield key, said


def _defaults() -> Iterator[tuple[str, str, str, str | None]]:
    """Yields (group, its node, file, comment) of the lists of defaults."""
    for path in _files():
        for line in map(_DEFAULT.match, path.read_text().splitlines()):
            if line:
                group = "/".join([*path.parent.relative_to(CONFIG_DIR).parts, line["group"]])
                yield group, line["node"] or group, line["name"], line["comment"]


def _as_typed(group: str, node: str) -> str:
    return group if node in (group, ".") else f"{group}@{node}"


def _files() -> list[Path]:
    paths = sorted(Path(CONFIG_DIR).rglob("*.yaml"))
    return [path for path in paths if EXPERIMENT not in path.relative_to(CONFIG_DIR).parts]
