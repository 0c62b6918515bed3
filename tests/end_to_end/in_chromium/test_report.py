"""The page of an evaluation as a browser shows it: light and dark, on a laptop, on a phone and on paper."""

import pytest

from tests.end_to_end.in_chromium.chromium import needs_chromium
from tests.evaluation.small_report import MARKUP, small_report
from towers.evaluation.report.figures import figures
from towers.evaluation.report.page import write_page

WIDTHS = (390, 1280)

pytestmark = [pytest.mark.unhooked, needs_chromium]


@pytest.fixture(scope="module")
def report(world_store):
    return small_report(world_store)


@pytest.fixture(scope="module")
def address(report, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(report, path)
    return path.as_uri()


@pytest.fixture
def show(browser, address):
    """Opens the page, and returns it with its errors and requests."""
    contexts = []

    def open_page(scheme="light", width=1280):
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        contexts.append(context)
        page, complaints, requests = context.new_page(), [], []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.on("request", lambda request: requests.append(request.url))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto(address)
        return page, complaints, requests

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_opens_without_complaint_and_asks_nobody(show, address, scheme, width):
    _, complaints, requests = show(scheme, width)
    assert complaints == []
    assert {request for request in requests if not request.startswith("data:")} == {address}


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(show, width):
    page, _, _ = show(width=width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    # What scrolls in a box of its own may be wider; the boxes and charts themselves may not.
    edges = page.evaluate(
        "[...document.querySelectorAll('figure, svg.chart, .scroll, .card, .tile, p, h1, h2, h3')]"
        ".map(element => element.getBoundingClientRect().right)"
    )
    assert len(edges) > 50
    assert max(edges) <= width


def test_every_figure_and_table_can_be_seen(show, report):
    page, _, _ = show()
    charts = page.locator("figure svg[role=img]")
    assert charts.count() == len(figures(report))
    for chart in charts.all():
        box = chart.bounding_box()
        assert box["width"] > 200
        assert box["height"] > 100
        assert len(chart.get_attribute("aria-label")) > 20
    tables = page.locator("table:not(details table)")
    # Headline, two of list metrics, checks, and four of the data.
    assert tables.count() == 8
    assert all(table.bounding_box()["height"] > 30 for table in tables.all())


def test_light_and_dark_are_two_grounds_under_readable_text(show):
    sums = {}
    for scheme in ("light", "dark"):
        page, _, _ = show(scheme)
        body = "getComputedStyle(document.body)"
        label = "getComputedStyle(document.querySelector('figure svg.chart text'))"
        sums[scheme] = [
            sum(int(part) for part in page.evaluate(f"{style}.match(/\\d+/g)")[:3])
            for style in (f"{body}.backgroundColor", f"{body}.color", f"{label}.fill")
        ]
    (light_ground, *light_texts), (dark_ground, *dark_texts) = sums["light"], sums["dark"]
    assert light_ground - max(light_texts) > 450
    assert min(dark_texts) - dark_ground > 450


def test_titles_with_markup_are_text(show):
    page, complaints, _ = show()
    assert page.locator("script").count() == 0
    assert page.locator("h1").inner_text() == f"world {MARKUP}"
    assert MARKUP in page.locator(".card h3").first.inner_text()
    assert page.locator("figure use title").first.evaluate("title => title.textContent").startswith(MARKUP)
    assert complaints == []


def test_on_paper_it_is_light_and_its_details_are_open(show):
    page, _, _ = show("dark")
    assert not page.locator("details pre").is_visible()
    page.emulate_media(media="print")
    assert page.locator("details pre").bounding_box()["height"] > 10
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
