"""A plan for a new listener on the golden export, made once for all tests."""

from functools import cache
from pathlib import Path

import numpy as np

from towers.policies.journey.plan import Plan, PlanSettings, plan
from towers.policies.listener import Listener
from towers.retrieval.export import Export

GOLDEN = Path(__file__).parents[2] / "golden" / "format-4" / "export"
SMALL = PlanSettings(weeks=3, a_week=3)


@cache
def golden() -> Export:
    return Export(GOLDEN, check_files=False)


@cache
def somebody_new() -> Listener:
    """Returns a listener who knows three pieces of one region, and dislikes one of another."""
    export = golden()
    assert export.regions is not None
    region = export.regions.region_of_content
    home, other = np.flatnonzero(region == 0), np.flatnonzero(region == 3)
    done = [{"content_id": export.content_ids[row], "action": "play"} for row in home[:3].tolist()]
    done.append({"content_id": export.content_ids[int(other[0])], "action": "dislike"})
    return Listener.of(
        export, history=[{**one, "timestamp": f"2026-05-0{day}T12:00:00Z"} for day, one in enumerate(done, start=1)]
    )


@cache
def made() -> Plan:
    return plan(somebody_new(), SMALL)
