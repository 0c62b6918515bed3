"""The page of `towers serve` in a real browser, over the real server: search, listen, walk on, look at the map."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.command_line import environment
from tests.end_to_end.chromium import needs_chromium, opened_browser
from tests.retrieval.small_export import content, small_export
from tests.service.conftest import app_of
from tests.service.test_live import listening
from towers.manifest import digest_of_file

MANY = 10_000
MARKUP = "<img src=x onerror=alert(1)>"
"""A title that would complain if it were taken for markup."""

pytestmark = [pytest.mark.unhooked, needs_chromium]


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[str]:
    """`towers serve` as a user starts it; gives the address that it prints."""
    command = [sys.executable, "-m", "towers", "serve", "port=0", "watch_s=0.2", *arguments]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"http://\S+/", line)
        assert found, line
        yield found[0]
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def address(demo):
    """A server of the demo's export, with sound."""
    folder, _ = demo
    with served(folder, f"audio_root={folder / 'worlds' / 'world-0'}") as found:
        yield found


@pytest.fixture(scope="module")
def tracks(demo) -> list[dict]:
    contents = pq.read_table(demo[0] / "exports" / "current" / "contents.parquet").to_pylist()
    return [row for row in contents if row["kind"] == "track" and row["audio"]]


@pytest.fixture(scope="module")
def many_contents(tmp_path_factory):
    """A server of ten thousand contents in a hundred clusters; the first bears markup as its title."""
    folder = tmp_path_factory.mktemp("many")
    random = np.random.default_rng(0)
    vectors = random.normal(size=(100, 16))[np.arange(MANY) % 100] + 0.2 * random.normal(size=(MANY, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    contents = [content(f"c{row}", title=MARKUP if row == 0 else f"Title {row}") for row in range(MANY)]
    small_export(folder / "export", contents, vectors, {"somebody": [0, 1, 2]})
    with served(folder, "export=export") as found:
        yield found


@pytest.fixture(scope="module")
def below_a_prefix(tmp_path_factory):
    """The same application mounted below /radio/towers, as behind a proxy that takes the prefix away."""
    folder = tmp_path_factory.mktemp("prefix")
    soundfile.write(folder / "tone.wav", np.sin(np.arange(8_000) / 20), 8_000)
    vectors = np.eye(4, dtype=np.float32)
    contents = [content(f"c{row}", title=f"Title {row}", audio="tone.wav") for row in range(len(vectors))]
    small_export(folder / "export", contents, vectors, {"somebody": [0, 1, 2]})
    app = Starlette(routes=[Mount("/radio/towers", app_of(folder / "export", folder))])
    with listening(app) as found:
        yield f"{found}/radio/towers/"


@pytest.fixture(scope="module")
def browser():
    with opened_browser() as browser:
        yield browser


@pytest.fixture
def show(browser):
    """Opens an address; at the end the page must have complained of nothing and asked no other host.

    Whoever provokes an error of the server says so by `page.expects_errors = True`.
    """
    opened = []

    def open_page(address: str, route: str = "#/", width: int = 1280, height: int = 860, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(10_000)
        page, complaints, requests = context.new_page(), [], []
        page.expects_errors = False
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        opened.append((context, page, complaints, requests, address))
        page.goto(address + route)
        ready(page)
        return page

    yield open_page
    for context, page, complaints, requests, address in opened:
        context.close()
        assert page.expects_errors or complaints == []
        assert [url for url in requests if not url.startswith(address)] == []


def ready(page) -> None:
    page.wait_for_selector("main[aria-busy=false]")


def title_of(row: dict) -> str:
    return row["title"] or row["content_id"]


def path_of(row: dict) -> str:
    return f"#/content/{row['content_id']}"


def test_search_as_one_types_and_walk_on_and_back(show, address, tracks):
    page, track = show(address), tracks[0]
    page.get_by_role("combobox").fill(track["content_id"])
    option = page.get_by_role("option").first
    assert title_of(track) in option.inner_text()
    option.click()
    page.wait_for_selector("main[data-view=content]")
    assert page.locator("h1").inner_text() == title_of(track)
    assert title_of(track) in page.title()

    neighbour = page.get_by_role("list", name="Neighbours").get_by_role("link").first
    name, link = neighbour.inner_text(), neighbour.get_attribute("href")
    neighbour.click()
    page.wait_for_function("name => document.querySelector('h1').textContent === name", arg=name)
    assert page.url.endswith(link)
    trail = page.get_by_role("navigation", name="Where you have been")
    assert trail.get_by_role("link").all_inner_texts() == [title_of(track), name]
    page.go_back()
    page.wait_for_function("name => document.querySelector('h1').textContent === name", arg=title_of(track))
    page.go_forward()
    page.wait_for_function("name => document.querySelector('h1').textContent === name", arg=name)


def test_it_works_below_a_prefix(show, below_a_prefix):
    """Whoever asks for anything outside of the prefix is told on by `show`."""
    page = show(below_a_prefix)
    page.get_by_role("combobox").fill("Title 1")
    page.get_by_role("option").first.click()
    page.wait_for_selector("main[data-view=content]")
    assert page.locator("h1").inner_text() == "Title 1"
    page.get_by_role("region", name="Content").get_by_role("button").click()
    page.wait_for_function("() => document.querySelector('audio').currentTime > 0")
    page.get_by_role("link", name="Listeners").click()
    page.wait_for_selector("main[data-view=listeners]")
    page.goto(below_a_prefix + "#/listener/somebody")
    page.wait_for_selector("main[data-view=listener]")
    assert page.get_by_role("list", name="Recommended").get_by_role("link").all_inner_texts() == ["Title 3"]
    page.get_by_role("link", name="Map", exact=True).click()
    page.wait_for_selector("main[data-view=map]")
    page.goto(below_a_prefix + "docs")
    link = page.get_by_role("link", name="openapi.json")
    assert link.evaluate("link => link.href") == below_a_prefix + "openapi.json"


def test_neighbours_have_scores_best_first_and_reasons(show, address, tracks):
    page = show(address, path_of(tracks[0]))
    rows = page.get_by_role("list", name="Neighbours").locator("li.row")
    scores = [float(text) for text in rows.locator(".score > span:first-child").all_inner_texts()]
    assert len(scores) == rows.count() == 20
    assert scores == sorted(scores, reverse=True)
    assert page.get_by_role("list", name="Why").count() > 0
    page.get_by_role("navigation", name="Kind of neighbours").get_by_text("Artists").click()
    page.wait_for_function("() => document.querySelector('.rows .about').textContent.startsWith('Artist')")


def test_it_plays_one_sound_at_a_time(show, address, tracks):
    page = show(address, path_of(tracks[0]))
    page.get_by_role("region", name="Content").get_by_role("button").click()
    page.wait_for_function("() => document.querySelector('audio').currentTime > 0")
    neighbour = page.locator(".rows button.play").first
    neighbour.click()
    page.wait_for_selector(".rows button.play[aria-pressed=true]")
    # A clip of a second may end while we look; what matters is that it is the only one.
    assert page.locator("button.play[aria-pressed=true]").count() <= 2
    assert page.locator("audio").count() == 1
    assert page.evaluate("document.querySelector('audio').src").endswith(neighbour.get_attribute("data-plays"))
    page.wait_for_function("() => document.querySelector('audio').ended")
    page.wait_for_selector("button.play[aria-pressed=true]", state="detached")


def test_by_keyboard_alone(show, address, tracks):
    page, track = show(address), tracks[1]
    page.keyboard.press("/")
    page.keyboard.type(track["content_id"])
    page.wait_for_selector("[role=option]")
    page.keyboard.press("Escape")
    assert page.get_by_role("listbox").count() == 0
    page.keyboard.press("ArrowRight")
    page.keyboard.type(" ")
    page.wait_for_selector("[role=option]")
    page.keyboard.press("ArrowDown")
    assert page.get_by_role("combobox").get_attribute("aria-activedescendant") == "search-list-0"
    page.keyboard.press("Enter")
    page.wait_for_selector("main[data-view=content]")
    assert page.evaluate("document.activeElement.tagName") == "H1"

    first, second = page.locator(".rows .title").all()[:2]
    for _ in range(30):
        page.keyboard.press("Tab")
        if first.evaluate("link => link === document.activeElement"):
            break
    page.keyboard.press("ArrowDown")
    assert second.evaluate("link => link === document.activeElement")
    plays = page.locator(".rows button.play").nth(1).get_attribute("data-plays")
    page.keyboard.press("Space")
    page.wait_for_function("id => document.querySelector('audio').src.endsWith(id)", arg=plays)
    name = second.inner_text()
    page.keyboard.press("Enter")
    page.wait_for_function("name => document.querySelector('h1').textContent === name", arg=name)


def test_what_is_unknown_is_said(show, address):
    page = show(address, "#/content/no-such-content")
    page.expects_errors = True
    alert = page.get_by_role("alert")
    assert "Not found" in alert.inner_text()
    assert "no-such-content" in alert.inner_text()
    page.get_by_role("combobox").fill("no content bears this name")
    page.wait_for_selector("[role=listbox] .none")
    page.keyboard.press("Escape")
    for route in ("#/listener/nobody", "#/no/such/view", "#/map?content=nothing"):
        page.goto(address + route)
        page.wait_for_function("text => location.hash === text && document.querySelector('[role=alert]')", arg=route)
    page.get_by_role("link", name="To the start").click()
    page.wait_for_selector("main[data-view=start] .row")


def test_a_listeners_page(show, address):
    page = show(address, "#/listeners")
    user_id = page.locator(".listeners b").first.inner_text()
    page.get_by_label("Search a listener’s id").fill(user_id)
    page.get_by_role("option").first.click()
    page.wait_for_selector("main[data-view=listener]")
    heard = page.get_by_role("list", name="Heard lately, newest first").locator(".row")
    recommended = page.get_by_role("list", name="Recommended").locator(".row")
    assert heard.count() > 0
    assert recommended.count() == 20
    assert page.locator(".reason").count() > 0

    page.get_by_label("Tracks").uncheck()
    page.wait_for_function("() => location.hash.includes('kind=episode')")
    page.wait_for_function("() => document.querySelectorAll('[aria-label=Recommended] .row').length < 20")
    assert all("Episode" in about for about in recommended.locator(".about").all_inner_texts())
    assert page.get_by_label("Tracks").evaluate("box => box === document.activeElement && !box.checked")
    page.go_back()
    page.wait_for_function("() => document.querySelectorAll('[aria-label=Recommended] .row').length === 20")
    page.get_by_role("link", name="On the map").click()
    page.wait_for_selector("canvas[data-drawn]")


def test_a_phone_needs_no_scrolling_sideways(show, address, tracks):
    page = show(address, "#/", width=390, height=844, has_touch=True, is_mobile=True, color_scheme="dark")
    routes = ("#/", path_of(tracks[0]), "#/listeners", "#/map", f"#/map?content={tracks[0]['content_id']}")
    for route in routes:
        page.goto(address + route)
        page.wait_for_function("route => location.hash === route", arg=route)
        ready(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 390, route
    assert page.locator(".legend").get_attribute("open") is None
    page.goto(address + path_of(tracks[0]))
    ready(page)
    page.get_by_role("region", name="Content").get_by_role("button").tap()
    page.wait_for_selector("#player:not([hidden])")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_light_and_dark_are_two_grounds_under_readable_text(show, address, tracks):
    for scheme in ("light", "dark"):
        page = show(address, path_of(tracks[0]), color_scheme=scheme)
        # WCAG 2.1, 1.4.3: 4.5 to 1 for text of this size.
        ratios = page.evaluate(CONTRASTS)
        assert len(ratios) > 20
        assert min(ratios) >= 4.5, scheme
        grounds = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(int(part) for part in re.findall(r"\d+", grounds)) > 380) == (scheme == "light")


CONTRASTS = """[
  ...document.querySelectorAll('footer p, main :is(h1, h2, a, p, dt, dd, .reason, .score > span)')
].map(element => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => channels(colour).slice(0, 3).map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  let ground = element;
  while (channels(getComputedStyle(ground).backgroundColor)[3] === 0) ground = ground.parentElement;
  const pair = [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor].map(light);
  return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
})"""


def test_ten_thousand_contents_on_the_map_answer(show, many_contents):
    page = show(many_contents, "#/map")
    canvas = page.locator("canvas")
    page.wait_for_function("count => document.querySelector('canvas').dataset.drawn === String(count)", arg=MANY)
    colours = canvas.evaluate(
        "canvas => new Set(new Uint32Array(canvas.getContext('2d')"
        ".getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"
    )
    assert colours > 5
    # By keyboard: larger, sideways, and what is in the middle is said.
    canvas.focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("count => Number(document.querySelector('canvas').dataset.drawn) < count", arg=MANY)
    page.wait_for_selector(".tip:not([hidden])")
    page.keyboard.press("0")
    page.wait_for_function("count => document.querySelector('canvas').dataset.drawn === String(count)", arg=MANY)
    # By mouse: the wheel goes closer, and a click opens what the label names.
    box = canvas.bounding_box()
    place = (box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.5)
    page.mouse.move(*place)
    for _ in range(12):
        page.mouse.wheel(0, -400)
    page.wait_for_function("() => Number(document.querySelector('canvas').dataset.drawn) < 2000")
    page.keyboard.press("Enter")
    page.wait_for_selector("main[data-view=content]")
    page.go_back()
    page.wait_for_selector("canvas[data-drawn]")
    page.goto(f"{many_contents}#/map?content=c7")
    page.wait_for_selector(".marked .title:has-text('Title 7')")


def test_titles_with_markup_are_text(show, many_contents):
    page = show(many_contents, "#/content/c0")
    assert page.locator("h1").inner_text() == MARKUP
    assert page.locator("main img").count() == 0
    assert page.get_by_text("Listen", exact=True).count() == 0
    page.goto(f"{many_contents}#/map?listener=somebody")
    page.wait_for_selector("canvas[data-drawn]")


def test_what_nobody_has_played_is_marked(browser, address, tracks):
    """The server's own answers, said to be of new contents."""
    page = browser.new_page()

    def as_new(route) -> None:
        answer = route.fetch()
        everything = re.sub(
            r'("is_cold":)(\[[^\]]*\]|false)', lambda found: found[0].replace("false", "true"), answer.text()
        )
        route.fulfill(response=answer, body=everything)

    page.route(re.compile("/(similar|map)"), as_new)
    page.goto(f"{address}{path_of(tracks[0])}")
    page.wait_for_selector(".card .cold:has-text('nobody has played it yet')")
    assert page.locator(".rows .mark.new").count() == 20
    page.goto(f"{address}#/map")
    page.get_by_text("new, never played").wait_for()
    page.close()


def test_a_new_version_and_a_server_that_has_gone_are_told(browser, demo, tmp_path):
    version = (demo[0] / "exports" / "current").resolve()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for path in version.iterdir():
            if not path.name.startswith("manifest"):
                (tmp_path / name / path.name).symlink_to(path)
        manifest = {**json.loads((version / "manifest.json").read_text()), "version": name}
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
        digest = digest_of_file(tmp_path / name / "manifest.json")
        (tmp_path / name / "manifest.json.sha256").write_text(f"{digest}  manifest.json\n")
    link, next_link = tmp_path / "current", tmp_path / "next"
    link.symlink_to("one")
    page = browser.new_page()
    page.clock.install()
    with served(tmp_path, f"export={link}") as address:
        page.goto(address)
        page.wait_for_selector("#version:has-text('version one')")
        page.clock.fast_forward(31_000)
        assert page.locator("#notice").is_hidden()
        next_link.symlink_to("two")
        next_link.rename(link)
        while page.request.get(f"{address}version").json()["version"] != "two":
            time.sleep(0.05)
        page.clock.fast_forward(31_000)
        page.wait_for_selector("#notice:has-text('version two')")
        page.get_by_role("button", name="Show it").click()
        page.wait_for_selector("#version:has-text('version two')")
        assert page.locator("#notice").is_hidden()
    page.clock.fast_forward(31_000)
    page.wait_for_selector("#notice:has-text('does not answer')")
    page.get_by_role("combobox").fill("anything")
    page.clock.fast_forward(1_000)
    page.wait_for_selector("[role=listbox] .none:has-text('does not answer')")
    page.close()
