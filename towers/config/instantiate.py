"""Builds objects from the configuration: the one `instantiate`.

Hydra by itself passes `temperature=hot` on as a string, and the caller gets a traceback from deep inside. Here every
value is first checked against the constructor's annotation, and the message names the key.
"""

import importlib
import inspect
import os
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from beartype import BeartypeConf
from beartype.door import is_bearable
from omegaconf import DictConfig, OmegaConf

from towers.config.keys import CONFIG_DIR
from towers.config.messages import elsewhere, one_line
from towers.contract.near_names import near_name
from towers.errors import UserError

ALLOWED_TARGETS = ("towers.", "pytorch_lightning.")
SPECIAL_KEYS = ("_target_", "_partial_")

MOVED = {
    "models.audio_encoder": "models.audio.encoder",
    "models.frozen_audio_encoder": "models.audio.frozen",
    "models.mobile_audio_encoder": "models.audio.mobile",
    "models.patch_audio_encoder": "models.audio.patch",
    "models.augmentation": "models.audio.augmentation",
    "training.softmax": "training.objectives.softmax",
    "training.gbce": "training.objectives.gbce",
    "training.negatives": "training.objectives.negatives",
    "training.frequency": "training.objectives.frequency",
}
"""Former modules of `towers` that a `_target_` may name, and their present names. Config files of old runs have the
former names."""


