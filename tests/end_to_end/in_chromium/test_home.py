"""The home page of a listener in a real browser: every card with its chance and why it is there."""

import pytest

from tests.end_to_end.in_chromium.chromium import needs_chromium
from tests.end_to_end.in_chromium.serving import served
from towers.policies.bandit.policy_file import write_policy
from towers.policies.bandit.uniform import Uniform
from towers.retrieval.export import Export

pytestmark = [pytest.mark.unhooked, needs_chromium]


@pytest.fixture(scope="module")
def with_home(demo, tmp_path_factory):
    """A server with a home page by the random policy, its log, and a listener."""
    folder, work = demo[0], tmp_path_factory.mktemp("home")
    export = Export(folder / "exports" / "current")
    write_policy(work / "policy", Uniform(), space_id=export.space_id, update=0, learned_from={})
    with served(folder, f"home.policy={work / 'policy'}", f"home.log={work / 'log'}") as found:
        yield found, export.user_ids[0], work / "log"


def test_each_card_has_its_chance_and_a_reason(show, with_home):
    address, user, log = with_home
    page = show(address, f"#/home/{user}")
    assert page.locator("h1").inner_text() == user
    rows = page.locator(".shelves li.row")
    assert rows.count() >= 6
    assert all(text.startswith("chance ") for text in rows.locator(".aside").all_inner_texts())
    assert page.locator(".shelves .reason").count() > 0
    before = rows.locator(".title").all_inner_texts()
    for _ in range(5):  # a page of few cards may come again
        page.get_by_role("button", name="Draw again").click()
        page.wait_for_timeout(200)
        if rows.locator(".title").all_inner_texts() != before:
            break
    assert rows.locator(".title").all_inner_texts() != before
    assert not [*(log / "impressions").iterdir()]


def test_a_listener_leads_to_it_and_a_server_without_one_says_so(show, address, demo):
    user = Export(demo[0] / "exports" / "current").user_ids[0]
    page = show(address, f"#/listener/{user}")
    page.expects_errors = True
    page.get_by_role("link", name="Home page").click()
    page.wait_for_selector("main[data-view=home]")
    assert "home.policy=FOLDER" in page.get_by_role("alert").inner_text()
