"""The choice of a run: the newest of an experiment, or the best of a folder, and the line about it."""

import json
import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from towers.assembly.choosing import FinishedRun, best_of, chosen_run
from towers.errors import UserError

MONITOR = "validation/ndcg@20/discovery"


def finished(folder: Path, best: float | None, ended_s: int, *, monitor: str = MONITOR, store: str = "s") -> Path:
    """Makes a run that has come to its end, without its weights."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml({"trainer": {"monitor": monitor}, "logger": {}}))
    (folder / "environment.json").write_text(json.dumps({"store": store}))
    path = folder / "finished.json"
    path.write_text(json.dumps({"best": best, "best_epoch": 5, "seconds": 2.0}))
    os.utime(path, (ended_s, ended_s))
    return folder


@pytest.fixture
def chosen(tmp_path, monkeypatch, capsys):
    """Returns the run that `checkpoint` chooses in a folder with `runs/`, and the line that says so."""
    monkeypatch.chdir(tmp_path)

    def choose(checkpoint: str | None = None) -> tuple[str, str]:
        config = OmegaConf.create({"paths": {"runs": "runs"}, "name": "default", "checkpoint": checkpoint})
        return str(chosen_run(config)), capsys.readouterr().out

    return choose


RUNS = Path("runs") / "default"


class TestTheNewest:
    def test_one_alone(self, chosen):
        finished(RUNS / "a", 0.1, 1)
        assert chosen() == ("runs/default/a", "run runs/default/a: the only finished one in runs/default\n")

    def test_a_better_one_is_told(self, chosen):
        finished(RUNS / "a", 0.25, 1)
        finished(RUNS / "b", 0.125, 2)
        (RUNS / "c").mkdir()  # has not come to its end
        folder, line = chosen()
        assert folder == "runs/default/b"
        assert line == (
            f"run runs/default/b: the newest finished of 2 in runs/default, with 0.1250 in {MONITOR}; "
            "checkpoint=best:runs/default takes the best, runs/default/a with 0.2500\n"
        )

    def test_the_newest_may_be_the_best(self, chosen):
        finished(RUNS / "a", 0.1, 1)
        finished(RUNS / "b", 0.2, 2)
        assert chosen()[1].endswith(f"the newest finished of 2 in runs/default, and the best by {MONITOR}\n")

    def test_none(self, chosen):
        with pytest.raises(UserError, match=r"^runs/default: no finished run here; run `towers train` first"):
            chosen()

    def test_one_that_is_named_needs_no_word(self, chosen):
        assert chosen("runs/default/x") == ("runs/default/x", "")


class TestTheBest:
    @pytest.mark.parametrize("named", ["best:runs/default", "best:default"])
    def test_of_a_folder(self, chosen, named):
        finished(RUNS / "a", 0.1, 1)
        finished(RUNS / "b", 0.3, 2)
        finished(RUNS / "c", 0.2, 3)
        folder, line = chosen(named)
        assert folder == "runs/default/b"
        assert line == f"run runs/default/b: the best of 3 in runs/default, with 0.3000 in {MONITOR}\n"

    def test_of_a_sweep_whose_folder_has_links(self, chosen):
        finished(RUNS / "a", 0.3, 1)
        finished(RUNS / "b", 0.4, 1)
        finished(RUNS / "c", 0.2, 2)
        sweep = Path("runs/sweeps/lr-0123")
        sweep.mkdir(parents=True)
        for name in "ac":
            (sweep / name).symlink_to(f"../../default/{name}")
        assert chosen("best:sweeps/lr-0123")[0] == "runs/default/a"

    @pytest.mark.parametrize("other", [{"monitor": "validation/recall@5"}, {"store": "of yesterday"}])
    def test_what_was_judged_otherwise_is_left_out(self, chosen, other):
        finished(RUNS / "a", 0.9, 1, **other)
        finished(RUNS / "b", 0.3, 2)
        folder, line = chosen("best:default")
        assert folder == "runs/default/b"
        assert line.endswith("; 1 judged by another metric, on other data or not at all, left out\n")
        assert "the best" in chosen()[1]

    def test_what_was_not_validated(self, chosen):
        finished(RUNS / "a", None, 1)
        with pytest.raises(UserError, match=r"^checkpoint=best:default: nothing was validated"):
            chosen("best:default")

    def test_a_newer_one_that_was_not_validated_is_passed_over(self, chosen):
        """Such a run comes about when the best is chosen, and then trained on everything with train_until=test."""
        finished(RUNS / "a", 0.25, 1)
        finished(RUNS / "b", 0.125, 2)
        finished(RUNS / "c", None, 3, monitor="null")
        folder, line = chosen("best:default")
        assert folder == "runs/default/a"
        assert "the best of 2 in runs/default, with 0.2500" in line
        folder, line = chosen()
        assert folder == "runs/default/c"
        assert line == (
            "run runs/default/c: the newest finished of 3 in runs/default, not validated; checkpoint=best:runs/default "
            "takes the best, runs/default/a with 0.2500\n"
        )

    @pytest.mark.parametrize("folder", ["nowhere", "default/a"])
    def test_no_run_there(self, chosen, folder):
        finished(RUNS / "a", 0.1, 1)
        with pytest.raises(UserError, match=rf"^checkpoint=best:{folder}: no finished run in runs/{folder}; "):
            chosen(f"best:{folder}")

    def test_of_equals_the_first(self, tmp_path):
        runs = [FinishedRun.of(finished(tmp_path / name, 0.5, ended)) for name, ended in (("a", 3), ("b", 2))]
        best = best_of([run for run in runs if run is not None])
        assert best is not None
        assert best.folder.name == "b"


def test_a_run_of_before_that_says_less(tmp_path):
    (tmp_path / "finished.json").write_text("{}")
    run = FinishedRun.of(tmp_path)
    assert run is not None
    assert run.best is None
