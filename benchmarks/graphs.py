"""Graphs of the same network are traced once: the exporter takes seconds, and what most looks at an export is beside
it. Every export still holds its file against torch."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import onnx
from torch import nn

from towers.manifest import atomic_file
from towers.publishing.onnx import towers

_trace = towers._graph


@contextmanager
def traced_once(folder: Path) -> Iterator[None]:
    """While the block runs, graphs are taken from a folder, or traced and put there."""

    def graph(model: nn.Module, example: Any, shapes: Any, names: Sequence[str]) -> onnx.ModelProto:
        path = folder / f"{_digest_of(model, shapes, names)}.onnx"
        if not path.exists():
            with atomic_file(path) as temporary:
                onnx.save(_trace(model, example, shapes, names), temporary)
        return onnx.load(path)

    with patch.object(towers, "_graph", graph):
        yield


@contextmanager
def traced_anew() -> Iterator[None]:
    """While the block runs, graphs are traced as ever."""
    with patch.object(towers, "_graph", _trace):
        yield


def _digest_of(model: nn.Module, shapes: Any, names: Sequence[str]) -> str:
    """Digests all that decides what is traced: classes, their plain settings and every tensor."""
    plain = (bool, int, float, str, tuple, type(None))
    told = [
        (name, type(part).__qualname__, {key: of for key, of in sorted(vars(part).items()) if isinstance(of, plain)})
        for name, part in model.named_modules()
    ]
    digest = hashlib.sha256(repr((told, shapes, list(names))).encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
