import pyarrow.parquet as pq
import pytest

from tests.end_to_end.in_chromium.chromium import opened_browser
from tests.end_to_end.in_chromium.serving import ready, served


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
def browser():
    with opened_browser() as browser:
        yield browser


@pytest.fixture
def show(browser):
    """Opens an address; at the end the page must have reported no error and asked no other host.

    A test that provokes an error of the server sets `page.expects_errors = True`.
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
