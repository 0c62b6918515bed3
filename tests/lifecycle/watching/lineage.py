"""Events of OpenLineage, read back: each facet is read by the library's class for what it claims to be.

The classes are generated from the published JSON schemas, so that a field that is not there, one that lacks, and one of
another type are found. The schemas themselves come with no package.
"""

import importlib
import json
import pkgutil
import types
import typing
from enum import Enum

import attr
from openlineage.client import generated
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent


def _by_schema():
    found = {}
    for module in pkgutil.iter_modules(generated.__path__):
        for each in vars(importlib.import_module(f"openlineage.client.generated.{module.name}")).values():
            if attr.has(each) and hasattr(each, "_get_schema"):
                found[each._get_schema()] = each
    return found


FACETS = _by_schema()


def _value(value, hint):
    """Reads a value by an annotation."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        if value is None:
            assert type(None) in typing.get_args(hint)
            return None
        (hint,) = (each for each in typing.get_args(hint) if each is not type(None))
    if typing.get_origin(hint) is list:
        assert isinstance(value, list)
        return [_value(each, typing.get_args(hint)[0]) for each in value]
    if typing.get_origin(hint) is dict:
        assert isinstance(value, dict)
        return {key: _facet(each) if "_schemaURL" in each else each for key, each in value.items()}
    if isinstance(hint, type) and attr.has(hint):
        return _read(hint, value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    assert hint is typing.Any or type(value) is hint, (value, hint)
    return value


def _read(kind, values, **more):
    hints = typing.get_type_hints(kind)
    assert set(values) <= set(hints), set(values) - set(hints)
    return kind(**{name: _value(value, hints[name]) for name, value in values.items()}, **more)


def _facet(values):
    kind = FACETS[values["_schemaURL"]]
    rest = {name: value for name, value in values.items() if not name.startswith("_")}
    assert values["_producer"].startswith("pkg:generic/towers@")
    return _read(kind, rest, producer=values["_producer"])


def read_event(line):
    """Reads one line.

    Raises:
        AssertionError, TypeError, ValueError: it is no run event, or a part of it does not fit.
    """
    values = json.loads(line)
    assert values.pop("schemaURL") == RunEvent._get_schema()
    kinds = {"run": Run, "job": Job, "inputs": list[InputDataset], "outputs": list[OutputDataset]}
    parts = {name: _value(values.pop(name), kind) for name, kind in kinds.items()}
    return _read(RunEvent, values, **parts)
