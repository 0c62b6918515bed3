"""Lists on the page: a listener's with its dial, several listeners', an editor's pool that is changed, and radio."""

import pytest

from tests.end_to_end.in_chromium.chromium import needs_chromium
from tests.end_to_end.in_chromium.serving import path_of

pytestmark = [pytest.mark.unhooked, needs_chromium]


@pytest.fixture(scope="module")
def users(address, browser):
    """Ids of two listeners with long histories."""
    page = browser.new_page()
    found = page.request.get(f"{address}users?k=50").json()["items"]
    page.close()
    return [user["user_id"] for user in sorted(found, key=lambda user: -user["num_events"])[:2]]


def test_a_mix_is_dialled_and_played_through(show, address, users):
    page = show(address, f"#/listener/{users[0]}")
    page.get_by_role("link", name="Playlists").last.click()
    page.wait_for_selector("main[data-view=playlists]")
    page.get_by_role("link", name="Mix").click()
    page.wait_for_selector("main[data-view=playlist] .row")
    rows = page.get_by_role("list", name="Pieces of the list").locator(".row")
    assert rows.locator("[aria-label=Why] .reason").count() >= rows.count() > 10
    page.get_by_label("How much the listener knows already").fill("0")
    page.wait_for_function("() => location.hash.endsWith('familiar=0')")
    page.wait_for_selector(".playlist:not(:has(.heard))")
    page.get_by_role("button", name="As it comes").click()
    page.wait_for_selector(".playlist .heard")

    page.get_by_role("button", name="Play through").click()
    first, second = [button.get_attribute("data-plays") for button in page.locator(".rows button.play").all()[:2]]
    page.wait_for_function("id => document.querySelector('audio').src.endsWith(id)", arg=second)  # by itself
    page.get_by_role("button", name="Previous piece").click()
    page.wait_for_function("id => document.querySelector('audio').src.endsWith(id)", arg=first)


def test_a_journey_leads_to_a_region_and_is_drawn_on_the_map(show, address, users):
    page = show(address, "#/playlist/journey")
    page.get_by_text("Pick a listener or both ends.").wait_for()
    page.goto(f"{address}#/playlist/journey?user={users[0]}")
    page.wait_for_selector("main[data-view=playlist] .playlist .row")
    regions = page.get_by_label("To the region").locator("option").all_inner_texts()[1:]
    page.get_by_label("To the region").select_option(regions[0])
    page.get_by_text(f"Leads to the region {regions[0]}.").wait_for()
    number = page.locator(".playlist .row").count()
    assert number > 2
    page.get_by_role("link", name="On the map").click()
    page.wait_for_selector(f".marked .title:has-text('A way of {number} pieces')")
    page.wait_for_selector("canvas[data-drawn]")


def test_listeners_are_blended(show, address, users):
    page = show(address, "#/playlist/blend")
    for user in users:
        page.get_by_label("Add to listeners").fill(user)
        page.locator("[role=option]").first.click()
        page.get_by_role("button", name=f"Take {user} away").wait_for()
    page.wait_for_selector(".match b")
    shares = page.locator(".shares")
    assert shares.count() == page.locator(".playlist .row").count() > 10
    assert all(user in shares.first.get_attribute("aria-label") for user in users)
    page.get_by_role("button", name=f"Take {users[0]} away").click()
    page.get_by_text("Pick listeners.").wait_for()


def test_a_proposed_pool_is_edited_and_becomes_a_listeners_own(show, address, users, tracks):
    page = show(
        address, f"#/playlist/pool_proposal?content={tracks[0]['content_id']}&content={tracks[1]['content_id']}"
    )
    page.get_by_role("button", name="Edit as a pool").click()
    page.wait_for_selector(".pool-row")
    page.get_by_label("Add to for listener").fill(users[0])
    page.locator("[role=option]").first.click()
    page.wait_for_selector(".playlist .row")

    titles = page.locator(".pool-row .title")
    first, last = titles.first.inner_text(), titles.nth(4).inner_text()
    page.get_by_role("button", name=f"Move {first} down", exact=True).click()
    assert titles.nth(1).inner_text() == first
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == f"Move {first} down"
    page.locator(".pool-row").nth(4).get_by_role("button", name="Pin").click()
    page.get_by_label(f"Place of {last} in each list").fill("1")
    page.get_by_label(f"Place of {last} in each list").press("Enter")
    page.wait_for_function("title => document.querySelector('.playlist .row .title').textContent === title", arg=last)
    page.get_by_label("Pieces in a list").fill("3")
    page.get_by_label("Pieces in a list").press("Enter")
    page.wait_for_function("() => document.querySelectorAll('.playlist .row').length === 3")

    page.get_by_role("button", name="Add a quota").click()
    page.expects_errors = True
    page.get_by_label("At least").fill("4")
    page.get_by_label("At least").press("Enter")
    page.get_by_role("alert").wait_for()
    page.get_by_role("button", name="Remove quota 1").click()
    page.wait_for_function("() => document.querySelectorAll('.playlist .row').length === 3")


def test_radio_path_and_continuation_begin_at_a_content(show, address, tracks):
    page = show(address, path_of(tracks[0]))
    page.get_by_role("link", name="Radio").click()
    page.wait_for_selector(".playlist .row")
    page.go_back()
    page.get_by_role("link", name="Path from here").click()
    page.get_by_label("Add to from and to").fill(tracks[1]["content_id"])
    page.locator("[role=option]").first.click()
    page.wait_for_selector(".playlist .row")
    assert page.locator(".playlist .row a.title").last.get_attribute("href") == path_of(tracks[1])
