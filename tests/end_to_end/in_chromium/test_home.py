"""The home page of a listener in a real browser: every card with its chance and the reason for it."""

import pytest

from tests.end_to_end.in_chromium.chromium import needs_chromium
from tests.end_to_end.in_chromium.serving import served
from tests.policies.bandit.homes import home_export
from towers.policies.bandit.policy_file import write_policy
from towers.policies.bandit.uniform import Uniform

pytestmark = [pytest.mark.unhooked, needs_chromium]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An export of six cards, and a policy."""
    work = tmp_path_factory.mktemp("home")
    export = home_export(work)
    write_policy(work / "policy", Uniform(), space_id=export.space_id, update=0, learned_from={})
    return work


def test_each_card_has_its_chance_and_a_reason(show, folder):
    with served(folder, "export=v1", "home.policy=policy", "home.log=log") as address:
        page = show(address, "#/listener/u0")
        page.get_by_role("link", name="Home page").click()
        page.wait_for_selector("main[data-view=home][aria-busy=false]")
        assert page.locator("h1").inner_text() == "u0"
        rows = page.locator(".shelves li.row")
        assert rows.count() == 6
        assert page.locator(".shelves h2").all_inner_texts() == ["Picked for you", "Playlists", "Podcasts", "Artists"]
        asides = rows.locator(".aside").all_inner_texts()
        assert asides == ["chance 17 %", "chance 20 %", "chance 25 %", "chance 33 %", "chance 50 %", "chance 100 %"]
        assert page.locator(".shelves .reason").count() > 0
        titles = rows.locator(".title").all_inner_texts()
        for _ in range(4):  # of six cards the same page comes again once in 720 times
            with page.expect_response(lambda response: "/home?" in response.url):
                page.get_by_role("button", name="Draw again").click()
            page.wait_for_timeout(100)
            if rows.locator(".title").all_inner_texts() != titles:
                break
        assert sorted(rows.locator(".title").all_inner_texts()) == sorted(titles)
        assert rows.locator(".title").all_inner_texts() != titles
    assert not [*(folder / "log" / "impressions").iterdir()]


def test_a_server_without_one_says_so(show, folder):
    with served(folder, "export=v1") as address:
        page = show(address, "#/home/u0")
        page.expects_errors = True
        assert "home.policy=FOLDER" in page.get_by_role("alert").inner_text()
