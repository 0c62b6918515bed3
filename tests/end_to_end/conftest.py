from pathlib import Path

import pytest

from tests.command_line import SMALL_WORLD, ok


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which a small demo ran from beginning to end, and what it printed. To be read only."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, ok(folder, "demo", *SMALL_WORLD)
