"""The cache that tests share: made once, made again after a kill or a change, never incomplete."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from tests import made_once
from tests.made_once import copy_once_made, folder_of_this_code


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package in the place of this one."""
    (tmp_path / "root" / "towers").mkdir(parents=True)
    (tmp_path / "root" / "towers" / "code.py").write_text("A = 1")
    monkeypatch.setattr(made_once, "ROOT", tmp_path / "root")
    (tmp_path / "cache").mkdir()
    return tmp_path


def count(folder: Path) -> None:
    """Counts its calls in a file beside the cache."""
    with (folder.parents[1] / "calls").open("a") as calls:
        calls.write("x")
    (folder / "made").write_text("whole")


def killed(folder: Path) -> None:
    (folder / "made").write_text("ha")
    os.kill(os.getpid(), signal.SIGKILL)


def ask(sources: Path, target: str, recipe: str = "", make=count) -> None:
    copy_once_made(sources / target, sources / "cache", "thing", [recipe], make)


def calls(sources: Path) -> int:
    return len((sources / "calls").read_text())


def test_it_is_made_once_and_anew_when_code_or_recipe_change(sources):
    ask(sources, "one")
    (sources / "one" / "made").write_text("changed by a test")
    ask(sources, "two")
    assert (sources / "two" / "made").read_text() == "whole"
    assert calls(sources) == 1
    ask(sources, "three", recipe="another")
    assert calls(sources) == 2
    (sources / "root" / "towers" / "code.py").write_text("A = 2")
    ask(sources, "four", recipe="another")
    assert calls(sources) == 3
    assert len(list((sources / "cache").glob("thing-*"))) == 1


def test_processes_at_the_same_time_make_it_once(sources):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=ask, args=(sources, f"copy-{number}")) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert calls(sources) == 1
    assert [(sources / f"copy-{number}" / "made").read_text() for number in range(4)] == ["whole"] * 4


def test_after_a_kill_it_is_made_anew(sources):
    process = multiprocessing.get_context("fork").Process(target=ask, args=(sources, "never", "", killed))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (sources / "never").exists()
    ask(sources, "after")
    assert (sources / "after" / "made").read_text() == "whole"
    assert len(list((sources / "cache").glob("thing-*"))) == 1


def test_a_folder_is_kept_while_the_code_stays_the_same(sources):
    first = folder_of_this_code(sources / "cache", "pieces", ["recipe"])
    (first / "piece").touch()
    assert folder_of_this_code(sources / "cache", "pieces", ["recipe"]) == first
    assert (first / "piece").exists()
    (sources / "root" / "towers" / "code.py").write_text("A = 2")
    second = folder_of_this_code(sources / "cache", "pieces", ["recipe"])
    assert not list(second.iterdir())
    assert not first.exists()
