"""Evaluations for a terminal (a table) and for what comes after (JSON and Parquet)."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table
from rich.text import Text

from towers.evaluation.intervals import Interval, intervals
from towers.evaluation.report.listener_files import write_listeners, write_lists
from towers.evaluation.result import Evaluation, metric_key, split_key
from towers.manifest import atomic_file, write_json

MAIN_METRIC = "recall@20"

METRICS_SCHEMA = pa.schema(
    [
        ("ranker", pa.string()),
        ("slice", pa.string()),
        ("metric", pa.string()),
        ("k", pa.int32()),
        ("value", pa.float64()),
        ("users", pa.int64()),
    ]
)
"""One row per ranker, slice, metric and k; `value` is null where the slice is too small for a figure."""


def table(evaluations: Sequence[Evaluation], keys: Sequence[str]) -> Table:
    """Rankers as rows, `keys` (such as `recall@20/discovery`) as columns, the best of each in bold.

    The footer holds the listeners behind each column (of the first ranker that has the slice); a figure that
    is missing shows as a dash, and where nobody has it a line below the table says why.
    """
    means = [evaluation.means() for evaluation in evaluations]
    best = {key: max((figures[key] for figures in means if key in figures), default=None) for key in keys}
    missing = [key for key in keys if best[key] is None] if evaluations else []
    result = Table(show_footer=True, caption=Text(_why(evaluations, missing)), caption_justify="left")
    result.add_column("ranker", footer="listeners")
    for key in keys:
        metric, slice_name = split_key(key)
        counts = [one.counts[slice_name] for one in evaluations if slice_name in one.counts]
        footer = f"{counts[0]:,}" if counts else "–"
        result.add_column(f"{metric}\n{slice_name}", footer=footer, justify="right")
    for evaluation, figures in zip(evaluations, means, strict=True):
        cells = [_cell(figures.get(key), best[key]) for key in keys]
        result.add_row(Text(evaluation.ranker), *cells)
    return result


def costs(choices: Mapping[str, Mapping[str, Any]]) -> Table:
    """What each baseline cost in core-seconds, and how many settings of it were tried, of how many.

    Args:
        choices: by ranker what tuning tried and chose (`choice.Choice.as_dict`).
    """
    parts = ("tuning", "fit", "ranking")
    result = Table(title="core-seconds of the baselines, when they were made", title_justify="left", show_footer=True)
    result.add_column("ranker", footer="all")
    for part in parts:
        total = sum(choice["core_seconds"][part] for choice in choices.values())
        result.add_column(part, footer=f"{total:,.1f}", justify="right")
    result.add_column("settings tried", justify="right")
    for ranker, choice in choices.items():
        tried, left_out = len(choice["trials"]), len(choice["left_out"])
        cells = [f"{choice['core_seconds'][part]:,.1f}" for part in parts]
        result.add_row(Text(ranker), *cells, f"{tried} of {tried + left_out}" if left_out else f"{tried}")
    return result


def _why(evaluations: Sequence[Evaluation], missing: Sequence[str]) -> str:
    """Why no ranker has a figure for some columns; empty where all have one."""
    absent, too_small, undefined = [], [], []
    for key in missing:
        slice_name = split_key(key)[1]
        counts = [one.counts[slice_name] for one in evaluations if slice_name in one.counts]
        if not counts:
            absent.append(slice_name)
        elif max(counts) < max(evaluations[0].min_users, 1):
            too_small.append(f"{slice_name} has {max(counts):,}")
        else:
            undefined.append(key)
    needed = f"{evaluations[0].min_users:,}" if evaluations else ""
    lines = {
        f"{needed} listeners are needed for a figure (evaluation.min_users): ": too_small,
        "not in this data: ": absent,
        f"{needed} listeners are needed for whom it is defined: ": undefined,
    }
    return "\n".join(f"– {said}{', '.join(dict.fromkeys(names))}" for said, names in lines.items() if names)


def main_intervals(
    evaluations: Sequence[Evaluation], main_metric: str = MAIN_METRIC, *, seed: int = 0
) -> dict[str, dict[str, Interval]]:
    """By ranker and key the 95 % interval (bootstrap over listeners) of one metric in every slice that has it."""
    found = {}
    for evaluation in evaluations:
        means = evaluation.means()
        keys = [key for name in evaluation.slices if (key := metric_key(main_metric, name)) in means]
        found[evaluation.ranker] = intervals(evaluation, keys, seed=seed)
    return found


def write(
    evaluations: Sequence[Evaluation],
    folder: Path,
    metadata: Mapping[str, Any],
    *,
    main_metric: str = MAIN_METRIC,
    known_intervals: Mapping[str, Mapping[str, Interval]] | None = None,
    seed: int = 0,
) -> None:
    """Writes the evaluations to `folder`, each file whole or not at all.

    - `metrics.json`: `metadata`, and per ranker `means` by key, listener `counts` by slice, and `intervals` of
      `main_metric` (`main_intervals`).
    - `metrics.parquet`: the means as a long table, `METRICS_SCHEMA`.
    - `listeners.parquet`: the figures of every listener (`write_listeners`).
    - `lists.parquet`: the kept lists of every listener (`write_lists`).

    Args:
        evaluations: the model's first; their rankers bear different names.
        folder: made if it does not exist; files of an earlier evaluation are replaced.
        metadata: JSON-like; what the figures are about (data, versions, checkpoint).
        main_metric: without a slice, such as `recall@20`.
        known_intervals: of the main metric, where they were made before (`Report.intervals`): they take a while.
        seed: of the bootstrap.

    Raises:
        ValueError: no evaluation, or two rankers share a name.
    """
    names = [evaluation.ranker for evaluation in evaluations]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"a report needs rankers of different names, got {names}")
    if known_intervals is None:
        known_intervals = main_intervals(evaluations, main_metric, seed=seed)
    rankers = {
        evaluation.ranker: {
            "means": evaluation.means(),
            "counts": evaluation.counts,
            "intervals": {key: [one.low, one.high] for key, one in known_intervals[evaluation.ranker].items()},
        }
        for evaluation in evaluations
    }
    rows = [row for evaluation in evaluations for row in _metric_rows(evaluation)]
    with atomic_file(folder / "metrics.parquet") as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=METRICS_SCHEMA), temporary, compression="zstd")
    write_listeners(evaluations, folder / "listeners.parquet")
    write_lists(evaluations, folder / "lists.parquet")
    # Last, because whoever finds it takes the rest for written.
    write_json(folder / "metrics.json", {"metadata": dict(metadata), "rankers": rankers})


def _cell(value: float | None, best: float | None) -> Text:
    if value is None:
        return Text("–")
    return Text(f"{value:.4f}", style="bold" if value == best else "")


def _metric_rows(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    means = evaluation.means()
    for slice_name, result in evaluation.slices.items():
        for metric in result.values:
            name, k = metric.split("@")
            yield {
                "ranker": evaluation.ranker,
                "slice": slice_name,
                "metric": name,
                "k": int(k),
                "value": means.get(metric_key(metric, slice_name)),
                "users": len(result),
            }
