"""The command's own part: what it reads from the config, and what it says."""

import os
from pathlib import Path

import pytest

from tests.data import raw_set
from towers.commands import prepare
from towers.config import compose
from towers.errors import UserError


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Prepares the hand-written set with overrides; gives the number of threads that were asked for."""
    raw = raw_set.write_raw(tmp_path / "raw")
    asked = []

    class Builder(prepare.StoreBuilder):
        def __init__(self, **arguments):
            asked.append(arguments["num_workers"])
            super().__init__(**arguments)

    monkeypatch.setattr(prepare, "StoreBuilder", Builder)

    def prepared(*overrides):
        spans = ("data.split.validation_start=2026-01-25", "data.split.test_start=2026-02-04")
        paths = (f"data.root={raw}", f"paths.stores={tmp_path / 'stores'}")
        prepare.run(compose("prepare", ["data=parquet", *paths, *spans, *overrides]))
        return asked[-1]

    return prepared


def test_as_many_threads_as_processors_unless_told(run, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert run() == 5
    assert run("data.num_workers=3") == 3


@pytest.mark.parametrize("number", ["0", "many"])
def test_no_number_of_threads(run, number):
    with pytest.raises(UserError, match=r"data\.num_workers"):
        run(f"data.num_workers={number}")


def test_what_it_says_of_rejected_sounds_is_true(run, capsys):
    run()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("rejected")]
    folder = Path(line.removeprefix("rejected, with reasons in ").split(":")[0])
    assert ": 1 sounds (1 does not decode" in line
    assert [path.name for path in folder.iterdir()] == ["sounds.parquet"]
