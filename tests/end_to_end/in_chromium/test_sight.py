"""The look of the page of `towers serve` on a phone, in the light and the dark theme, and its notes about changes."""

import json
import re
import time

import pytest

from tests.end_to_end.in_chromium.chromium import needs_chromium
from tests.end_to_end.in_chromium.serving import path_of, ready, served
from towers.manifest import digest_of_file

pytestmark = [pytest.mark.unhooked, needs_chromium]


def test_a_phone_needs_no_scrolling_sideways(show, address, tracks):
    page = show(address, "#/", width=390, height=844, has_touch=True, is_mobile=True, color_scheme="dark")
    seed = tracks[0]["content_id"]
    routes = ["#/", path_of(tracks[0]), "#/playlists", f"#/playlist/radio?content={seed}", "#/playlist/blend"]
    routes += ["#/listeners", "#/map", f"#/map?content={seed}"]
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


def test_what_nobody_has_played_is_marked(browser, address, tracks):
    """The answers are the server's own, changed so that the contents count as new."""
    page = browser.new_page()

    def as_new(route) -> None:
        answer = route.fetch()
        everything = re.sub(
            r'("is_cold":)(\[[^\]]*\]|false)', lambda found: found[0].replace("false", "true"), answer.text()
        )
        route.fulfill(response=answer, body=everything)

    page.route(re.compile("/(similar|map)"), as_new)
    page.goto(f"{address}{path_of(tracks[0])}")
    page.wait_for_selector(".card .cold:has-text('not played by any listener yet')")
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