def instantiate(config: Any, key: str, /, **arguments: Any) -> Any:
    """Builds what `config` (the node at `key`) describes by `_target_`, with `arguments` known only at run time.

    An int is accepted for a float, and a list becomes a tuple where the annotation says so; nested targets are built
    first; `_partial_: true` gives a `functools.partial`.

    Raises:
        UserError: a target outside the allowed packages, an unknown or a missing argument, a value of another type;
            the message names the key.
    """
    if OmegaConf.is_config(config):
        config = OmegaConf.to_container(config, resolve=True)
    if not isinstance(config, dict) or "_target_" not in config:
        group = key.rpartition(".")[2]
        choice = f"+{group}@{key}=NAME" if group != key and (Path(CONFIG_DIR) / group).is_dir() else f"{key}=NAME"
        raise UserError(f"{key}: no _target_ here; choose one of the group's files, such as {choice}")
    target = _import(config["_target_"], f"{key}._target_")
    signature = inspect.signature(target)
    hints = _hints(target)
    values = dict(arguments)
    for name, value in config.items():
        if name in SPECIAL_KEYS or name in arguments:
            continue
        parameter = signature.parameters.get(name)
        takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
        if parameter is None and not takes_any:
            meant = near_name(name, signature.parameters)
            near = f"did you mean {key}.{meant}? " if meant else ""
            raise UserError(
                elsewhere(f"{key}.{name}")
                or f"{key}.{name}: unknown; {near}{config['_target_']} takes {', '.join(signature.parameters)}"
            )
        values[name] = _value(value, hints.get(name, Any), f"{key}.{name}")
    if config.get("_partial_"):
        return partial(target, **values)
    _check_missing(target, values, key)
    return _built(target, key, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Factory:
    """Builds the part at a key with arguments known only at run time; made from a `_partial_` node by `factory`.

    Args:
        key: key of the node, for messages.
        made: target with the arguments of the configuration.
    """

    key: str
    made: partial[Any]

    @property
    def target(self) -> Any:
        """Class or function that builds the part."""
        return self.made.func

    def __call__(self, **arguments: Any) -> Any:
        """Builds the part.

        Raises:
            UserError: an argument is missing, or the constructor does not accept a value.
        """
        _check_missing(self.target, {**self.made.keywords, **arguments}, self.key)
        return _built(self.made, self.key, arguments)


def factory(config: Any, key: str) -> Factory:
    """Returns a factory for the `_partial_` node at `key`, its values checked.

    Raises:
        UserError: as for `instantiate`.
    """
    return Factory(key=key, made=instantiate(config, key))


def complete(config: Any, key: str, /, **arguments: Any) -> Any:
    """Builds the `_partial_` node at `key` at once; raises as `instantiate` and `Factory`."""
    return factory(config, key)(**arguments)


def value(config: DictConfig, key: str, hint: Any) -> Any:
    """Returns the value at the dotted `key`, checked against the type `hint` like a constructor's argument.

    Raises:
        UserError: the value is missing or of another type; the message names the key.
    """
    found = OmegaConf.select(config, key, default="???")
    return _value(OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found, hint, key)


def _check_missing(target: Any, values: Mapping[str, Any], key: str) -> None:
    for name, parameter in inspect.signature(target).parameters.items():
        is_several = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.default is parameter.empty and not is_several and name not in values:
            raise UserError(f"{key}.{name}: missing; {target.__module__}.{target.__qualname__} needs it")


def _built(target: Any, key: str, arguments: Mapping[str, Any]) -> Any:
    try:
        return target(**arguments)
    except UserError:
        raise
    except Exception as error:
        # This project raises ValueError for an unsuitable value of the right type; other packages raise any exception.
        if isinstance(error, ValueError) or not _is_ours(target):
            raise UserError(f"{key}: {one_line(error)}") from error
        raise


def _is_ours(target: Any) -> bool:
    return target.__module__.partition(".")[0] == "towers"


def _import(path: str, key: str) -> Any:
    own = tuple(filter(None, os.environ.get("TOWERS_ALLOW_TARGETS", "").split(",")))
    allowed = ALLOWED_TARGETS + own
    if not path.startswith(allowed):
        raise UserError(
            f"{key}: {path} is outside {', '.join(allowed)}; "
            "name its package in the environment variable TOWERS_ALLOW_TARGETS to allow it"
        )
    if path.startswith(own) and (folder := str(Path.cwd())) not in sys.path:
        sys.path.append(folder)  # where the caller's own module may stand; nothing that is installed is hidden
    module, _, name = path.rpartition(".")
    if (old := module.removeprefix("towers.")) in MOVED:
        module = f"towers.{MOVED[old]}"
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{key}: cannot import {path} ({one_line(error)})") from error


def _hints(target: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError):
        return {}  # an annotation of another library that cannot be read at run time


def _value(value: Any, hint: Any, key: str) -> Any:
    if isinstance(value, dict) and "_target_" in value:
        return instantiate(value, key)
    if value == "???":
        raise UserError(f"{key}: missing; give it as {key}=VALUE")
    if isinstance(value, dict):
        value = {name: instantiate(node, f"{key}.{name}") if _is_node(node) else node for name, node in value.items()}
    if isinstance(value, list):
        value = [instantiate(v, f"{key}[{i}]") if _is_node(v) else v for i, v in enumerate(value)]
        if any(typing.get_origin(choice) is tuple or choice is tuple for choice in _choices(hint)):
            value = tuple(value)
    if not _fits(value, hint):
        raise UserError(f"{key}={value!r}: must be {_spelled(hint)}, is {type(value).__name__}")
    if isinstance(value, int) and not isinstance(value, bool) and float in _choices(hint) and int not in _choices(hint):
        return float(value)
    return value


def _fits(value: Any, hint: Any) -> bool:
    """Returns whether the value and all its elements fit: beartype checks one random element, and takes a bool for an
    int."""
    if isinstance(value, bool) and bool not in _choices(hint) and {int, float} & {*_choices(hint)}:
        return False
    views = [value]
    if isinstance(value, (list, tuple)):
        views += [type(value)([item] * len(value)) for item in value]
    elif isinstance(value, dict):
        views += [{name: item} for name, item in value.items()]
    return all(is_bearable(view, hint, conf=BeartypeConf(is_pep484_tower=True)) for view in views)


def _is_node(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _choices(hint: Any) -> tuple[Any, ...]:
    """Returns the alternatives of a union, or the hint alone."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _spelled(hint: Any) -> str:
    return hint.__name__ if inspect.isclass(hint) and not typing.get_args(hint) else str(hint).replace("typing.", "")
