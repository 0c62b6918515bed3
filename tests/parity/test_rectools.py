"""The metrics against RecTools 0.19, which judges the same random lists in an environment of its own."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.contracts.ranker import make_task
from towers.evaluation.harness import evaluate
from towers.evaluation.list_metrics import ListMetrics
from towers.evaluation.ranking.rankers import RANKINGS, Ranked, Ranking
from towers.evaluation.result import Evaluation
from towers.features.ragged import Ragged

ROOT = Path(__file__).parents[2]
PEERS = Path(os.environ.get("TOWERS_PEERS", ROOT / ".venv-peers"))
PYTHON = PEERS / "bin" / "python"
NUM_CASES = 24

pytestmark = [
    pytest.mark.unhooked,
    pytest.mark.skipif(not PYTHON.exists(), reason=f"no environment {PEERS}: scripts/peers makes it"),
]


class GivenLists:
    """A ranker whose lists are given, some of them short or empty."""

    name = "given"
    block_size = 4  # fewer than the listeners, so that blocks are joined

    def __init__(self, lists: list[list[int]], length: int):
        self._rows = np.array([(row + length * [-1])[:length] for row in lists])

    def rank(self, positions: np.ndarray, k: int) -> Mapping[Ranking, Ranked]:
        rows = self._rows[positions, :k]
        ranked = Ranked(rows=rows, scores=np.where(rows >= 0, -np.arange(rows.shape[1], dtype=float), -np.inf))
        return dict.fromkeys(RANKINGS, ranked)


def draw_case(seed: int) -> dict[str, Any]:
    """Draws contents without plays or facts, lists of 0 to all contents, and more targets than fit into k."""
    rng = np.random.default_rng(seed)
    contents, users = int(rng.integers(5, 15)), int(rng.integers(5, 12))

    def some(fewest: int, most: int, total: int) -> list[int]:
        return rng.choice(total, size=int(rng.integers(fewest, most + 1)), replace=False).tolist()

    def plays() -> list[int]:
        # Squared, so that the last contents are played by few listeners or none.
        return (contents * rng.random(int(rng.integers(0, 9))) ** 2).astype(int).tolist()

    return {
        "k": int(rng.integers(1, 8)),
        "num_contents": contents,
        "lists": [some(0, contents, contents) for _ in range(users)],
        "targets": [some(1, contents, contents) for _ in range(users)],
        "train": [plays() for _ in range(users)],
        "tags": [some(0, 3, 6) for _ in range(contents)],
    }


def ours(case: Mapping[str, Any]) -> Evaluation:
    task = make_task(case["train"], case["targets"], case["num_contents"])
    judge = ListMetrics(task, task.histories, {"genres": Ragged.from_lists(case["tags"])}, k=case["k"])
    ranker = GivenLists(case["lists"], case["num_contents"])
    return evaluate(task, ranker, filter_seen=False, ks=(case["k"],), min_users=1, list_judge=judge)


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> list[tuple[dict[str, Any], Evaluation, dict[str, Any]]]:
    """Returns each case with the evaluation of towers and RecTools' answer."""
    folder = tmp_path_factory.mktemp("rectools")
    cases = [draw_case(seed) for seed in range(NUM_CASES)]
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [PYTHON, Path(__file__).with_name("rectools_peer.py"), folder / "cases.json", folder / "answers.json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    answers = json.loads((folder / "answers.json").read_text())
    return [(case, ours(case), answer) for case, answer in zip(cases, answers, strict=True)]


def figures(case: Mapping[str, Any], evaluation: Evaluation, metric: str) -> np.ndarray:
    return evaluation.slices["all"].values[f"{metric}@{case['k']}"]


def assert_same(found: np.ndarray, expected: list[float | None] | np.ndarray) -> None:
    np.testing.assert_allclose(found, np.array(expected, dtype=float), rtol=1e-9, atol=1e-12)


def num_targets(case: Mapping[str, Any]) -> np.ndarray:
    return np.array([len(targets) for targets in case["targets"]])


def test_the_cases_reach_the_corners(compared):
    """The cases have empty, short and cut lists; more targets than places; cold contents in lists; pairs without
    tags.
    """
    shown = [(case, row) for case, _, _ in compared for listed in case["lists"] for row in listed[: case["k"]]]
    assert any(all(row not in played for played in case["train"]) for case, row in shown)
    assert any(not case["tags"][row] for case, row in shown)
    lengths = np.concatenate([[len(listed) / case["k"] for listed in case["lists"]] for case, _, _ in compared])
    assert (lengths == 0).any()
    assert ((lengths > 0) & (lengths < 1)).any()
    assert (lengths > 1).any()
    assert any((num_targets(case) > case["k"]).any() for case, _, _ in compared)


@pytest.mark.parametrize("metric", ["recall", "precision", "ndcg", "mrr", "hit_rate"])
def test_hits(compared, metric):
    """Recall of towers is RecTools' R-precision."""
    for case, evaluation, answer in compared:
        assert_same(figures(case, evaluation, metric), answer[metric])


@pytest.mark.parametrize(("metric", "of_all"), [("recall", "recall_of_all"), ("map", "map_of_all")])
def test_theirs_is_over_all_targets_and_ours_over_those_that_fit(compared, metric, of_all):
    for case, evaluation, answer in compared:
        fit = np.minimum(num_targets(case), case["k"])
        assert_same(figures(case, evaluation, metric) * fit / num_targets(case), answer[of_all])


def test_map_divided_by_k(compared):
    for case, evaluation, answer in compared:
        fit = np.minimum(num_targets(case), case["k"])
        assert_same(figures(case, evaluation, "map") * fit / case["k"], answer["map_of_k"])


@pytest.mark.parametrize("metric", ["novelty", "popularity", "serendipity"])
def test_lists(compared, metric):
    """For empty lists RecTools gives no figure, and towers NaN."""
    for case, evaluation, answer in compared:
        assert_same(figures(case, evaluation, metric), answer[metric])


def test_diversity(compared):
    """A list of one content has no diversity in towers and 0 in RecTools."""
    for case, evaluation, answer in compared:
        found, expected = figures(case, evaluation, "diversity"), np.array(answer["diversity"], dtype=float)
        is_single = np.array([min(len(listed), case["k"]) == 1 for listed in case["lists"]])
        assert_same(found[~is_single], expected[~is_single])
        assert np.isnan(found[is_single]).all()
        assert (expected[is_single] == 0).all()


def test_coverage(compared):
    for case, evaluation, answer in compared:
        assert evaluation.catalogue[f"coverage@{case['k']}"] == pytest.approx(answer["catalogue"]["coverage"], rel=1e-9)
