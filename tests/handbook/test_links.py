"""Relative links of README.md, CONTRIBUTING.md, CHANGELOG.md and docs/ lead to files and headings that are there."""

import re
from pathlib import Path

import pytest

from scripts.site_reference import MADE

ROOT = Path(__file__).resolve().parents[2]
FILES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
LINK = re.compile(r"\]\(([^()\s]+)\)|<img [^>]*src=\"([^\"]+)\"")


def prose(text: str) -> str:
    """Returns text without blocks of code, comments and code in a line."""
    text = re.sub(r"^( *)(```+|~~~+).*?^ *\2[ ]*$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)


def anchors(text: str) -> set[str]:
    """Returns the anchors that GitHub and the site give to headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *#*$", prose(text), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        plain = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found.add(next(name for name in [plain, *(f"{plain}-{n}" for n in range(1, 99))] if name not in found))
    return found


def anchors_of(target: Path, file: Path, text: str) -> set[str]:
    """Returns the anchors of another file, or of the file whose text is given."""
    return anchors(text if target == file else target.read_text())


def dead(text: str, file: Path) -> list[str]:
    """Returns the relative links of a file's text that lead nowhere."""
    gone = []
    made = [ROOT / "docs" / page for page in MADE]
    for link in ("".join(pair) for pair in LINK.findall(re.sub(r"`[^`\n]*`", "`", prose(text)))):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (file.parent / place).resolve() if place else file
        if target in made:
            continue
        is_there = target.exists() and target.is_relative_to(ROOT)
        if not is_there or (anchor and anchor not in anchors_of(target, file, text)):
            gone.append(link)
    return gone


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_link_is_dead(file: Path):
    assert dead(file.read_text(), file) == []


@pytest.mark.parametrize("link", ["docs/nothing.md", "docs/log.md#nothing", "#nothing", "../elsewhere.md"])
def test_a_dead_link_is_found(link: str):
    assert dead(f"# A heading\nSee [this]({link}) and [that](#a-heading).\n", ROOT / "README.md") == [link]


def test_code_holds_no_links():
    assert dead("```python\nstore[0](nothing)\n```\n`a[0](nothing)`\n", ROOT / "README.md") == []


def test_anchors_are_those_of_github():
    assert anchors("# A & B\n## `x`, [y](z.md)\n## Same\n## Same\n") == {"a--b", "x-y", "same", "same-1"}
