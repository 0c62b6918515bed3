import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from tests.contracts.ranker import checkerboard
from towers.evaluation.baselines.counts import Popularity
from towers.evaluation.baselines.linear import ItemKNN
from towers.evaluation.harness import evaluate
from towers.evaluation.ranking.rankers import DenseRanker
from towers.evaluation.report.listener_files import LISTS_SCHEMA
from towers.evaluation.report.table import METRICS_SCHEMA, main_intervals, table, write
from towers.evaluation.slices import ByListener, divided

KEYS = ("recall@1/discovery", "recall@20", "recall@20/cold_users", "recall@20/never")


@pytest.fixture(scope="module")
def evaluations():
    task = checkerboard()
    rankers = (Popularity(task), ItemKNN(task, task.histories))
    return [evaluate(task, DenseRanker(task, ranker), filter_seen=False, ks=(1, 20), min_users=2) for ranker in rankers]


def test_table_shows_figures_counts_and_gaps(evaluations):
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table(evaluations, KEYS))
    shown = capture.get()
    rows = {name: line for line in shown.splitlines() for name in ("popularity", "item-kNN") if name in line}
    assert "1.0000" in rows["item-kNN"]
    assert rows["item-kNN"].count("–") == 2
    footer = next(line for line in shown.splitlines() if "listeners" in line)
    assert [cell.strip() for cell in footer.strip("│ ").split("│")] == ["listeners", "17", "17", "1", "–"]


def test_below_the_table_stands_why_a_column_is_empty(evaluations):
    needed = "– 2 listeners are needed for a figure (evaluation.min_users): cold_users has 1"
    assert str(table(evaluations, KEYS).caption) == f"{needed}\n– not in this data: never"
    assert not table(evaluations, KEYS[:2]).caption
    nowhere = replace(evaluations[0], slices={
        name: replace(one, values={metric: np.full_like(figures, np.nan) for metric, figures in one.values.items()})
        for name, one in evaluations[0].slices.items()
    })  # fmt: skip
    assert str(table([nowhere], ["recall@20"]).caption) == (
        "– 2 listeners are needed for whom it is defined: recall@20"
    )


def test_the_best_of_each_column_is_bold(evaluations):
    columns = table(evaluations, KEYS[:2]).columns
    discovery, everything = ([getattr(cell, "style", None) for cell in column.cells] for column in columns[1:])
    assert discovery == ["", "bold"]
    # Lists as long as the catalogue find everything: both are best.
    assert everything == ["bold", "bold"]


def test_table_of_nobody():
    assert table([], KEYS).row_count == 0


def test_metrics_json(evaluations, tmp_path):
    write(evaluations, tmp_path / "new", {"data": "checkerboard"})
    written = json.loads((tmp_path / "new" / "metrics.json").read_text())
    assert written["metadata"] == {"data": "checkerboard"}
    knn = written["rankers"]["item-kNN"]
    assert knn["means"]["recall@1/discovery"] == 1
    assert knn["counts"]["discovery"] == 17
    assert knn["intervals"]["recall@20/discovery"] == [1, 1]
    assert "recall@20/cold_users" not in knn["intervals"]


def test_metrics_parquet(evaluations, tmp_path):
    write(evaluations, tmp_path, {})
    rows = pq.read_table(tmp_path / "metrics.parquet")
    assert rows.schema.equals(METRICS_SCHEMA)
    by_key = {(row["ranker"], row["slice"], row["metric"], row["k"]): row for row in rows.to_pylist()}
    assert len(by_key) == len(rows)
    assert by_key["item-kNN", "discovery", "recall", 1]["value"] == 1
    assert by_key["item-kNN", "discovery", "recall", 1]["users"] == 17
    assert by_key["popularity", "cold_users", "hit_rate", 20]["value"] is None
    assert by_key["popularity", "cold_users", "hit_rate", 20]["users"] == 1


def test_listeners_parquet_holds_what_the_means_are_of(evaluations, tmp_path):
    write(evaluations, tmp_path, {})
    rows = pq.read_table(tmp_path / "listeners.parquet").to_pylist()
    values = [row["ndcg@20"] for row in rows if (row["ranker"], row["slice"]) == ("popularity", "discovery")]
    assert sum(values) / len(values) == pytest.approx(evaluations[0].means()["ndcg@20/discovery"])
    assert {row["user_row"] for row in rows} == set(range(100, 117))


