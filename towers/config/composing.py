"""The configuration of a command: composed whole, then narrowed to what the command reads.

An experiment says which data, network and training belong together, so every command that takes one composes all of
these. A command's own file lists under `command` what it reads of them; it sees, shows and writes nothing else.
"""

import atexit
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from hydra import version as hydra_version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from towers.config.keys import CONFIG_DIR, choices, names, nearest, reads
from towers.config.messages import no_such_key, one_line
from towers.config.overrides import quoted
from towers.errors import UserError
from towers.manifest import atomic_file
from towers.secrets import masked_settings
from towers.training.run_folder import CONFIG_FILE

VERSION_BASE = "1.3"
"""Version of Hydra whose defaults apply."""
COMMAND = "command"
"""Node of a command's own file that lists what it reads; hidden from the command itself."""
SAID = "said"
"""Node of a narrowed configuration with values that files give for keys that `prepare` has decided."""


@cache
def _scratch() -> str:
    """Makes a folder that is removed when the process ends: Hydra writes a file for every sweep."""
    folder = tempfile.mkdtemp(prefix="towers-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


OmegaConf.register_new_resolver("scratch", _scratch, replace=True)


def compose(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Composes the configuration of the command `name` with `overrides`, outside a Hydra application.

    Overrides are read as on the command line: `data.root=Müsik 2026` needs no quotation marks.

    Raises:
        UserError: an override does not fit.
    """
    typed = [quoted(override) for override in overrides]
    try:
        check_overrides(typed, name)
        return narrowed(name, composed(name, typed), typed)
    except Exception as error:
        raise UserError(one_line(error, name)) from error


def check_overrides(overrides: Sequence[str], command: str) -> None:
    """Refuses overrides that Hydra would accept silently or fail on without explanation: a misspelt key added by `+` or
    `++`, which no command reads, and a group that is given null."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group.replace("/", ".")
        is_added = override.is_add() or override.is_force_add()
        is_none = is_added and key.partition(".")[0] not in {*names(), "hydra"}
        if is_none and nearest(key, command) is not None:  # one unlike ours may serve the caller
            raise UserError(no_such_key(key, command))
        files = choices(override.key_or_group)
        if files and not override.is_delete() and not override.is_sweep_override() and override.value() is None:
            raise UserError(f"{key}=null: takes one of {', '.join(files)}; leave it out for the default")


def composed(name: str, overrides: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """Composes the whole configuration of the command `name`, without Hydra's own settings.

    Args:
        name: name of the command.
        overrides: overrides quoted as Hydra wants them.
        config_dir: folder of the caller's own groups, which take precedence; null: none.
    """
    with hydra_of(name, config_dir) as hydra:
        config = hydra.compose_config(name, list(overrides), RunMode.RUN, from_shell=False)
    with open_dict(config):
        del config["hydra"]
    return config


def composed_for_sweep(name: str, overrides: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """Composes what all jobs of a sweep share, Hydra's own settings included; swept keys have their defaults.

    The arguments are those of `composed`.
    """
    with hydra_of(name, config_dir) as hydra:
        return hydra.compose_config(name, list(overrides), RunMode.MULTIRUN, from_shell=False)


@cache
def default(name: str) -> DictConfig:
    """Returns the configuration of the command `name` without overrides; must not be modified."""
    return composed(name, [])


@contextmanager
def hydra_of(name: str, config_dir: str | None = None) -> Iterator[Hydra]:
    """Yields a Hydra whose search path has this project's groups and the caller's."""
    hydra_version.setbase(VERSION_BASE)
    search_path = create_automatic_config_search_path(None, None, CONFIG_DIR)
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise UserError(f"--config-dir {config_dir}: no such folder")
        path = f"file://{Path(config_dir).absolute()}"
        search_path.prepend(provider="command-line", path=path, anchor=SearchPathQuery(provider="schema"))
    GlobalHydra.instance().clear()
    try:
        yield Hydra.create_main_hydra2(name, search_path)
    finally:
        GlobalHydra.instance().clear()


def narrowed(name: str, config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Returns the part of a configuration that the command reads.

    `command.reads` lists groups and dotted keys; without it the command reads all. `command.stored` lists what
    `prepare` has decided: of these, only values given by an override are kept, to be compared with the prepared store.
    Values that an experiment or another file gives for them go under `said`, by dotted key, so that a difference can be
    reported.

    Args:
        name: name of the command.
        config: composed configuration with its node `command`.
        overrides: overrides that it was composed with, quoted as Hydra wants them.
    """
    command: Any = config.get(COMMAND) or {}  # a caller's own file (--config-name) may have no such node
    stored = tuple(command.get("stored") or ())
    typed = set(_typed(overrides, stored))
    found = _reduced(config, None if command.get("reads") is None else {*command.reads, *typed})
    if stored and overrides:
        said = {key: value for key, value in _changed(config, default(name), stored) if not _is_in(key, typed)}
        with open_dict(found):
            found[SAID] = said
    return found


def without_said(config: DictConfig) -> DictConfig:
    """Returns a narrowed configuration as people see it, without the node `said`."""
    shown = deepcopy(config)
    with open_dict(shown):
        shown.pop(SAID, None)
    return shown


def seen_by(command: str, config: DictConfig) -> DictConfig:
    """Returns what another command would read of the configuration of a command that runs several."""
    read = reads(command)
    return _reduced(config, None if read is None else {*read})


def _reduced(config: DictConfig, wanted: set[str] | None) -> DictConfig:
    """Returns a copy with the wanted keys only; interpolations of other keys in it become plain values."""
    kept = deepcopy(config)
    OmegaConf.set_struct(kept, False)
    kept.pop(COMMAND, None)
    if wanted is not None:
        _keep(kept, "", wanted)
        _settle(kept, kept, config)
    OmegaConf.set_struct(kept, True)
    return kept


def _settle(node: Any, kept: DictConfig, whole: DictConfig) -> None:
    """Replaces interpolations that refer to keys outside `kept` by their values."""
    for name in list(node) if isinstance(node, DictConfig) else range(len(node)):
        if OmegaConf.is_missing(node, name):
            continue
        if not OmegaConf.is_interpolation(node, name):
            if OmegaConf.is_config(inner := node[name]):
                _settle(inner, kept, whole)
            continue
        key = node._get_full_key(name)
        try:
            meant = _plain(OmegaConf.select(whole, key))
        except OmegaConfBaseException:
            continue  # reading it raises an error that names what is missing
        try:
            is_same = _plain(OmegaConf.select(kept, key)) == meant
        except OmegaConfBaseException:
            is_same = False
        if not is_same:
            node[name] = meant


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _changed(config: DictConfig, untouched: DictConfig, stored: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, value) where a file, or a key that it depends on, sets a value other than the default."""
    before = dict(_leaves(untouched, stored))
    return ((key, value) for key, value in _leaves(config, stored) if key not in before or before[key] != value)


def _is_in(key: str, names: Iterable[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _leaves(config: DictConfig, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for name in names:
        try:
            node = OmegaConf.select(config, name)
            value = _plain(node)
        except OmegaConfBaseException:
            continue  # reading it raises an error
        yield from flat(value, name)


def flat(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, value) of nested plain values; a list is a value."""
    if not isinstance(node, dict):
        yield key, node
        return
    for name, inner in node.items():
        yield from flat(inner, f"{key}.{name}")


def _typed(overrides: Sequence[str], stored: tuple[str, ...]) -> Iterator[str]:
    """Yields dotted keys and groups of `overrides` that are in `stored`, or below one that is."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group.replace("/", ".")
        if _is_in(key, stored):
            yield key


def _keep(node: DictConfig, prefix: str, wanted: set[str]) -> None:
    """Removes from `node` what is neither wanted nor contains something that is."""
    for name in list(node):
        key = f"{prefix}{name}"
        if key in wanted:
            continue
        if any(other.startswith(f"{key}.") for other in wanted):
            _keep(node[name], f"{key}.", wanted)
        else:
            del node[name]


def resolved(config: DictConfig) -> dict[str, Any]:
    """Returns the configuration as plain values, with interpolations resolved."""
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    return {str(name): value for name, value in container.items()}


def config_of_run(folder: Path) -> DictConfig:
    """Reads the configuration that a run was trained with from the run's folder."""
    config = OmegaConf.load(folder / CONFIG_FILE)
    assert isinstance(config, DictConfig)
    if "placement" not in config:  # older runs do not have it
        config.placement = {}
    if "rows" not in config:
        config.rows = OmegaConf.load(Path(CONFIG_DIR) / "rows" / "whole.yaml")
    if "id_min_events" not in config.get("content_tower", {"id_min_events": 1}):
        config.content_tower.id_min_events = 1
    return config


def save_yaml(values: Mapping[str, Any], path: Path) -> None:
    """Writes plain values as YAML, secrets masked."""
    with atomic_file(path) as temporary:
        temporary.write_text(OmegaConf.to_yaml(OmegaConf.create(masked_settings(values))))
