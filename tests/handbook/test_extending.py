"""The contract tests that the pages of docs/extending/ show, collected here among the modules of their pages."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.handbook.pages import ROOT, all_pages

pytestmark = pytest.mark.unhooked
LONGEST, LONGEST_OF_A_SINK = 80, 96
"""Lines of a page, which shows the way and no more; an engine has ten methods."""
PAGES = sorted((ROOT / "docs/extending").glob("*.md"))


def modules_of(path: str) -> dict[str, ModuleType]:
    """The Python files of a page as modules, in their order; none of them stays among the process's own."""
    made: dict[str, ModuleType] = {}
    for block in all_pages()[path].files:
        if block.language == "python":
            name = str(block.title).removesuffix(".py")
            made[name] = sys.modules[name] = ModuleType(name)
            source = "\n" * (block.line - 1) + block.text
            exec(compile(source, path, "exec"), vars(made[name]))
    for name in made:
        del sys.modules[name]
    return made


def shown(path: str, name: str, test: str) -> type:
    """A test class that a page shows, to be collected by pytest."""
    return vars(modules_of(path)[name])[test]


TestPairwise = shown("docs/extending/objective.md", "test_pairwise", "TestPairwise")
TestPooled = shown("docs/extending/encoder.md", "test_pooled", "TestPooled")
TestNearest = shown("docs/extending/policy.md", "test_nearest", "TestNearest")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= (LONGEST_OF_A_SINK if path.stem == "sink" else LONGEST)
