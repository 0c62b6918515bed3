"""The site builds in strict mode, asks no other host, and renders Markdown as intended."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from mkdocs.exceptions import PluginError

from scripts.drawn_pictures import TARGET, layers, overview, rooms
from scripts.site_hooks import with_links, with_lists
from scripts.site_reference import ROOMS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
}
"""Elements that make a browser request a file, and the attribute with its address. A `link` does, except for some
relations.
"""


class Loading(HTMLParser):
    """Collects the addresses that a page has a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Takes in one element."""
        of = dict(attrs)
        self.found += [of[key] or "" for name, key in LOADED.items() if name == tag and key in of]
        if tag == "link" and of.get("rel") not in ("canonical", "prev", "next", "alternate"):
            self.found.append(of.get("href") or "")
        self.found += elsewhere_in_styles(of.get("style") or "")


def elsewhere_in_styles(text: str) -> list[str]:
    """Returns addresses in a stylesheet that are not files beside it."""
    return re.findall(r"(?:url\(|@import )[\"']?((?:https?:)?//[^\"')]*)", text)


def other_hosts(page: str) -> list[str]:
    """Returns addresses on other hosts that a page loads; links that a reader may follow do not count."""
    loading = Loading()
    loading.feed(page)
    return [address for address in loading.found if re.match(r"(https?:)?//", address)] + elsewhere_in_styles(page)


def built(*arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = built("scripts/site", "--site-dir", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def pages(site: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(site.rglob("*.html")):
        yield str(path.relative_to(site)), path.read_text()


@pytest.mark.unhooked
def test_every_page_is_built(site):
    there = {name for name, _ in pages(site)}
    assert {f"{path.relative_to(DOCS).with_suffix('')}.html" for path in DOCS.rglob("*.md")} <= there
    assert {f"reference/{room}.html" for room in ROOMS} | {"changelog.html", "contributing.html"} <= there


@pytest.mark.unhooked
def test_no_page_asks_another_host(site):
    assert {name: found for name, page in pages(site) if (found := other_hosts(page))} == {}
    styles = {path.name: elsewhere_in_styles(path.read_text()) for path in site.rglob("*.css")}
    assert styles
    assert not any(styles.values())
    # Material's script loads Mermaid from a CDN for a diagram, and asks GitHub about a repository that is named.
    assert [name for name, page in pages(site) if re.search(r'class="mermaid|data-md-component="source"', page)] == []


@pytest.mark.parametrize(
    "planted",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<link rel="stylesheet" href="//cdn.example/a.css">',
        '<img src="http://cdn.example/a.png">',
        '<p style="background: url(https://cdn.example/a.png)">',
        "<style>@import 'https://cdn.example/a.css';</style>",
    ],
)
def test_a_file_of_another_host_is_found(planted):
    assert other_hosts(planted)


def test_a_link_to_follow_asks_nobody():
    assert other_hosts('<a href="https://example.com">x</a><script src="assets/a.js"></script>') == []


@pytest.mark.unhooked
def test_no_markdown_is_left(site):
    for name, page in pages(site):
        for paragraph in re.findall(r"<p>((?:(?!</p>).)*)</p>", page, re.DOTALL):
            assert not re.search(r"```|^ *([-*]|\d+\.) |^\|", paragraph, re.MULTILINE), (name, paragraph)


@pytest.mark.unhooked
def test_the_reference_shows_types_and_meaning(site):
    page = (site / "reference" / "contract.html").read_text()
    assert 'id="towers.contract.slate.Slate"' in page
    assert "propensity" in page


@pytest.mark.unhooked
def test_words_are_found_in_the_site(site):
    index = (site / "search" / "search_index.js").read_text()
    assert "skip_cooldown_days" in index
    assert "reference/training.html#" in index


@pytest.mark.unhooked
@pytest.mark.parametrize("dead", [("#nowhere", "gone.md", "/b.md"), ()])
def test_a_dead_link_ends_the_build(tmp_path, dead):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Page\n" + "".join(f"[a]({link})\n" for link in dead))
    own = "theme: {name: mkdocs}\nplugins: []\nhooks: []\nnav: [index.md]\nextra_css: []\n"
    (tmp_path / "mkdocs.yml").write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\n{own}")
    done = built("mkdocs", "build", "--strict", "-f", str(tmp_path / "mkdocs.yml"))
    assert (done.returncode == 0) is (not dead), done.stderr
    assert [link for link in dead if link not in done.stderr] == []


def linked(text: str) -> str:
    return with_links(text, DOCS, DOCS, "page.md").strip()


def test_links_to_the_repository_become_paths():
    assert linked("see [data.md](data.md#where)") == "see [data.md](data.md#where)"
    assert linked("see [`configs/learner`](../configs/learner)") == "see `configs/learner`"
    assert linked("see [the learners](../configs/learner)") == "see the learners (`configs/learner`)"
    assert linked("see [CHANGELOG](../CHANGELOG.md#a)") == "see [CHANGELOG](changelog.md#a)"
    assert linked("(docs/data.md, `docs/data.md`)") == "([docs/data.md](data.md), [`docs/data.md`](data.md))"
    assert linked("`less docs/data.md`, `a[0](b)`") == "`less docs/data.md`, `a[0](b)`"
    assert linked("```\n[a](../gone.py)\n```") == "```\n[a](../gone.py)\n```"


@pytest.mark.parametrize("dead", ["[a](../benchmarks/gone.py)", "[a](../../outside.md)", "see docs/gone.md"])
def test_a_link_to_no_file_is_an_error(dead):
    with pytest.raises(PluginError, match=r"page\.md"):
        linked(dead)


def test_lists_are_written_for_python_markdown():
    assert with_lists("Text:\n- one\n  more\n  - inner\n- two\n") == "Text:\n\n- one\n    more\n    - inner\n- two\n"
    assert with_lists("1. one\n\n   | a |\n   |---|\n2. two\n") == "1. one\n\n    | a |\n    |---|\n2. two\n"
    assert with_lists("```\nText:\n- one\n```\n") == "```\nText:\n- one\n```\n"


def test_pictures_are_those_that_are_drawn():
    assert (TARGET / "overview.svg").read_text() == overview()
    picture = (TARGET / "rooms.svg").read_text()
    assert picture == rooms(layers())
    shown = re.findall(r'font-weight="600">([^<]*)<', picture)
    assert shown == [room for layer in layers() for room in layer]
