"""The output of `towers evaluate` for a run, for its export, and for two side by side."""

import json
import shutil
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests import command_line
from tests.command_line import SMALL_WORLD, kill_when, ok, towers
from towers import api
from towers.evaluation.acceptance import LISTEN_CHANCE

pytestmark = pytest.mark.unhooked
EVALUATE = ("evaluate", "experiment=demo", *SMALL_WORLD)


def figures_in(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def copy(demo: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo's folder to write into, without the trainings and evaluations of other tests."""
    folder = tmp_path_factory.mktemp("evaluate") / "demo"
    shutil.copytree(demo[0], folder, symlinks=True)
    for trained in (folder / "runs" / "demo").iterdir():
        if not (trained / "evaluation-test").exists():
            shutil.rmtree(trained)
    ended = (folder / "printed.txt").stat().st_mtime
    for path in (folder / "evaluations" / "baselines").iterdir():
        if path.stat().st_mtime > ended:
            shutil.rmtree(path)
    return folder


@pytest.fixture(scope="module")
def run(copy: Path) -> Path:
    (folder,) = (copy / "runs" / "demo").iterdir()
    return folder


def test_a_run_has_its_figures_lists_and_page_beside_it(run: Path) -> None:
    evaluation = run / "evaluation-test"
    names = {path.name for path in evaluation.iterdir()}
    assert names == {
        "metrics.json", "metrics.parquet", "listeners.parquet", "lists.parquet", "profiles.parquet", "report.html",
        "table.txt",
    }  # fmt: skip
    figures = figures_in(evaluation)
    assert {"random", "popularity", "own most-played", "item-kNN", "EASE", "iALS", "BPR", "artist mean"} <= set(
        figures["rankers"]
    )
    model = figures["rankers"]["towers"]["means"]
    for key in ("map@10", "precision@10", "novelty@20", "coverage@20/discovery", "calibration_genre@20"):
        assert key in model, key
    assert any(key.startswith("recall@20/history:") for key in model)
    assert any(key.startswith("recall@20/taste:") for key in model)
    assert all(check["passed"] is not False for check in figures["metadata"]["checks"])
    page = (evaluation / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "own most-played" in page


def test_listeners_can_be_sliced_again_later(run: Path) -> None:
    """The mean over the rows of a slice is the figure that was printed."""
    evaluation = run / "evaluation-test"
    chosen = (pc.field("ranker") == "towers") & (pc.field("slice") == "discovery")
    model = pq.read_table(evaluation / "listeners.parquet").filter(chosen)
    profiles = pq.read_table(evaluation / "profiles.parquet")
    told = figures_in(evaluation)["rankers"]["towers"]["means"]["ndcg@20/discovery"]
    assert pc.mean(model["ndcg@20"]).as_py() == pytest.approx(told)
    assert set(model["user_row"].to_pylist()) <= set(profiles["user_row"].to_pylist())


@pytest.mark.usefixtures("no_page")
def test_an_export_is_as_good_as_its_run(copy: Path, run: Path) -> None:
    ok(copy, *EVALUATE, "export=exports/current")
    (version,) = [path.name for path in (copy / "exports").iterdir() if not path.is_symlink()]
    found = figures_in(copy / "evaluations" / version / "evaluation-test")["rankers"]
    expected = figures_in(run / "evaluation-test")["rankers"]
    assert set(found) == set(expected)
    for name, figures in expected.items():
        assert found[name]["means"] == pytest.approx(figures["means"], abs=1e-6), name
    assert "report.html" not in {path.name for path in (copy / "exports" / "current").iterdir()}


@pytest.mark.usefixtures("no_page")
def test_baselines_are_kept(copy: Path) -> None:
    """Another period of the same store evaluates the baselines anew; the same period of another subject does not."""
    kept = {path: path.stat().st_mtime_ns for path in (copy / "evaluations" / "baselines").iterdir()}
    ok(copy, *EVALUATE, "export=exports/current", "evaluation.main_metric=recall@10")
    assert {path: path.stat().st_mtime_ns for path in (copy / "evaluations" / "baselines").iterdir()} == kept
    ok(copy, *EVALUATE, "evaluation.period=validation")
    assert set((copy / "evaluations" / "baselines").iterdir()) > set(kept)


@pytest.mark.slow
def test_baselines_are_tuned_where_trials_are_allowed(copy: Path, run: Path) -> None:
    ok(copy, *EVALUATE, "evaluation.tuning.max_trials=2", f"paths.evaluations={copy / 'tuned'}")
    tuning = figures_in(run / "evaluation-test")["metadata"]["tuning"]
    assert len(tuning["item-kNN"]["trials"]) == len(tuning["EASE"]["trials"]) == 2
    assert (run / "evaluation-test" / "report.html").read_text().count("How the baselines were tuned") == 1


@pytest.mark.usefixtures("no_page")
def test_a_run_and_its_export_do_not_differ(copy: Path, run: Path) -> None:
    printed = ok(copy, *EVALUATE, f"compare=[exports/current,{run.relative_to(copy)}]")
    assert "Jaccard 1.000" in printed
    (target,) = [path for path in (copy / "evaluations").iterdir() if "-to-" in path.name]
    assert {path.name for path in target.iterdir()} == {
        "comparison.json", "contents.parquet", "listeners.parquet", "table.txt"
    }  # fmt: skip
    changes = json.loads((target / "comparison.json").read_text())["changes"]
    assert changes["recall@20/discovery"]["difference"]["mean"] == pytest.approx(0, abs=1e-6)
    assert "are the same" not in printed
    same = ok(copy, *EVALUATE, "compare=[exports/current,exports/current]").splitlines()
    assert "exports/" in same[0]
    assert same[0].endswith(" are the same: nothing can differ")


def test_a_comparison_in_python(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison once ended in an error after all its work."""
    monkeypatch.chdir(copy)
    apart = f"paths.evaluations='{tmp_path}'"
    found = api.evaluate(*EVALUATE[1:], apart, "compare=[exports/current,exports/current]")
    before, after, difference = found.values()
    assert list(found)[2] == "difference"
    assert before == after
    assert before["recall@20/discovery"] > 0
    assert {*difference.values()} == {0}


def test_callers_mistakes_get_one_line(copy: Path) -> None:
    def refused(*arguments: str) -> str:
        return command_line.refused(copy, *EVALUATE, *arguments)

    assert "neither a finished run nor an export" in refused("export=stores")
    assert "needs two folders" in refused("compare=[exports/current]")
    assert "neither a finished run nor an export" in refused("compare=[exports/current,nowhere]")
    assert "evaluation.list_k=7" in refused("evaluation.list_k=7")
    assert "must rise" in refused("evaluation.slicings.history.bounds=[3,1]")
    assert "contents/ has no column 'mood'; it has" in refused("evaluation.slicings.genres.column=mood")
    assert "evaluation.tuning" in refused("evaluation.tuning.metric=clicks@20")
    assert "evaluation.tuning" in refused("evaluation.tuning.max_trials=-1")
    assert "main_metric=recall@20/discovery: give it without a slice" in refused(
        "evaluation.main_metric=recall@20/discovery"
    )
    assert "no slice 'nonsense'" in refused("evaluation.tables=[[recall@20/nonsense]]")
    assert "evaluation.tables" in refused("evaluation.tables=[recall@20]")
    assert "evaluation.baselines.ease.l2='hot'" in refused("evaluation.baselines.ease.l2=hot")
    tuned = "evaluation.tuning.max_trials=2"
    assert "evaluation.baselines.ease.alpha: unknown" in refused(tuned, "+evaluation.tuning.grid.ease.alpha=[1.0]")
    assert "grid.eaze: no such baseline" in refused(tuned, "+evaluation.tuning.grid.eaze.l2=[1.0]")
    assert "evaluation.slicings.taste: this name is taken" in refused("+evaluation.slicings.taste=null")
    few = ("compare=[exports/current,exports/current]", "evaluation.min_users=1000")
    assert "evaluation.min_users=1000" in refused(*few)


@pytest.mark.slow
def test_killed_while_it_evaluates_the_same_command_ends_well(copy: Path, run: Path) -> None:
    """Files that the interrupted evaluation had replaced, with other settings, are replaced again."""
    target = run / "evaluation-test"
    ok(copy, *EVALUATE)
    expected, table = figures_in(target)["rankers"]["EASE"]["means"], (target / "table.txt").read_text()
    other = (*EVALUATE, "evaluation.tables=[[mrr@10]]")
    assert kill_when(copy, lambda: (target / "table.txt").read_text() != table, *other)
    assert not (target / "metrics.json").exists()
    ok(copy, *EVALUATE)
    assert figures_in(target)["rankers"]["EASE"]["means"] == pytest.approx(expected)
    assert (target / "table.txt").read_text() == table


@pytest.mark.usefixtures("no_page")
def test_without_baselines_slicings_and_tables(copy: Path, run: Path) -> None:
    nothing = ("evaluation.baselines=null", "evaluation.slicings=null", "evaluation.tables=null")
    ok(copy, *EVALUATE, *nothing)
    assert list(figures_in(run / "evaluation-test")["rankers"]) == ["towers", LISTEN_CHANCE]


@pytest.mark.usefixtures("no_page")
def test_figures_that_fail_their_own_checks_are_refused(copy: Path, run: Path) -> None:
    """The exit code is 3, the second time too, when nothing is evaluated any more."""
    ok(copy, *EVALUATE)
    path = run / "evaluation-test" / "metrics.json"
    figures = json.loads(path.read_text())
    figures["metadata"]["checks"][0] |= {"passed": False, "detail": "a listener hears tomorrow"}
    path.write_text(json.dumps(figures))
    done = towers(copy, *EVALUATE)
    assert done.returncode == 3, done.stderr
    assert "a listener hears tomorrow" in done.stderr
