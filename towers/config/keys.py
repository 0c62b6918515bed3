"""The keys that the files of `configs/` have, and what the comment beside each says. Knows no Hydra."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from towers.contract.near_names import near_name

_HERE = Path(__file__).resolve().parents[1]
CONFIG_DIR = str(next(path for path in (_HERE / "configs", _HERE.parent / "configs") if path.is_dir()))
"""Inside the package in a wheel, beside it in a clone."""
EXPERIMENT = "experiment"

_LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w/]+):(?: (?P<value>.*?))?(?: +# (?P<comment>.+))?$")
_CONTINUED = re.compile(r"^ {8,}# (?P<comment>.+)$")
_DEFAULT = re.compile(r"^ +- (?P<group>[\w/]+)(?:@(?P<node>\w+))?: (?P<name>\w+)(?: +# (?P<comment>.+))?$")


@cache
def keys() -> dict[str, str]:
    """By dotted key, the comment beside its value; where two files have one key, that of the default.

    Of what commands alone have, see `keys_of_command`; experiments set keys of others.
    """
    defaults = [(Path(CONFIG_DIR) / group / f"{name}.yaml", node) for group, node, name, _ in _defaults()]
    others = [(path, path.parent.relative_to(CONFIG_DIR).as_posix()) for path in _files()]
    found = dict(_keys((Path(CONFIG_DIR) / "base.yaml").read_text()))
    for path, node in [*defaults, *others]:
        if path.exists() and node != ".":
            found = {**dict(_keys(path.read_text(), tuple(node.split("/")))), **found}
    return found


def keys_of_command(command: str) -> dict[str, str]:
    """The same of a command's own file."""
    return dict(_keys((Path(CONFIG_DIR) / f"{command}.yaml").read_text()))


@cache
def groups() -> dict[str, str]:
    """By group, the comment beside it in a list of defaults."""
    return {group: comment for group, _, _, comment in _defaults() if comment}


@cache
def names() -> frozenset[str]:
    """First names of all keys: groups, where they are mounted, and what stands in the files of commands."""
    files = [path for path in _files() if path.parent == Path(CONFIG_DIR)]
    own = {key for path in files for key in dict(_keys(path.read_text()))}
    mounted = {node for _, node, _, _ in _defaults()}
    folders = {path.name for path in Path(CONFIG_DIR).iterdir() if path.is_dir()}
    return frozenset(key.partition(".")[0].partition("/")[0] for key in {*own, *mounted, *folders})


def nearest(key: str) -> str | None:
    """The key that was meant by one that is none: of its last name, or spelled like it."""
    own = [each for path in _files() if path.parent == Path(CONFIG_DIR) for each in keys_of_command(path.stem)]
    meta = ("command", "hydra", "defaults")
    known = [each for each in [*keys(), *own] if not each.endswith("_") and each.partition(".")[0] not in meta]
    last = key.rpartition(".")[2]
    of_last_name = [each for each in known if each.rpartition(".")[2] == last]
    return near_name(key, of_last_name, 0.0) or near_name(key, known)


def lines(text: str) -> Iterator[tuple[tuple[str, ...], str, str]]:
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


def _keys(text: str, above: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """(dotted key, comment) of the lines of a YAML file that have a key; a comment may go on in lines of its own."""
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
    """(group, its node, file, comment) of the lists of defaults."""
    for path in _files():
        for line in map(_DEFAULT.match, path.read_text().splitlines()):
            if line:
                group = "/".join([*path.parent.relative_to(CONFIG_DIR).parts, line["group"]])
                yield group, line["node"] or group, line["name"], line["comment"]


def _files() -> list[Path]:
    paths = sorted(Path(CONFIG_DIR).rglob("*.yaml"))
    return [path for path in paths if EXPERIMENT not in path.relative_to(CONFIG_DIR).parts]
