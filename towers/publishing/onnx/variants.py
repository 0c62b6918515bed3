"""Smaller or faster forms of an exported tower, kept where recommendations stay nearly the same."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx
from jaxtyping import Float, Int
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16

from towers.errors import UserError
from towers.publishing.onnx.towers import TURN

NEAREST = 20
REPETITIONS = 3
QUANTIZED = ("MatMul", "Gemm", "Conv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Result of a variant.

    Args:
        name: name of the variant.
        file: name of the file; null where it was not kept.
        overlap: share of the nearest 20 in common with float32, mean over the inputs, 0 to 1.
        size_bytes: size of the file.
        float32_bytes: size of the original file.
        ms: milliseconds to encode one input, the least of several rounds; measured, so not for a manifest.
        float32_ms: the same for the original.
    """

    name: str
    file: str | None
    overlap: float
    size_bytes: int
    float32_bytes: int
    ms: float
    float32_ms: float

    def figures(self) -> dict[str, Any]:
        """Returns the reproducible figures, for a manifest."""
        return {"file": self.file, f"overlap@{NEAREST}": self.overlap, "size_bytes": self.size_bytes}


def write_variants(
    path: Path,
    names: Sequence[str],
    encode: Callable[[Path], Float[np.ndarray, "inputs dim"]],
    candidates: Float[np.ndarray, "contents dim"],
    min_overlap: float,
) -> list[Variant]:
    """Writes variants of a tower beside it, such as `user_tower.int8.onnx`, where they are good enough.

    The same tower gives the same bytes.

    Args:
        path: path of the tower in float32.
        names: `int8` (weights and products of matrices and convolutions, scaled dynamically), `float16`.
        encode: function that runs the tower in a file on real inputs, at least one.
        candidates: vectors of which the nearest are compared.
        min_overlap: least share of the nearest 20 in common with float32, mean over the inputs, 0 to 1.

    Raises:
        UserError: a variant is unknown.
    """
    for name in names:
        if name not in _CONVERSIONS:
            raise UserError(f"export.variants: no variant {name!r}; there are {', '.join(_CONVERSIONS)}")
    if not names:
        return []
    vectors, float32_ms = _timed(encode, path)
    nearest = _nearest(vectors, candidates)
    found = []
    for name in names:
        target = path.with_name(f"{path.stem}.{name}{path.suffix}")
        _CONVERSIONS[name](path, target)
        vectors, ms = _timed(encode, target)
        overlap = _overlap(_nearest(vectors, candidates), nearest)
        size_bytes = target.stat().st_size
        is_kept = overlap >= min_overlap
        if not is_kept:
            target.unlink()
        found.append(
            Variant(
                name=name, file=target.name if is_kept else None, overlap=overlap, size_bytes=size_bytes,
                float32_bytes=path.stat().st_size, ms=ms, float32_ms=float32_ms,
            )
        )  # fmt: skip
    return found


def _int8(path: Path, target: Path) -> None:
    model = onnx.load(path)
    logging.disable(logging.WARNING)  # it recommends to prepare the graph, which the exporter has done
    try:
        quantize_dynamic(
            model, target, weight_type=QuantType.QInt8, op_types_to_quantize=list(QUANTIZED),
            nodes_to_exclude=_before_rounding(model) + _turns(model), per_channel=True,
        )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)
    _save(onnx.load(target), path, target)


def _float16(path: Path, target: Path) -> None:
    model = onnx.load(path)
    converted = convert_float_to_float16(model, keep_io_types=True, node_block_list=_before_rounding(model))
    _save(converted, path, target)


_CONVERSIONS: dict[str, Callable[[Path, Path], None]] = {"int8": _int8, "float16": _float16}


def _save(model: onnx.ModelProto, path: Path, target: Path) -> None:
    """Saves a variant with the metadata of the original tower."""
    onnx.helper.set_model_props(model, {prop.key: prop.value for prop in onnx.load(path).metadata_props})
    onnx.save(model, target)


def _before_rounding(model: onnx.ModelProto) -> list[str]:
    """Returns nodes from a waveform to its record, which is rounded to float16: their small numbers need float32."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    open_nodes = [node for node in model.graph.node if _rounds(node)]
    seen: set[str] = set()
    while open_nodes:
        node = open_nodes.pop()
        if node.name not in seen:
            seen.add(node.name)
            open_nodes += [made_by[name] for name in node.input if name in made_by]
    return sorted(seen)


def _turns(model: onnx.ModelProto) -> list[str]:
    """Returns nodes that rotate vectors: along principal axes a few dimensions are far larger than the others, so eight
    bits for all of them keep little of the small ones."""
    return [node.name for node in model.graph.node if any(name.endswith(TURN) for name in node.input)]


def _rounds(node: onnx.NodeProto) -> bool:
    return node.op_type == "Cast" and any(each.i == onnx.TensorProto.FLOAT16 for each in node.attribute)


def _timed(encode: Callable[[Path], np.ndarray], path: Path) -> tuple[Float[np.ndarray, "inputs dim"], float]:
    """Returns the vectors, and milliseconds an input in the fastest of some rounds."""
    vectors, seconds = encode(path), []
    for _ in range(REPETITIONS):
        start = perf_counter()
        encode(path)
        seconds.append(perf_counter() - start)
    return vectors, 1_000 * min(seconds) / len(vectors)


def _overlap(first: Int[np.ndarray, "inputs nearest"], second: Int[np.ndarray, "inputs nearest"]) -> float:
    """Returns the share of rows in common, mean over the inputs."""
    common = [len(np.intersect1d(*rows)) for rows in zip(first, second, strict=True)]
    return float(np.mean(common)) / first.shape[1]


def _nearest(
    vectors: Float[np.ndarray, "inputs dim"], candidates: Float[np.ndarray, "contents dim"]
) -> Int[np.ndarray, "inputs nearest"]:
    count = min(NEAREST, len(candidates))
    return np.stack([np.argpartition(-(candidates @ vector), count - 1)[:count] for vector in vectors])
