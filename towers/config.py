"""Configuration into objects: the one `instantiate`, and the only room beside `commands` that knows Hydra.

Hydra by itself lets `temperature=hot` through as a string and tells the caller so by a traceback from deep within.
Here every value is checked against the constructor's annotation first, and the message names the key.
"""

import atexit
import importlib
import inspect
import os
import re
import shutil
import tempfile
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from beartype import BeartypeConf
from beartype.door import is_bearable
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, ListConfig, OmegaConf

from towers.errors import UserError
from towers.manifest import atomic_file, digest_of

_HERE = Path(__file__).resolve().parent
CONFIG_DIR = str(next(path for path in (_HERE / "configs", _HERE.parent / "configs") if path.is_dir()))
"""Inside the package in a wheel, beside it in a clone."""

ALLOWED_TARGETS = ("towers.", "pytorch_lightning.")
TEXT_KEYS = ("user", "content")
"""Keys whose value is an id or a title, whatever it looks like."""
SPECIAL_KEYS = ("_target_", "_partial_")
KEYS_OF_EXPORT = (
    "sink", "dim", "align_to", "variants", "min_variant_overlap", "min_recall_share", "rows_per_part", "num_threads",
)  # fmt: skip
KEYS_WITHOUT_EFFECT = (
    "paths", "logger", "loggers", "name", "checkpoint", "evaluation", "index", "world", *KEYS_OF_EXPORT
)  # fmt: skip
"""Top-level keys that cannot change what is trained, so they do not change a run's signature."""
KEYS_OF_TRAINER_WITHOUT_EFFECT = (
    "progress", "accelerator", "devices", "num_nodes", "micro_batches", "checkpoint_every_s", "max_skipped", "profiler",
    "detect_anomaly", "fast_dev_run",
)  # fmt: skip
"""A step's gradient is the same for any number of processes and micro-batches, but for dropout and the last digits."""
KEYS_OF_TRAINER_WITHOUT_EFFECT_AT_REST = ("callbacks", "max_time", "limit_train_batches")
"""Those that change a signature only where they say something: runs of before do not have them."""
WATCHING_CALLBACKS = tuple(
    f"pytorch_lightning.callbacks.{name}"
    for name in (
        "DeviceStatsMonitor", "LearningRateMonitor", "ModelCheckpoint", "ModelSummary", "OnExceptionCheckpoint",
        "RichModelSummary", "RichProgressBar", "ThroughputMonitor", "TQDMProgressBar",
    )
)  # fmt: skip
"""Callbacks of Lightning that look on. Any other may change what is trained, so with it the run is another one."""

ELSEWHERE = {
    "trainer.gradient_clip_val": "trainer.gradient_clip",
    "trainer.accumulate_grad_batches": "trainer.micro_batches",
    "trainer.check_val_every_n_epoch": "trainer.validate_every_epochs",
    "trainer.enable_progress_bar": "trainer.progress",
    "trainer.logger": "logger, or loggers",
    "trainer.default_root_dir": "paths.runs",
    "trainer.max_steps": "trainer.max_epochs, trainer.limit_train_batches",
    "trainer.strategy": "trainer.devices",
}
"""What Lightning's users look for -> the key here that does it: a step sums, clips and cuts its gradient by itself."""

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
"""Modules of `towers` that a `_target_` may name -> where they are now. A run's config.yaml says where they were."""

_OPENING = ("'", '"', "[", "{", "(", "\\")
"""Signs that begin what Hydra reads as a whole: a quotation, a list, a mapping."""
_ITEM = re.compile(r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\\.|[^,\\])+""")
"""What stands between the commas of a list, as typed: commas in quotes and after a backslash do not part."""


@cache
def _scratch() -> str:
    """A folder that is gone when the process ends: Hydra writes a file for every sweep."""
    folder = tempfile.mkdtemp(prefix="towers-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


OmegaConf.register_new_resolver("scratch", _scratch, replace=True)
OmegaConf.register_new_resolver("config_dir", lambda: CONFIG_DIR, replace=True)


def compose(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration of the command `name` with `overrides`, outside of a Hydra application.

    Overrides are read as on the command line: `data.root=Müsik 2026` needs no quotation marks.

    Raises:
        UserError: an override does not fit.
    """
    GlobalHydra.instance().clear()
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        try:
            return hydra_compose(name, overrides=[quoted(override) for override in overrides])
        except Exception as error:
            raise UserError(one_line(error)) from error


