"""Metrics and lists of every listener as Parquet, written in parts because all would not fit into memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from towers.evaluation.ranking.rankers import Ranked
from towers.evaluation.result import Evaluation, SliceResult
from towers.manifest import atomic_file

LISTS_SCHEMA = pa.schema(
    [
        ("ranker", pa.string()),
        ("ranking", pa.string()),
        ("user_row", pa.int64()),
        ("content_rows", pa.list_(pa.int32())),
        ("scores", pa.list_(pa.float32())),
    ]
)
"""Schema with a row per ranker, ranking (`rankers.RANKINGS`) and listener; lists are best first and as long as kept."""


def write_listeners(evaluations: Sequence[Evaluation], path: Path) -> None:
    """Writes a row per ranker, slice and listener (`user_row`), with a float32 column per metric and a row group per
    slice.

    For the first evaluation (the model) all slices are written. For the others, slices of slicings (`name:label`) are
    omitted, as they would be most of the file: their means are in `metrics.parquet`, and the values of slices by
    listener can be derived from `discovery` with `profiles.parquet`. A metric that only some evaluations have is null
    for the others.
    """
    metrics = dict.fromkeys(
        metric for evaluation in evaluations for result in evaluation.slices.values() for metric in result.values
    )
    fields = [("ranker", pa.string()), ("slice", pa.string()), ("user_row", pa.int64())]
    schema = pa.schema([*fields, *((metric, pa.float32()) for metric in metrics)])
    parts = (
        _figures(evaluation, name, result, schema)
        for place, evaluation in enumerate(evaluations)
        for name, result in evaluation.slices.items()
        if place == 0 or ":" not in name
    )
    _stream(path, schema, parts)


def write_lists(evaluations: Sequence[Evaluation], path: Path) -> None:
    """Writes the lists that the evaluations kept, in `LISTS_SCHEMA`, with a row group per ranker and ranking."""
    parts = (
        _lists(evaluation, ranking, ranked)
        for evaluation in evaluations
        for ranking, ranked in evaluation.lists.items()
    )
    _stream(path, LISTS_SCHEMA, parts)


def _stream(path: Path, schema: pa.Schema, parts: Iterator[pa.Table]) -> None:
    with atomic_file(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for part in parts:
            if len(part):
                writer.write_table(part)


def _figures(evaluation: Evaluation, slice_name: str, result: SliceResult, schema: pa.Schema) -> pa.Table:
    columns = {
        "ranker": pa.repeat(evaluation.ranker, len(result)),
        "slice": pa.repeat(slice_name, len(result)),
        "user_row": pa.array(evaluation.user_rows[result.positions], pa.int64()),
    }
    for metric in schema.names[len(columns) :]:
        values = result.values.get(metric)
        columns[metric] = pa.nulls(len(result), pa.float32()) if values is None else pa.array(values.astype(np.float32))
    return pa.table(columns, schema=schema)


def _lists(evaluation: Evaluation, ranking: str, ranked: Ranked) -> pa.Table:
    filled = ranked.rows >= 0
    offsets = pa.array(np.append(0, np.cumsum(filled.sum(axis=1))), pa.int32())
    flat = (pa.array(ranked.rows[filled], pa.int32()), pa.array(ranked.scores[filled].astype(np.float32)))
    rows, scores = (pa.ListArray.from_arrays(offsets, values) for values in flat)
    columns = [pa.repeat(name, len(ranked.rows)) for name in (evaluation.ranker, ranking)]
    return pa.table([*columns, pa.array(evaluation.user_rows, pa.int64()), rows, scores], schema=LISTS_SCHEMA)
