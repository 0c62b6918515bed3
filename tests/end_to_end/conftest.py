from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_line import SMALL_WORLD, ok
from towers.cli import main


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which a small demo ran from beginning to end, and what it printed. To be read only."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, ok(folder, "demo", *SMALL_WORLD)


@pytest.fixture
def refused_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must end with exit code 2 and one line, in a folder but in this process; gives the line.

    A dozen processes would take a minute. test_cli.py has some in processes of their own.
    """

    def run(folder: Path, *arguments: str) -> str:
        monkeypatch.chdir(folder)
        capsys.readouterr()
        assert main(list(arguments)) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    return run