def instantiate(config: Any, key: str, /, **arguments: Any) -> Any:
    """Builds what `config` (the node at `key`) describes by `_target_`, with `arguments` known only at run time.

    An int is fine for a float and a list becomes a tuple where the annotation says so; nested targets are built
    first; `_partial_: true` gives a `functools.partial`.

    Raises:
        UserError: a target outside the allowed packages, an unknown or a missing argument, a value of another type;
            the message names the key.
    """
    if OmegaConf.is_config(config):
        config = OmegaConf.to_container(config, resolve=True)
    if not isinstance(config, dict) or "_target_" not in config:
        raise UserError(f"{key}: no _target_ here; choose one of the group's files, such as {key}=NAME")
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
            elsewhere = _elsewhere(f"{key}.{name}")
            raise UserError(elsewhere or f"{key}.{name}: unknown; {config['_target_']} takes {_names(signature)}")
        values[name] = _value(value, hints.get(name, Any), f"{key}.{name}")
    if config.get("_partial_"):
        return partial(target, **values)
    missing = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and name not in values
    ]
    if missing:
        raise UserError(f"{key}.{missing[0]}: missing; {config['_target_']} needs it")
    return _built(target, key, values)


def takes(config: Any, key: str, name: str) -> bool:
    """Whether the target of the node at `key` has an argument of this name.

    Raises:
        UserError: as `instantiate`, of the target.
    """
    return name in inspect.signature(_import(config.get("_target_", ""), f"{key}._target_")).parameters


def complete(config: Any, key: str, /, **arguments: Any) -> Any:
    """Builds the `_partial_` node at `key` with what is known only at run time.

    Raises:
        UserError: as `instantiate`, and for a value that the constructor does not accept.
    """
    return _built(instantiate(config, key), key, arguments)


def value(config: DictConfig, key: str, hint: Any) -> Any:
    """The value at the dotted `key`, checked against `hint` as a constructor's would be.

    Raises:
        UserError: it is missing or of another type; the message names the key.
    """
    found = OmegaConf.select(config, key, default="???")
    return _value(OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found, hint, key)


def signature_of(config: DictConfig, *facts: str) -> str:
    """12 hex digits that change with every key that can change the result, and with `facts` (fingerprints)."""
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    relevant = {str(name): value for name, value in container.items() if name not in KEYS_WITHOUT_EFFECT}
    for name, pruned in (
        ("trainer", KEYS_OF_TRAINER_WITHOUT_EFFECT),
        ("data", ("root", "source", "max_duplicate_fraction", "num_workers", "shard")),
        ("datamodule", ("num_workers",)),
    ):
        if isinstance(relevant.get(name), dict):
            relevant[name] = {k: v for k, v in relevant[name].items() if k not in pruned}
    trainer = relevant.get("trainer")
    if isinstance(trainer, dict):
        acting = [node for node in trainer.get("callbacks") or () if node.get("_target_") not in WATCHING_CALLBACKS]
        said = {**trainer, "callbacks": acting}
        relevant["trainer"] = {k: v for k, v in said.items() if v or k not in KEYS_OF_TRAINER_WITHOUT_EFFECT_AT_REST}
    # Of the evaluation only what decides which checkpoint is the best.
    relevant["evaluation"] = {name: container["evaluation"][name] for name in ("filter_seen", "ks", "min_users")}
    return digest_of([relevant, *facts])[:12]


def save_resolved(config: DictConfig, path: Path) -> None:
    """Writes the resolved configuration as YAML."""
    with atomic_file(path) as temporary:
        temporary.write_text(OmegaConf.to_yaml(config, resolve=True))


def quoted(argument: str, is_sweep: bool = False) -> str:
    """`user=Sigur Rós` as `user='Sigur Rós'`: Hydra takes few signs outside quotes, and the shell has eaten ours.

    What parses as it stands stays as it is, and so does what looks like a list, a choice or a quotation; but an id
    or a title, the value of `user` or `content`, is text however it looks, with one exception: a choice in a sweep.

    >>> quoted("content=Don't Stop"), quoted("content=A, B"), quoted("content='A, B'"), quoted("seed=1,2")
    ("content='Don\\\\'t Stop'", "content='A, B'", "content='A, B'", 'seed=1,2')
    >>> quoted("data.root=Müsik 2026"), quoted("data.root=it's/run[1]")
    ("data.root='Müsik 2026'", "data.root='it\\\\'s/run[1]'")
    """
    key, equals, value = argument.partition("=")
    is_text = key.lstrip("+") in TEXT_KEYS
    if not equals or argument.startswith("-") or (not is_text and (value[:1] in _OPENING or "${" in value)):
        return argument
    try:
        (override,) = OverridesParser.create().parse_overrides([argument])
    except HydraException:  # a sign that the grammar does not know, or a function
        if is_sweep and "," in value and not is_text:
            return argument
        return f"{key}={quotation(value)}"
    if is_text and not _is_one(override, key, is_sweep):
        return f"{key}={quotation(value)}"
    return argument


