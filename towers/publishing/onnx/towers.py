"""Both towers as ONNX, so that a new listener or a new content needs no retraining and serving needs no torch.

The same weights give the same bytes: there is no clock, and the exporter's traces of source files are removed.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from towers.batch import ContentBatch
from towers.features.settings import FeatureSettings
from towers.models.content_tower import ContentTower
from towers.models.two_tower import TwoTower
from towers.models.user_tower import UserTower
from towers.publishing.onnx.sound import FrontEnd, FrontEnds
from towers.retrieval.encoders import ONNX_INPUTS

OPSET = 20
TURN = "_matrix"
"""Suffix of the names of the matrices that rotate vectors in an exported graph."""
Matrix = Float[np.ndarray, "rows columns"]


def export_user_tower(
    user_tower: UserTower,
    content_dim: int,
    num_columns: int,
    path: Path,
    space_id: str,
    *,
    reads: Matrix | None = None,
    writes: Matrix | None = None,
) -> None:
    """Writes the tower with dynamic batch and length; `space_id` is in the file's metadata.

    Args:
        user_tower: tower in evaluation mode.
        content_dim: dimension of the content vectors that the tower itself reads.
        num_columns: number of listener columns.
        path: path of the file.
        space_id: id of the space of the vectors that the file reads and returns.
        reads: `[content_dim, input_dim]`, maps the vectors that the file reads to those of the tower; null: they are
            the same.
        writes: `[dim, content_dim]`, maps the tower's vectors to those that the file returns, which are normalised
            again; null: they are the same.
    """
    model = _LastState(user_tower, _Read.through(reads), _Written.through(writes)).cpu().eval()
    input_dim = content_dim if reads is None else reads.shape[1]
    batch, length = 2, 3
    codes = torch.zeros(batch, length, dtype=torch.long)
    example = (
        torch.zeros(batch, length, input_dim),
        codes, codes.clone(), codes.clone(), codes.clone(),
        torch.zeros(batch, num_columns, dtype=torch.long),
        torch.tensor([length, 1]),
    )  # fmt: skip
    batches, lengths = torch.export.Dim("batch", min=1), torch.export.Dim("length", min=1)
    per_event = {0: batches, 1: lengths}
    shapes = (per_event, per_event, per_event, per_event, per_event, {0: batches}, {0: batches})
    _export(model, example, shapes, ONNX_INPUTS, path, {"space_id": space_id})


def export_content_tower(
    two_tower: TwoTower,
    features: FeatureSettings,
    path: Path,
    space_id: str,
    *,
    writes: Matrix | None = None,
) -> None:
    """Writes audio encoder and content tower, without what is trained for single ids; dynamic in every length.

    The inputs are those of the encoder's front end (`waveform` and `num_samples`; or `audio_vector` and `has_audio`; or
    none) and every metadata part by its name, `[batch, width]`, int64, 0 where there is none. The metadata has
    `space_id`, and for waveforms their rate.

    Args:
        two_tower: network in evaluation mode.
        features: features of the store that it was trained on.
        path: path of the file.
        space_id: id of the space of the vectors that the file returns.
        writes: as in `export_user_tower`.

    Raises:
        ValueError: the network knows contents by their ids alone.
    """
    tower = two_tower.content_tower
    if not tower.has_content:
        raise ValueError("the network knows contents by their ids alone: there is nothing to encode")
    front_end = two_tower.audio_encoder.heard_through(FrontEnds(features.spectrogram))
    model = _Contents(front_end, tower, features.content_parts, _Written.through(writes)).cpu().eval()
    batch = torch.export.Dim("batch", min=1)
    codes = tuple(torch.zeros(2, width, dtype=torch.long) for width, _ in enumerate(features.content_parts, 3))
    widths = tuple({0: batch, 1: torch.export.Dim(f"{part}_width", min=1)} for part in features.content_parts)
    names = (*front_end.inputs, *features.content_parts)
    metadata = {"space_id": space_id, **front_end.metadata()}
    example, shapes = (*front_end.example(2), *codes), (*front_end.dynamic(batch), *widths)
    _export(model, example, (shapes,), names, path, metadata)


class _Read(nn.Module):
    """Multiplies vectors by the transpose of a matrix."""

    def __init__(self, matrix: Matrix):
        super().__init__()
        self._matrix: Tensor
        self.register_buffer(TURN, torch.from_numpy(np.array(matrix.T, np.float32)))

    @classmethod
    def through(cls, matrix: Matrix | None) -> nn.Module:
        """Returns a module for the matrix, or the identity without one."""
        return nn.Identity() if matrix is None else cls(matrix)

    def forward(self, vectors: Float[Tensor, "*batch columns"]) -> Float[Tensor, "*batch rows"]:
        return vectors @ self._matrix


class _Written(_Read):
    """Multiplies vectors by the transpose of a matrix, then normalises them."""

    def forward(self, vectors: Float[Tensor, "*batch columns"]) -> Float[Tensor, "*batch rows"]:
        return normalize(super().forward(vectors), dim=-1)


class _LastState(nn.Module):
    """The user tower's state after the last event of each history."""

    def __init__(self, user_tower: UserTower, read: nn.Module, written: nn.Module):
        super().__init__()
        self._user_tower = user_tower
        self._read = read
        self._written = written

    def forward(
        self,
        content_vectors: Float[Tensor, "batch length input_dim"],
        action: Int[Tensor, "batch length"],
        elapsed: Int[Tensor, "batch length"],
        played: Int[Tensor, "batch length"],
        context: Int[Tensor, "batch length"],
        user_codes: Int[Tensor, "batch columns"],
        lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch dim"]:
        states = self._user_tower(self._read(content_vectors), action, elapsed, played, context, user_codes)
        place = lengths[:, None, None].expand(-1, 1, states.shape[2])
        return self._written(states.gather(1, place).squeeze(1))


class _Contents(nn.Module):
    """Contents by their sound and metadata."""

    def __init__(self, front_end: FrontEnd, tower: ContentTower, parts: Sequence[str], written: nn.Module):
        super().__init__()
        self._front_end = front_end
        self._tower = tower
        self._parts = tuple(parts)
        self._written = written

    def forward(self, *inputs: Tensor) -> Float[Tensor, "batch dim"]:
        batch, heard = inputs[0].shape[0], len(self._front_end.inputs)
        sound, codes = inputs[:heard], inputs[heard:]
        audio, has_audio = self._front_end(batch, *sound)
        contents = ContentBatch(
            rows=torch.zeros(batch, dtype=torch.long),
            parts=dict(zip(self._parts, codes, strict=True)),
            audio=audio,
            has_audio=has_audio,
        )
        return self._written(normalize(self._tower.without_id(contents), dim=-1))


def _export(
    model: nn.Module,
    example: tuple[Any, ...],
    shapes: tuple[Any, ...],
    names: Sequence[str],
    path: Path,
    metadata: Mapping[str, str],
) -> None:
    exported = _graph(model, example, shapes, names)
    onnx.helper.set_model_props(exported, {**metadata, "opset": str(OPSET)})
    onnx.checker.check_model(exported)
    onnx.save(exported, path)


def _graph(
    model: nn.Module, example: tuple[Any, ...], shapes: tuple[Any, ...], names: Sequence[str]
) -> onnx.ModelProto:
    # The exporter reports its stages on standard output and warns of its own deprecations.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model, example, input_names=list(names), output_names=["vector"], opset_version=OPSET,
            dynamic_shapes=shapes, dynamo=True, verbose=False,
        )  # fmt: skip
    assert program is not None
    exported = program.model_proto
    for place in _places_of_traces(exported.graph, *exported.functions):
        place.ClearField("metadata_props")
        place.ClearField("doc_string")
    return exported


def _places_of_traces(*graphs: Any) -> Iterator[Any]:
    """Yields all parts of graphs in which the exporter records lines of source files."""
    for graph in graphs:
        yield graph
        yield from graph.node
        yield from graph.value_info
        if isinstance(graph, onnx.GraphProto):
            yield from (*graph.input, *graph.output, *graph.initializer)
        for node in graph.node:
            yield from _places_of_traces(*(each.g for each in node.attribute if each.HasField("g")))
