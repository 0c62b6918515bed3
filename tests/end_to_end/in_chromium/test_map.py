"""The page of `towers serve` on ten thousand contents: the map by keyboard and mouse, and titles with markup."""

import numpy as np
import pytest

from tests.end_to_end.in_chromium.chromium import needs_chromium
from tests.end_to_end.in_chromium.serving import served
from tests.retrieval.small_export import content, small_export

MANY = 10_000
MARKUP = "<img src=x onerror=alert(1)>"
"""A title that would report an error if a browser took it for markup."""

pytestmark = [pytest.mark.unhooked, needs_chromium]


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


@pytest.mark.slow
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
