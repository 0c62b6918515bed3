"""Reads the pages of the handbook, and runs their blocks as a reader would.

The README and every page below docs/ are read for fenced blocks, in their order:

- A block with `title="FILE"` is written to FILE in the page's working folder.
- A `bash` block is run command by command; `towers ...` runs in this process, since starting Python takes seconds.
  Variables that it exports and the folder that it changes to hold for the blocks that follow.
- A `python` block runs in names that all blocks of the page share.

HTML comments, which readers of the site do not see, say what is special. Anywhere in the page:

- `<!-- runs in: WORLD -->` says in which folder the page begins (`WORLDS` in tests/handbook/worlds.py). A page
  without it is not run.
- `<!-- slow: REASON -->` at the start of a line that is not above a block: the whole page runs among the slow tests.
- `<!-- run with: COMMAND KEY=VALUE ... -->` gives `towers COMMAND` smaller sizes than a reader would take.

Right above a block:

- `<!-- not run here: REASON -->`: the block is not run.
- `<!-- run by: tests/FILE -->`: that test runs the block instead.
- `<!-- slow: REASON -->`: the block is run among the slow tests alone.
- `<!-- exit code: N -->`: the last command of the block ends with N, which shows the reader a refusal.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHELL = "bash"
TRANSCRIPT = "console"
"""Language of a terminal's output; it is not run, but the command lines behind its `$` are composed."""
OTHER_NAMES_OF_SHELL = ("sh", "shell", "zsh", "shell-session")
"""Other languages that highlighters know as shell; a page that used one would escape the tests."""

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,}) *(?P<language>[\w+-]*)(?P<rest>.*)$")
_TITLE = re.compile(r'\btitle="(?P<title>[^"]+)"')
_REMARK = re.compile(r"^ *<!-- *(?P<key>not run here|run by|slow|exit code|runs in|run with): *(?P<value>.*?) *-->$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of a page.

    Args:
        line: number of its first line in the page, counted from 1; that of the fence is one less.
        language: word behind the fence, such as `bash`.
        title: file that the block is written to; None: the block is run.
        text: its lines without the fence's indentation, each ended by a line break.
        remarks: values of the comments right above it, by key.
    """

    line: int
    language: str
    title: str | None
    text: str
    remarks: dict[str, str] = field(default_factory=dict)

    @property
    def is_code(self) -> bool:
        """Whether the block is code that a reader would run."""
        return self.title is None and self.language in (SHELL, "python")

    @property
    def is_run(self) -> bool:
        """Whether the page's own run includes the block."""
        return self.is_code and not {"not run here", "run by"} & self.remarks.keys()

    @property
    def is_slow(self) -> bool:
        """Whether only the slow tests run the block."""
        return "slow" in self.remarks

    @property
    def exit_code(self) -> int:
        """Expected exit code of the block's last command."""
        return int(self.remarks.get("exit code", "0"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of the handbook, or the README.

    Args:
        path: path of the file from the repository's root.
        blocks: in their order.
        world: folder in which it begins; None: the page is not run.
        is_slow: whether the whole page runs among the slow tests alone.
        settings: overrides that make a run of the page smaller, by command.
    """

    path: str
    blocks: tuple[Block, ...]
    world: str | None
    is_slow: bool
    settings: dict[str, list[str]]

    @property
    def files(self) -> Iterator[Block]:
        """Returns the blocks that are files."""
        return (block for block in self.blocks if block.title is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of a bash block, with all lines that belong to it.

    Args:
        line: number of its first line in the page.
        text: the command as typed.
    """

    line: int
    text: str


@cache
def all_pages() -> dict[str, Page]:
    """Returns the README and every page below docs/ by its path from the repository's root, in their order."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {page.path: page for page in map(read_page, paths)}


def read_page(path: Path) -> Page:
    """Reads one page."""
    name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
    return parse(name, path.read_text())


def parse(name: str, text: str) -> Page:
    """Finds the blocks and remarks of a page.

    Args:
        name: path of the page, for messages.
        text: Markdown.

    Raises:
        ValueError: a fence that is never closed, or a remark that stands where it means nothing.
    """
    lines = text.splitlines()
    blocks: list[Block] = []
    of_page: list[tuple[str, str]] = []
    above: list[tuple[str, str]] = []
    at = 0
    while at < len(lines):
        if found := _REMARK.match(lines[at]):
            above.append((found["key"], found["value"]))
        elif found := _FENCE.match(lines[at]):
            end = _end_of_block(lines, at, found, name)
            of_page += [each for each in above if each[0] in ("runs in", "run with")]
            remarks = {key: value for key, value in above if key not in ("runs in", "run with")}
            blocks.append(_block(lines[at + 1 : end], at + 2, found, remarks))
            above, at = [], end
        elif lines[at].strip():
            of_page += above
            above = []
        at += 1
    of_page += above
    return _page(name, blocks, of_page)


def _end_of_block(lines: list[str], at: int, fence: re.Match[str], name: str) -> int:
    closing = re.compile(rf"^ *{fence['ticks'][0]}{{{len(fence['ticks'])},}} *$")
    for end in range(at + 1, len(lines)):
        if closing.match(lines[end]):
            return end
    raise ValueError(f"{name}:{at + 1}: the block is never closed")


def _block(lines: list[str], line: int, fence: re.Match[str], remarks: dict[str, str]) -> Block:
    depth = len(fence["indent"])
    title = _TITLE.search(fence["rest"])
    return Block(
        line=line,
        language=fence["language"],
        title=title["title"] if title else None,
        text="".join(f"{each[depth:] if each[:depth].isspace() else each}\n" for each in lines),
        remarks=remarks,
    )


def _page(name: str, blocks: list[Block], remarks: list[tuple[str, str]]) -> Page:
    worlds = [value for key, value in remarks if key == "runs in"]
    settings: dict[str, list[str]] = {}
    for key, value in remarks:
        if key == "run with":
            command, *overrides = value.split()
            settings.setdefault(command, []).extend(overrides)
        elif key in ("not run here", "run by", "exit code"):
            raise ValueError(f"{name}: <!-- {key}: {value} --> has to stand right above a block")
    if len(worlds) > 1:
        raise ValueError(f"{name}: a page begins in one world, this one says {', '.join(worlds)}")
    return Page(
        path=name,
        blocks=tuple(blocks),
        world=worlds[0] if worlds else None,
        is_slow=any(key == "slow" for key, _ in remarks),
        settings=settings,
    )


def commands(block: Block) -> Iterator[Command]:
    """Returns the commands of a bash block: one a line, or several lines that bash reads as one, such as a loop.

    Lines of comments alone are left out.

    Raises:
        ValueError: the block ends within a command.
    """
    begun: list[str] = []
    for at, line in enumerate(block.text.splitlines()):
        if not begun and (not line.strip() or line.lstrip().startswith("#")):
            continue
        begun.append(line)
        text = "\n".join(begun)
        if _is_whole(text):
            yield Command(line=block.line + at - len(begun) + 1, text=text)
            begun = []
    if begun:
        raise ValueError(f"line {block.line + at}: bash reads no whole command in {begun!r}")


@cache
def _is_whole(text: str) -> bool:
    """Returns whether bash would begin to run the text: no quotation, loop, here-document or continued line is open."""
    if text.endswith("\\"):
        return False
    if not re.search(r"[\"'(){}`]|<<|\b(?:for|if|while|case|do|then)\b", text):
        return True  # most lines, without a process
    checked = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    return checked.returncode == 0 and "here-document" not in checked.stderr
