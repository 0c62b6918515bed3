"""Graphs of networks of the same make are traced once: the exporter takes seconds, and what most looks at an export is
beside it. Every export still holds its file against torch.

A graph is traced with random weights, each number of which is found again by its value in what the exporter has folded;
there the network's own are put. tests/publishing/test_writer.py and tests/end_to_end/test_export.py compare with a
graph that is traced with these weights, byte for byte.
"""

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from towers.manifest import atomic_file
from towers.publishing.onnx import towers

_trace = towers._graph
OF_SINGLE_IDS = ("_id_delta", "_is_trained")
"""Parts of a content tower with a row for every content, which no graph reads: an export is without."""


@contextmanager
def traced_once(folder: Path) -> Iterator[None]:
    """Makes the exporter load graphs from a folder while the block runs; a missing graph is traced and saved there."""

    def graph(model: nn.Module, example: Any, shapes: Any, names: Sequence[str]) -> onnx.ModelProto:
        path = folder / f"{_digest_of(model, shapes, names)}.onnx"
        if not path.exists():
            with atomic_file(path) as temporary:
                onnx.save(_trace(_with_random_weights(model), example, shapes, names), temporary)
        traced = onnx.load(path)
        _fill(traced, _weights_of(_with_random_weights(model)), _weights_of(model))
        return traced

    with patch.object(towers, "_graph", graph):
        yield


@contextmanager
def traced_anew() -> Iterator[None]:
    """Restores ordinary tracing of graphs while the block runs."""
    with patch.object(towers, "_graph", _trace):
        yield


def _tensors_of(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yields the parameters and buffers that a graph reads, with their names."""
    found = chain(model.named_parameters(), model.named_buffers())
    return ((name, tensor) for name, tensor in found if not _is_of_single_ids(name))


def _is_weights(tensor: Tensor) -> bool:
    """Returns whether a tensor holds weights of its own. All zeros or all ones, as before a training, do not count: the
    exporter keeps one such tensor for all of a shape."""
    return tensor.is_floating_point() and not bool((tensor == 0).all() or (tensor == 1).all())


def _weights_of(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in _tensors_of(model) if _is_weights(tensor)}


def _with_random_weights(model: nn.Module) -> nn.Module:
    """A copy of the network, the same whenever it is asked for."""
    copied, generator = copy.deepcopy(model), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, tensor in _tensors_of(copied):
            if _is_weights(tensor):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))  # regardless of its strides
    return copied


def _fill(traced: onnx.ModelProto, random: Mapping[str, np.ndarray], own: Mapping[str, np.ndarray]) -> None:
    """Puts `own` weights where the `random` ones stand, as they are or transposed, for any shape."""
    names: dict[bytes, tuple[str, bool]] = {}
    for name, weights in random.items():
        names[weights.T.tobytes()] = name, True
        names[weights.tobytes()] = name, False
    for initializer in traced.graph.initializer:
        found = names.get(onnx.numpy_helper.to_array(initializer).tobytes())
        if found is not None:
            name, is_transposed = found
            initializer.raw_data = (own[name].T if is_transposed else own[name]).tobytes()


def _digest_of(model: nn.Module, shapes: Any, names: Sequence[str]) -> str:
    """Digests all that decides what is traced: classes, their settings, and every tensor but for its weights."""
    told = [
        (name, type(part).__qualname__, [(key, _setting(of)) for key, of in sorted(vars(part).items())])
        for name, part in model.named_modules()
        if not _is_of_single_ids(name)
    ]
    digest = hashlib.sha256(repr((told, shapes, list(names))).encode())
    for name, tensor in _tensors_of(model):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if not _is_weights(tensor):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _is_of_single_ids(name: str) -> bool:
    return any(part in OF_SINGLE_IDS for part in name.split("."))


def _setting(of: Any) -> Any:
    """Returns the settings of a network beside its weights: plain values, dataclasses of them, and functions by their
    names."""
    plain = (bool, int, float, str, tuple, type(None))
    return of if isinstance(of, plain) or is_dataclass(of) else getattr(of, "__qualname__", None)
