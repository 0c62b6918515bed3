"""Exit codes, and one line for a caller's mistake. Started as a process where Hydra's own ways of ending matter."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.retrieval.small_export import content, small_export
from towers import cli
from towers.config import CONFIG_DIR
from towers.errors import GateRefused, UserError

NOWHERE = "paths.stores=/nowhere/stores"


def towers(*arguments, **variables):
    return subprocess.run(
        [sys.executable, "-m", "towers", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        encoding=variables.get("PYTHONIOENCODING"),
        stdin=subprocess.DEVNULL,
    )


def the_line(outcome):
    """What a caller's mistake says: exit code 2, nothing on stdout, one line on stderr."""
    assert outcome.returncode == cli.CALLER, outcome.stderr
    assert not outcome.stdout
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("towers: ")
    return line


class TestDispatch:
    def test_no_command(self, capsys):
        assert cli.main([]) == cli.CALLER
        assert capsys.readouterr().out.startswith("usage: towers COMMAND")

    @pytest.mark.parametrize("argument", ["--help", "-h", "help"])
    def test_help(self, capsys, argument):
        assert cli.main([argument]) == cli.OK
        shown = capsys.readouterr().out
        assert all(command in shown for command in cli.COMMANDS)

    def test_version(self, capsys):
        assert cli.main(["--version"]) == cli.OK
        assert capsys.readouterr().out[0].isdigit()

    def test_unknown_command(self, capsys):
        assert cli.main(["teach"]) == cli.CALLER
        shown = capsys.readouterr()
        assert not shown.out
        assert shown.err.startswith("towers: no command 'teach'; there are: prepare, train")
        assert shown.err.count("\n") == 1

    def test_every_command_has_a_module(self):
        from pathlib import Path

        commands = Path(cli.__file__).parent / "commands"
        assert [command for command in cli.COMMANDS if not (commands / f"{command}.py").exists()] == []


class TestExitCodes:
    """What a command raises, and what becomes of it."""

    @pytest.fixture
    def run(self, monkeypatch):
        def run(error):
            def start(command, rest):
                if error is not None:
                    raise error

            monkeypatch.setattr(cli, "_start", start)
            return cli.main(["train"])

        return run

    def test_done(self, run):
        assert run(None) == 0

    def test_the_gate(self, run, capsys):
        assert run(GateRefused("recall fell")) == 3
        assert capsys.readouterr().err == "towers: recall fell\n"

    def test_the_caller(self, run, capsys):
        assert run(UserError("data.root:\n  no such folder")) == 2
        assert capsys.readouterr().err == "towers: data.root: no such folder\n"

    def test_a_missing_library(self, run, capsys):
        assert run(ModuleNotFoundError("No module named 'torch'", name="torch")) == 2
        assert capsys.readouterr().err.endswith("pip install 'towers[train]'\n")

    def test_a_bug(self, run):
        with pytest.raises(ZeroDivisionError):
            run(ZeroDivisionError())

    def test_debug_shows_the_traceback(self, run, monkeypatch):
        monkeypatch.setenv("TOWERS_DEBUG", "1")
        with pytest.raises(UserError):
            run(UserError("no"))

    def test_stopped_by_hand(self, run):
        assert run(KeyboardInterrupt()) == 130


@pytest.mark.unhooked
class TestProcess:
    def test_help_of_a_command(self):
        outcome = towers("train", "--help")
        assert outcome.returncode == 0, outcome.stderr
        assert "objective" in outcome.stdout

    @pytest.mark.parametrize("command", ["recommend", "similar", "verify"])
    def test_help_says_what_keys_look_like_and_where_they_are_explained(self, command):
        outcome = towers(command, "--help")
        assert outcome.returncode == 0, outcome.stderr
        first = outcome.stdout.splitlines()[0]
        assert first
        assert "Hydra" not in outcome.stdout
        assert "key=value" in outcome.stdout
        assert CONFIG_DIR in outcome.stdout
        assert "export: ${paths.exports}/current" in outcome.stdout

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["train", "no_such_key=1"], "no_such_key"),
            (["train", "objective=nothing"], "objective/nothing"),
            (["train", "seed=["], "seed=[: cannot be read"),
            (["train", "data=ml1m", NOWHERE], "/nowhere/stores/ml1m: no prepared store here"),
            (["train", "-m", "seed=1,2", "no_such_key=1"], "no_such_key"),
            (["train", "-m", "seed=1,2", "data=ml1m", NOWHERE], "/nowhere/stores/ml1m: no prepared store here"),
            (["prepare", "data.root=/nowhere/raw"], "/nowhere/raw"),
            (["prepare"], "data.root: missing; give it as data.root=VALUE"),
            (["verify", "export=/nowhere/export"], "/nowhere/export"),
            (["similar", "content=Sigur Rós", "export=/nowhere/export"], "/nowhere/export"),
            (["similar", "content=Don't Stop", "export=/nowhere/export"], "/nowhere/export"),
            (["similar", "content=A, B", "export=/nowhere/export"], "/nowhere/export"),
        ],
    )
    def test_a_mistake_is_one_line(self, tmp_path, monkeypatch, arguments, said):
        monkeypatch.chdir(tmp_path)
        assert said in the_line(towers(*arguments))

    def test_a_mistake_with_debug(self):
        outcome = towers("verify", "export=/nowhere/export", TOWERS_DEBUG="1")
        assert outcome.returncode == 1
        assert "Traceback" in outcome.stderr

    def test_unknown_command(self):
        assert "no command" in the_line(towers("teach"))

    @pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
    def test_a_terminal_that_has_not_all_signs(self, tmp_path, encoding):
        contents = [content("a", title="Ágætis"), content("b", title="東京 № 5")]
        export = small_export(tmp_path / "export", contents, np.eye(2, dtype=np.float32), {"Zoë": [0]})
        given = ("recommend", f"export={export.folder}", "user=Zoë")
        outcome = towers(*given, PYTHONIOENCODING=encoding, PYTHONUTF8="0", LANG="C.UTF-8", COLUMNS="120")
        assert outcome.returncode == 0, outcome.stderr
        assert "?? ? 5" in outcome.stdout
        assert "gætis".encode(encoding, "replace").decode(encoding) in outcome.stdout
        refused = towers("similar", "content=東京", f"export={export.folder}", PYTHONIOENCODING=encoding)
        assert the_line(refused).startswith("towers: '??': no content")

    def test_reading_writes_nothing(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        towers("train", "--cfg", "job")
        towers("verify", "export=/nowhere/export")
        towers("recommend", "-m", "user=a,b", "export=/nowhere/export")
        assert not list(tmp_path.iterdir())
