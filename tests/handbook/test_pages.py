"""The README and the pages of docs/ do what they say: their blocks run, and every command line of theirs composes."""

from pathlib import Path

import pytest

from tests.handbook.composing import complaint, lines_of_towers
from tests.handbook.pages import OTHER_NAMES_OF_SHELL, ROOT, Page, all_pages
from tests.handbook.running import Reader
from tests.handbook.worlds import WORLDS

pytestmark = pytest.mark.unhooked  # pages export, and compose commands
PAGES = all_pages()
RUN = {name: page for name, page in PAGES.items() if page.world is not None}
QUICK = [name for name, page in RUN.items() if not page.is_slow]
SLOW = [name for name, page in RUN.items() if page.is_slow or any(block.is_slow for block in page.blocks)]
TO_DO = {
    "docs/agent.md", "docs/data_quality.md", "docs/datasets.md", "docs/engines.md", "docs/evaluation.md",
    "docs/gate.md", "docs/gpu_box.md", "docs/home.md", "docs/lightning.md", "docs/nightly.md", "docs/off_policy.md",
    "docs/playlists.md", "docs/simulator.md", "docs/training.md", "docs/watching.md",
}  # fmt: skip
"""Pages with blocks that are neither run nor marked as not run here."""


def follow(name: str, folder: Path, request: pytest.FixtureRequest, *, slow: bool) -> None:
    page = PAGES[name]
    WORLDS[str(page.world)](folder, request)
    Reader(page, folder).follow(slow=slow)


@pytest.mark.parametrize("name", QUICK)
def test_a_page_does_what_it_says(
    name: str, tmp_path: Path, request: pytest.FixtureRequest, graphs_traced_once
) -> None:
    follow(name, tmp_path, request, slow=False)


@pytest.mark.slow
@pytest.mark.usefixtures("graphs_traced_once")
@pytest.mark.parametrize("name", SLOW)
def test_a_page_does_all_that_it_says(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    follow(name, tmp_path, request, slow=True)


@pytest.mark.parametrize("name", PAGES)
def test_worlds_are_known_and_shells_are_called_bash(name: str) -> None:
    page = PAGES[name]
    assert page.world is None or page.world in WORLDS, f"there are the worlds {', '.join(WORLDS)}"
    assert not [block.line for block in page.blocks if block.language in OTHER_NAMES_OF_SHELL]


@pytest.mark.parametrize("name", PAGES)
def test_every_block_is_run_or_marked(name: str) -> None:
    left = unmarked(PAGES[name])
    if name in TO_DO:
        assert left, f"{name} is done: take it out of TO_DO"
    else:
        assert not left, f"{name}: neither run nor marked, by the comments that tests/handbook/pages.py lists"


def unmarked(page: Page) -> list[int]:
    """Returns lines of blocks that no test runs, without a reason for it."""
    left = []
    for block in page.blocks:
        if not block.is_code:
            continue
        by = block.remarks.get("run by")
        is_told = bool(block.remarks.get("not run here")) or (by is not None and (ROOT / by.split(" ")[0]).exists())
        if not is_told and (page.world is None or by is not None):
            left.append(block.line)
    return left


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if lines_of_towers(page)])
def test_every_command_line_composes(name: str, tmp_path: Path) -> None:
    said = [complaint(PAGES[name], line, tmp_path) for line in lines_of_towers(PAGES[name])]
    assert not [each for each in said if each is not None]
