"""Output of evaluations: a table for the terminal, JSON and Parquet files."""

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
"""Schema with a row per ranker, slice, metric and k; `value` is null if the slice has too few listeners."""


def table(evaluations: Sequence[Evaluation], keys: Sequence[str]) -> Table:
    """Builds a table with rankers as rows and `keys` (such as `recall@20/discovery`) as columns, the best in bold.

    The footer has the number of listeners of each column (for the first ranker that has the slice). A missing value is
    a dash; if no ranker has a value, a line below the table says why.
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
    """Builds a table of the cost of each baseline in core-seconds, and its number of trials out of all settings.

    Args:
        choices: trials and choice of tuning by ranker (`choice.Choice.as_dict`).
    """
    parts = ("tuning", "fit", "ranking")
    result = Table(title="core-seconds of the baselines when they were made", title_justify="left", show_footer=True)
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
    """Returns the reasons why no ranker has a value in some columns; empty if there are no such columns."""
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
    """Returns, by ranker and key, the 95 % interval (bootstrap over listeners) of one metric in every slice."""
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
    """Writes the evaluations to `folder`, each file atomically.

    - `metrics.json`: `metadata`, and for each ranker `means` by key, listener `counts` by slice, and `intervals` of
      `main_metric` (`main_intervals`). It is written last, so its presence marks completion.
    - `metrics.parquet`: the means as a long table, `METRICS_SCHEMA`.
    - `listeners.parquet`: the metrics of every listener (`write_listeners`).
    - `lists.parquet`: the kept lists of every listener (`write_lists`).

    Args:
        evaluations: evaluations, the model first; their rankers have different names.
        folder: folder, which is created if necessary; files of an earlier evaluation are replaced.
        metadata: JSON-like facts about the evaluation (data, versions, checkpoint).
        main_metric: metric without a slice, such as `recall@20`.
        known_intervals: intervals of the main metric, if they were computed before (`Report.intervals`), to save time.
        seed: seed of the bootstrap.

    Raises:
        ValueError: there is no evaluation, or two rankers have the same name.
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
    # metrics.json is written last; its presence marks completion.
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
