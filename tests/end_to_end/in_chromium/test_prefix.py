"""The page below a prefix, as behind a proxy that takes the prefix away."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.end_to_end.in_chromium.chromium import needs_chromium
from tests.retrieval.small_export import content, small_export
from tests.service.conftest import app_of
from tests.service.test_live import listening

pytestmark = [pytest.mark.unhooked, needs_chromium]


@pytest.fixture
def below_a_prefix(tmp_path: Path) -> Iterator[str]:
    """The application mounted below /radio/towers."""
    soundfile.write(tmp_path / "tone.wav", np.sin(np.arange(8_000) / 20), 8_000)
    vectors = np.eye(4, dtype=np.float32)
    contents = [content(f"c{row}", title=f"Title {row}", audio="tone.wav") for row in range(len(vectors))]
    small_export(tmp_path / "export", contents, vectors, {"somebody": [0, 1, 2]})
    app = Starlette(routes=[Mount("/radio/towers", app_of(tmp_path / "export", tmp_path))])
    with listening(app) as found:
        yield f"{found}/radio/towers/"


def test_it_works(show, below_a_prefix: str) -> None:
    """The fixture `show` fails for any request outside of the prefix."""
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
