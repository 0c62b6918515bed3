"""The page of `towers serve` in a real browser, over the real server: search, listen, walk on and back."""

import pytest

from tests.end_to_end.in_chromium.chromium import needs_chromium
from tests.end_to_end.in_chromium.serving import path_of, title_of

pytestmark = [pytest.mark.unhooked, needs_chromium]


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
