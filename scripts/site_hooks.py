"""Hooks that change the pages of docs/ while mkdocs builds the site (mkdocs.yml names this file).

The pages are written for GitHub and for the site alike: lists as CommonMark has them, links to any file of the
repository. Here lists get the indentation that Python-Markdown wants, a link to a file that is no page becomes its path
in code font, and `docs/NAME.md` in running text becomes a link. A link to a file that does not exist ends the build.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from scripts.site_reference import MADE, reference

ROOT = Path(__file__).resolve().parents[1]
AT_THE_ROOT = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
"""Pages of the site that lie outside docs/."""

FENCE = re.compile(r" *(```+|~~~+)")
ITEM = re.compile(r"( *)([-*+]|\d+[.)])( +)")
MENTION = re.compile(r"`?docs/(?P<page>[\w/]+\.md)`?")
SPAN = re.compile(
    r"(?P<code>`[^`]+`)"
    r"|(?P<link>(?P<picture>!?)\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<target>[^()\s]+)\))"
    rf"|(?<![\w/])(?P<mention>{MENTION.pattern})"
)
"""Parts of a line that may name a file: code, a link, or a page's path in running text."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that do not lie in docs/: the changelog, how to contribute, and the API reference."""
    for page, file in AT_THE_ROOT.items():
        files.append(File.generated(config, page, content=(ROOT / file).read_text()))
    for page, text in reference(ROOT).items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Returns the page as Python-Markdown reads it."""
    name = page.file.src_uri
    if name.startswith("reference/"):
        return markdown
    folder = ROOT if name in AT_THE_ROOT else Path(config.docs_dir) / Path(name).parent
    return with_links(with_lists(markdown), folder, Path(config.docs_dir), name)


def with_lists(text: str) -> str:
    """Returns Markdown with an empty line before lists and tables, and with nested blocks indented by four."""
    lines: list[str] = []
    open_items: list[int] = []  # the column at which each open item's content begins
    fence = ""
    for line in text.splitlines():
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        before = lines[-1].strip() if lines else ""
        if fence:
            lines.append(shifted(line, open_items))
            if stripped.startswith(fence) and not stripped.strip(fence[0]):
                fence = ""
            continue
        in_list = bool(open_items)
        item = ITEM.match(line)
        is_block = bool(item or FENCE.match(line) or stripped.startswith(("|", "#")))
        if stripped and (is_block or not before):
            while open_items and indent < open_items[-1]:
                open_items.pop()
        begins = (item and not in_list) or (stripped.startswith("|") and not before.startswith("|"))
        if begins and before:
            lines.append("")
        if found := FENCE.match(line):
            fence = found[1]
            if before and not before.startswith("<!--"):
                lines.append("")
        lines.append(shifted(line, open_items))
        if item:
            open_items.append(len(item[0]))
    return "\n".join(lines) + "\n"


def shifted(line: str, open_items: list[int]) -> str:
    """Returns a line of an item at four columns for each list around it, however deep CommonMark has it."""
    indent = len(line) - len(line.lstrip())
    if not open_items or not line.strip() or indent < open_items[-1]:
        return line
    return " " * (4 * len(open_items) + indent - open_items[-1]) + line.lstrip()


def with_links(text: str, folder: Path, docs: Path, name: str) -> str:
    """Returns Markdown with links that hold in the site; code is left alone.

    Args:
        text: Markdown of one page.
        folder: the folder that its links are relative to.
        docs: the folder of all pages.
        name: the page, for the message.

    Raises:
        PluginError: a link's file does not exist.
    """
    found: list[str] = []
    fence = ""
    for line in text.splitlines():
        opening = FENCE.match(line)
        if opening and not fence:
            fence = opening[1]
        elif fence and line.strip().startswith(fence):
            fence = ""
        elif not fence:
            line = SPAN.sub(lambda span: spanned(span, folder, docs, name), line)
        found.append(line)
    return "\n".join(found) + "\n"


def spanned(span: re.Match[str], folder: Path, docs: Path, name: str) -> str:
    """Returns a span of a line as it stands in the site."""
    if span["link"]:
        return linked(span, folder, docs, name)
    page = MENTION.fullmatch(span[0])
    return mentioned(page, docs, name) if page else span[0]


def linked(link: re.Match[str], folder: Path, docs: Path, name: str) -> str:
    """Returns one link as it stands in the site."""
    target, _, anchor = link["target"].partition("#")
    if not target or re.match(r"[a-z]+:", target):
        return link[0]
    path = (folder / target).resolve()
    if path.is_relative_to(docs) and path.relative_to(docs).as_posix() in MADE:
        return link[0]
    if not path.exists() or not path.is_relative_to(ROOT):
        raise PluginError(f"{name}: the link to {link['target']} leads to no file of the repository.")
    place = path.relative_to(ROOT).as_posix()
    at_the_root = {file: page for page, file in AT_THE_ROOT.items()}
    if place in at_the_root:
        return f"{link['picture']}[{link['text']}]({to_page(at_the_root[place], anchor, name)})"
    if path.is_relative_to(docs) and path.is_file():
        return f"{link['picture']}[{link['text']}]({to_page(path.relative_to(docs).as_posix(), anchor, name)})"
    text = link["text"].strip("`")
    return f"`{place}`" if text in (place, path.name, link["target"]) else f"{link['text']} (`{place}`)"


def mentioned(mention: re.Match[str], docs: Path, name: str) -> str:
    """Returns a link in the place of a page's path."""
    if not (docs / mention["page"]).exists():
        raise PluginError(f"{name}: docs/{mention['page']} does not exist.")
    return f"[{mention[0]}]({to_page(mention['page'], '', name)})"


def to_page(page: str, anchor: str, name: str) -> str:
    """Returns the address of a page from the page that is called `name`."""
    up = "../" * name.count("/")
    return f"{up}{page}" + (f"#{anchor}" if anchor else "")