def _is_one(override: Override, key: str, is_sweep: bool) -> bool:
    """Whether Hydra reads one value, or as many as the sweep asks for; null is nobody, but a content's name."""
    if override.is_sweep_override():
        return is_sweep
    value = override.value()
    return not isinstance(value, (list, dict)) and (value is not None or key.lstrip("+") != "content")


def quotation(text: str) -> str:
    """In Hydra's quotes, where a backslash counts double before a quote alone."""
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), text) + "'"


def raw_text(key: str, value: Any) -> str | None:
    """An id given as an override, as the caller typed it: `user=1e5` is the text `1e5` and not a number.

    Args:
        key: the override's key.
        value: what Hydra made of it; right where it is null or text, or did not come from the command line.
    """
    if value is None or isinstance(value, str):
        return value
    text = _typed_override(key)
    return str(value) if text is None else text.strip()


def raw_list(key: str, value: Any) -> list[str] | None:
    """The same for a list of ids, such as `history=[1e5,'a b']`."""
    if value is None:
        return None
    if not isinstance(value, (list, ListConfig)):
        return [str(raw_text(key, value))]
    text = (_typed_override(key) or "").strip()
    typed = [item.strip() for item in _ITEM.findall(text[1:-1])] if text.startswith("[") else [str(v) for v in value]
    if len(typed) != len(value):
        raise UserError(f"{key}={text}: must be a list of ids")
    return [item if isinstance(item, str) else shown for item, shown in zip(value, typed, strict=True)]


def one_line(error: BaseException) -> str:
    """An error's message and its cause's as one line."""
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override}: cannot be read; text with other signs than letters, digits and -_./:@ "
            "goes into quotes within the shell's quotes, such as \"user='a, b'\""
        )
    missing = re.search(r"Missing mandatory value: (\S+)", str(error))
    if missing:
        return f"{missing[1]}: missing; give it as {missing[1]}=VALUE"
    unknown = re.search(r"Could not override '([\w.]+)'", str(error))
    if unknown and (elsewhere := _elsewhere(unknown[1])):
        return elsewhere
    parts = [str(error), *([str(error.__cause__)] if error.__cause__ else [])]
    return "; ".join(" ".join(part.split()) for part in dict.fromkeys(parts) if part)


def _built(target: Any, key: str, arguments: Mapping[str, Any]) -> Any:
    try:
        return target(**arguments)
    except UserError:
        raise
    except Exception as error:
        # Ours raise ValueError for a value of the right type that will not do, others whatever they please.
        if isinstance(error, ValueError) or not _is_ours(target):
            raise UserError(f"{key}: {one_line(error)}") from error
        raise


def _is_ours(target: Any) -> bool:
    return target.__module__.partition(".")[0] == "towers"


def _elsewhere(key: str) -> str | None:
    """What to give in the place of a key of Lightning's."""
    return f"{key}: not here; give {ELSEWHERE[key]}" if key in ELSEWHERE else None


def _typed_override(key: str) -> str | None:
    if not HydraConfig.initialized():
        return None
    for override in reversed(HydraConfig.get().overrides.task):
        name, _, text = override.partition("=")
        if name.lstrip("+") == key:
            return text
    return None


def _import(path: str, key: str) -> Any:
    allowed = ALLOWED_TARGETS + tuple(filter(None, os.environ.get("TOWERS_ALLOW_TARGETS", "").split(",")))
    if not path.startswith(allowed):
        raise UserError(
            f"{key}: {path} is outside {', '.join(allowed)}; "
            "name its package in the environment variable TOWERS_ALLOW_TARGETS to allow it"
        )
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
    """Whether the value and every element fit: beartype draws one element at random, and takes a bool for an int."""
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
    """The alternatives of a union, or the hint alone."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _spelled(hint: Any) -> str:
    return hint.__name__ if inspect.isclass(hint) and not typing.get_args(hint) else str(hint).replace("typing.", "")


def _names(signature: inspect.Signature) -> str:
    return ", ".join(signature.parameters)