def test_figures_of_listeners_are_in_single_precision_and_those_of_slicings_are_the_models(evaluations, tmp_path):
    halves = ByListener(name="half", labels=("odd", "even"), codes=np.arange(17) % 2)
    model, baseline = (divided(evaluation, halves) for evaluation in evaluations)
    write([model, baseline], tmp_path, {})
    rows = pq.read_table(tmp_path / "listeners.parquet")
    assert rows.schema.field("ndcg@20").type == pa.float32()
    found = set(zip(rows["ranker"].to_pylist(), rows["slice"].to_pylist(), strict=True))
    assert {("popularity", "half:odd"), ("popularity", "discovery"), ("item-kNN", "discovery")} <= found
    assert not any(":" in name for ranker, name in found if ranker == "item-kNN")


def test_a_metric_of_one_evaluation_is_null_for_the_others(evaluations, tmp_path):
    task = checkerboard()
    other = evaluate(task, DenseRanker(task, Popularity(task)), filter_seen=False, ks=(5,), min_users=2)
    write([evaluations[1], other], tmp_path, {})
    rows = pq.read_table(tmp_path / "listeners.parquet").to_pylist()
    assert {row["recall@5"] is None for row in rows if row["ranker"] == "item-kNN"} == {True}
    assert {(row["recall@5"] is None, row["recall@20"]) for row in rows if row["ranker"] == "popularity"} == {
        (False, None)
    }


def test_figures_are_written_slice_by_slice(evaluations, tmp_path):
    write(evaluations, tmp_path, {})
    file = pq.ParquetFile(tmp_path / "listeners.parquet")
    sizes = [file.metadata.row_group(place).num_rows for place in range(file.metadata.num_row_groups)]
    assert sizes == [len(part) for evaluation in evaluations for part in evaluation.slices.values() if len(part)]


def test_lists_parquet_holds_the_lists_without_empty_places(evaluations, tmp_path):
    """Listeners of the checkerboard have heard nearly half of the catalogue, so that no list is full."""
    write(evaluations, tmp_path, {})
    table = pq.read_table(tmp_path / "lists.parquet")
    assert table.schema.equals(LISTS_SCHEMA)
    rows = {(row["ranker"], row["ranking"], row["user_row"]): row for row in table.to_pylist()}
    assert len(rows) == len(table) == 2 * 3 * 17
    for evaluation in evaluations:
        for ranking, ranked in evaluation.lists.items():
            for user_row, contents, scores in zip(evaluation.user_rows, ranked.rows, ranked.scores, strict=True):
                row = rows[evaluation.ranker, ranking, user_row]
                assert row["content_rows"] == [content for content in contents if content >= 0]
                assert row["scores"] == [score for content, score in zip(contents, scores, strict=True) if content >= 0]
    assert (evaluations[0].lists["unseen"].rows < 0).any()


def test_intervals_that_are_known_are_not_made_again(evaluations, tmp_path):
    found = main_intervals(evaluations, "recall@1")
    known = {name: {"recall@1": replace(of["recall@1"], low=-1.0, high=2.0)} for name, of in found.items()}
    write(evaluations, tmp_path, {}, main_metric="recall@1", known_intervals=known)
    written = json.loads((tmp_path / "metrics.json").read_text())["rankers"]
    assert [ranker["intervals"] for ranker in written.values()] == [{"recall@1": [-1, 2]}] * 2


def test_writing_again_replaces_and_leaves_nothing_else(evaluations, tmp_path):
    write(evaluations, tmp_path, {"run": 1})
    write(evaluations[:1], tmp_path, {"run": 2})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "listeners.parquet",
        "lists.parquet",
        "metrics.json",
        "metrics.parquet",
    ]
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["metadata"] == {"run": 2}
    assert list(written["rankers"]) == ["popularity"]


@pytest.mark.parametrize("times", [0, 2])
def test_a_report_of_nobody_or_of_two_by_one_name_is_refused(evaluations, tmp_path, times):
    with pytest.raises(ValueError, match="different names"):
        write(evaluations[:1] * times, tmp_path, {})
    assert not list(tmp_path.iterdir())
