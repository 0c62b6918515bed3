"""The page of a plan."""

from tests.policies.journey.planned import golden, made
from towers.lifecycle.journey_report.pages import render_plan, write_plan_page
from towers.policies.journey.plan_told import plan_told


def test_the_page_draws_the_way_and_tells_every_piece(tmp_path):
    export, planned = golden(), made()
    page = render_plan(export, planned, {"title": "Some<body>", "weeks": 3})
    assert page.count("<svg") == 2
    assert "<h1>Some&lt;body&gt;</h1>" in page
    assert all(f"week {number}: {week.why}" in page for number, week in enumerate(planned.weeks, start=1))
    told = plan_told(export, planned)
    assert all(f"<th>{item['title']}</th>" in page for week in told["weeks"] for item in week["items"])
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    write_plan_page(export, planned, {"title": "Some<body>", "weeks": 3}, tmp_path / "plan.html")
    assert (tmp_path / "plan.html").read_text(encoding="utf-8") == page
