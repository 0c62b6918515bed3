"""A plan for people and programs: names, titles and reasons in words instead of rows."""

from typing import Any

from rich.table import Table
from rich.text import Text

from towers.policies.journey.plan import Plan
from towers.policies.reasons import in_words
from towers.retrieval.export import Export
from towers.retrieval.show import title_card


def plan_told(export: Export, plan: Plan) -> dict[str, Any]:
    """Returns a plan as JSON values.

    Returns:
        `why` that destination; `affinity` to it before the first week; `stations`: `region` (its name), `region_id`
        (the same in all versions), `step`, `heard_share`, `usual_share` and `why`; `weeks`: `week` from 1, `position`
        among the stations from 0, `known`, `chance`, `affinity`, `why`, and `items`: `content_id`, `title`, `artists`,
        `reason` in words.
    """
    ids = [] if export.regions is None else export.regions.ids.tolist()
    stations = [
        {"region": one.name, "region_id": ids[one.region], "step": one.step, "heard_share": one.heard_share,
         "usual_share": one.usual_share, "why": one.why}
        for one in plan.stations
    ]  # fmt: skip
    weeks = []
    for number, week in enumerate(plan.weeks, start=1):
        items = []
        for row, reason in zip(week.rows.tolist(), week.reasons, strict=True):
            title, artists, _, _, content_id = title_card(export, row)
            words = in_words(export, reason)
            items.append({"content_id": content_id, "title": title, "artists": artists, "reason": words})
        weeks.append(
            {"week": number, "position": week.position, "known": week.known, "chance": week.chance,
             "affinity": week.affinity, "why": week.why, "items": items}
        )  # fmt: skip
    return {"why": plan.why, "affinity": plan.affinity, "stations": stations, "weeks": weeks}


def plan_tables(export: Export, plan: Plan, title: str) -> tuple[Table, Table]:
    """Returns the plan as tables for a terminal: its stations, and the offer of each week."""
    told = plan_told(export, plan)
    stations = Table(title=Text(f"{title}: {told['why']}"), title_justify="left")
    stations.add_column("#", justify="right")
    for column in ("region", "why"):
        stations.add_column(column, overflow="fold")
    for number, one in enumerate(told["stations"], start=1):
        stations.add_row(str(number), Text(one["region"]), Text(one["why"]))
    weeks = Table()
    weeks.add_column("week", justify="right")
    for column in ("title", "artists", "id", "why"):
        weeks.add_column(column, overflow="fold")
    for one in told["weeks"]:
        weeks.add_section()
        chance = "" if one["chance"] is None else f"chance of a listen to what is new {one['chance']:.3f}; "
        weeks.add_row(
            Text(str(one["week"])), Text(one["why"], "bold"), Text(""), Text(""),
            Text(f"{chance}nearness to the destination afterwards {one['affinity']:.2f}"),
        )  # fmt: skip
        for item in one["items"]:
            cells = (item["title"], item["artists"], item["content_id"], item["reason"])
            weeks.add_row(Text(""), *(Text(cell or "") for cell in cells))
    return stations, weeks
