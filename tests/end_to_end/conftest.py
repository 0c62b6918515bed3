from pathlib import Path

import pytest

from tests.command_line import EXPORT, SMALL_WORLD, ok
from tests.made_once import copy_once_made


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> tuple[Path, str]:
    """A folder in which a small demo ran from beginning to end, and what it printed. What is there is not changed;
    more may be written beside it."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    command = ("demo", *SMALL_WORLD, *EXPORT)

    def make(empty: Path) -> None:
        printed = ok(empty, *command)
        (empty / "printed.txt").write_text(printed)

    copy_once_made(folder, pytestconfig.cache.mkdir("towers"), "demo", command, make)
    return folder, (folder / "printed.txt").read_text()
