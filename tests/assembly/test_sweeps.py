"""A sweep: its folder, the mark of each line, jobs that fail, and the table."""

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.assembly.test_choosing import MONITOR, finished
from towers.assembly.sweeps import score, tell
from towers.config.application import run_application
from towers.config.sweeping import Job, Sweepable, _Marked, sweep_name
from towers.errors import UserError


@pytest.fixture
def swept(tmp_path, monkeypatch, capsys):
    """Sweeps a command with a job of the test's own; returns the folder, the jobs, and the output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # as the command line does
    told = []

    def sweep(job, *arguments):
        told.clear()
        sweepable = Sweepable(score=lambda result: None, tell=lambda folder, jobs: told.append((folder, jobs)))
        try:
            run_application("train", ["-m", *arguments], job, sweepable)
        except UserError as error:
            told.append(error)
        return *told, capsys.readouterr()

    return sweep


@pytest.mark.slow
def test_each_line_says_its_job_and_others_go_on_after_one_that_failed(swept):
    names = []

    def job(config):
        names.append(sweep_name())
        print("one\ntwo")
        if config.seed == 2:
            raise UserError("seed=2: will not\ndo")
        return Path("runs") / str(config.seed)

    (folder, jobs), error, printed = swept(job, "seed=1,2,3", "optimizer.lr=0.5", "~logger", "+own=3")
    assert printed.out.splitlines() == [
        f"job {number} of 3: {line}"
        for number in (1, 2, 3)
        for line in (f"seed={number}", "one", "two", *(["failed: seed=2: will not do"] if number == 2 else []))
    ]
    assert printed.err == ""
    assert str(error) == "seed=2: will not\ndo"
    assert folder.parent == Path("runs/sweeps")
    assert folder.name.startswith("seed-")
    assert names == [folder.name] * 3
    assert [job.given for job in jobs] == [{"seed": "1"}, {"seed": "2"}, {"seed": "3"}]
    assert [job.result for job in jobs] == ["runs/1", None, "runs/3"]
    assert sweep_name() is None


@pytest.mark.slow
def test_the_same_command_has_the_same_folder_and_no_job_of_before(swept):
    (first, jobs), _ = swept(lambda config: "a", "seed=1,2", "optimizer.lr=choice(1)", "paths.runs=my runs")
    (second, again), _ = swept(lambda config: "b", "optimizer.lr=choice(1)", "paths.runs=my runs", "seed=1,2")
    assert first == second
    assert first.parent == Path("my runs/sweeps")
    assert len(jobs) == len(again) == 2
    assert {job.result for job in again} == {"b"}


def test_a_folder_of_ones_own(swept):
    (folder, _), _ = swept(lambda config: "a", "seed=range(0,2)", "hydra.sweep.dir=mine")
    assert folder == Path("mine")


def test_what_moves_a_cursor_is_not_marked():
    stream = io.StringIO()
    marked = _Marked(stream, "job 1: ")
    for text in ("a", "b\n", "\x1b[2Kbar\n", "\n", "c\nd\n"):
        marked.write(text)
    assert stream.getvalue() == "job 1: ab\n\x1b[2Kbar\njob 1: \njob 1: c\njob 1: d\n"


def job_of(number: int, result: Path | None, **given: str) -> Job:
    return Job(number=number, given=given, result=None if result is None else str(result),
               error="lr: too high" if result is None else None)  # fmt: skip


def test_the_table_is_best_first_with_what_differed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    runs = [finished(Path("runs/default") / name, best, 1) for name, best in (("a", 0.1), ("b", 0.3), ("c", None))]
    results = [*runs[:2], None, runs[2]]
    jobs = [job_of(place + 1, result, lr=f"0.{place}", seed="0") for place, result in enumerate(results)]
    folder = tmp_path / "runs" / "sweeps" / "lr-01"
    folder.mkdir(parents=True)
    (folder / "left").symlink_to("nowhere")
    tell(folder, jobs)
    printed = capsys.readouterr().out
    assert MONITOR in printed
    assert "seed" not in printed
    assert printed.index("runs/default/b") < printed.index("runs/default/a") < printed.index("runs/default/c")
    assert "job 3 failed: lr: too high\n" in printed
    assert printed.endswith(
        f"swept 4 jobs, 3 finished: {folder}; the best is runs/default/b, which checkpoint=best:{folder} takes\n"
    )
    table = pq.read_table(folder / "runs.parquet")
    assert table.column_names == ["job", "lr", "monitor", "best", "best_epoch", "seconds", "folder", "error"]
    assert table["job"].to_pylist() == [2, 1, 4, 3]
    assert table["best"].to_pylist() == [0.3, 0.1, None, None]
    assert table["error"].to_pylist() == [None, None, None, "lr: too high"]
    assert {path.name: path.resolve().name for path in folder.iterdir() if path.is_symlink()} == {
        f"default-{name}": name for name in "abc"
    }
    assert score(runs[1]) == 0.3
    assert score(runs[2]) is None
