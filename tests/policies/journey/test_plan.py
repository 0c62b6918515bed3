"""The regions of the space for a listener, and plans over weeks."""

import numpy as np
import pytest

from tests.policies.journey.planned import SMALL, golden, made, somebody_new
from towers.contract import schema
from towers.contract.durations import DAY_US
from towers.errors import UserError
from towers.policies.journey.ends import Destination
from towers.policies.journey.plan import Plan, PlanSettings, plan, position_of
from towers.policies.journey.plan_told import plan_tables, plan_told
from towers.policies.journey.regions import RegionView, worths
from towers.policies.listener import Listener
from towers.policies.playlists.hearing import listener_after, vector_after
from towers.policies.reasons import WORDS
from towers.retrieval.export import Export


@pytest.fixture(scope="module")
def export() -> Export:
    return golden()


@pytest.fixture(scope="module")
def listener() -> Listener:
    return somebody_new()


@pytest.fixture(scope="module")
def planned() -> Plan:
    return made()


def view(far: np.ndarray, heard: list[float], worth: list[float]) -> RegionView:
    count = len(far)
    shares = np.array(heard, np.float64), np.full(count, 1 / count)
    return RegionView(heard_share=shares[0], usual_share=shares[1], worth=np.array(worth, np.float64), far=far)


LINE = np.abs(np.subtract.outer(np.arange(5.0), np.arange(5.0)))
"""Five regions in a row, a step of 1 apart."""


def test_a_route_takes_the_small_steps_that_it_may_take():
    found = view(LINE, [1, 0, 0, 0, 0], [0, 0, 0, 0, 1])
    assert found.route(4, 4).regions == (0, 1, 2, 3, 4)
    assert found.route(4, 4).steps == (1, 1, 1, 1)
    assert found.route(4, 2).regions == (0, 2, 4)
    assert found.route(4, 1).regions == (0, 4)
    assert found.route(0, 3).regions == (0,)
    assert found.route(0, 3).longest == 0


def test_it_sets_out_from_the_nearest_region_where_one_is_at_home():
    found = view(LINE, [0.6, 0, 0.4, 0, 0], [0, 0, 0, 0, 1])
    assert found.home.tolist() == [0, 2]
    assert found.route(4, 2).regions == (2, 3, 4)


def test_the_destination_is_worth_most_of_what_is_hardly_known_and_near_by_small_steps():
    far = LINE.copy()
    far[4, :4] = far[:4, 4] = 9.0  # nothing leads there in small steps
    found = view(far, [0.8, 0, 0, 0.2, 0], [0.9, 0.2, 0.3, 0.8, 0.7])
    assert found.unfamiliar.tolist() == [False, True, True, False, True]
    assert found.destination(4).regions[-1] == 2
    assert view(far, [0.8, 0, 0, 0.2, 0], [0.9, 0, 0, 0.8, 0.7]).destination(4).regions[-1] == 4


def test_where_nothing_is_for_them_it_is_said():
    with pytest.raises(UserError, match="no region that is new to this listener"):
        view(LINE, [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]).destination(4)


def test_the_view_of_a_listener(export, listener):
    found = RegionView.of(listener)
    assert found.heard_share.tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert found.usual_share.sum() == pytest.approx(1)
    assert found.home.tolist() == [0]
    assert np.diagonal(found.far).tolist() == [0] * 8
    assert found.far == pytest.approx(found.far.T)
    twice = RegionView.of(listener, long_term=np.full(len(export.contents), 2.0))
    assert twice.worth == pytest.approx(2 * found.worth)


def test_of_very_many_contents_the_nearest_of_each_region_are_looked_at(listener, monkeypatch):
    monkeypatch.setattr("towers.policies.journey.regions.EXACT_BELOW", 1)
    whole = RegionView.of(listener)
    monkeypatch.setattr("towers.policies.journey.regions.LOOKED_AT", 1)
    few = RegionView.of(listener)
    monkeypatch.undo()
    assert whole.worth == pytest.approx(RegionView.of(listener).worth)  # no region has more than 50
    region, heard = listener.export.regions.region_of_content, listener.standing
    rows = np.flatnonzero(region == 1)
    rows = rows[~np.isin(rows, np.concatenate([heard.heard, heard.disliked]))]
    nearest = rows[[listener.affinity(rows).argmax()]]
    assert few.worth[1] == pytest.approx(worths(listener, nearest)[0])


def test_positions_are_even():
    assert [position_of(week, 5, 3) for week in range(5)] == [0, 0.5, 1, 1.5, 2]
    assert position_of(0, 1, 3) == 2


def test_a_plan_leads_from_home_to_its_destination(export, listener, planned):
    regions = export.regions
    assert planned.stations[0].name == regions.names[0]
    assert planned.stations[-1].region != 0
    assert len(planned.weeks) == 3
    last = planned.weeks[-1]
    assert last.known == 0
    assert set(regions.region_of_content[last.rows]) == {planned.stations[-1].region}
    later = listener_after(listener, planned.weeks[0].rows, 7)
    centroid = regions.centroids[planned.stations[-1].region]
    assert planned.affinity == pytest.approx(float(listener.vector @ centroid))
    assert planned.weeks[0].affinity == pytest.approx(float(later.vector @ centroid))


def test_nothing_is_offered_twice_or_disliked_and_what_is_known_comes_first(export, listener, planned):
    offered = np.concatenate([week.rows for week in planned.weeks])
    assert len(np.unique(export.recordings[offered])) == len(offered)
    assert not np.isin(offered, listener.standing.disliked).any()
    for week in planned.weeks:
        assert np.isin(week.rows, listener.standing.heard).tolist() == [True] * week.known + [False] * (
            len(week.rows) - week.known
        )
        assert {reason.kind for reason in week.reasons} <= set(WORDS)
        assert 1 <= len(week.rows) <= 3


def test_who_says_what_contents_are_worth_decides_what_is_offered(export, listener):
    def by_row(_: Listener, rows: np.ndarray) -> np.ndarray:
        return rows.astype(np.float64)

    region = int(np.bincount(export.regions.region_of_content[export.regions.region_of_content >= 0]).argmax())
    settings = PlanSettings(weeks=1, a_week=2, lead=0, known_share=0, max_per_artist=9)
    to = Destination(region=region)
    found = plan(listener, settings, to=to, worth=by_row)
    may_come = np.flatnonzero(export.regions.region_of_content == region)
    may_come = may_come[~np.isin(may_come, np.concatenate([listener.standing.heard, listener.standing.disliked]))]
    assert sorted(found.weeks[0].rows.tolist()) == sorted(may_come[-2:].tolist())
    assert found.why == f"to {export.regions.names[region]}, as was asked for"


def test_to_a_content_is_to_its_region(export, listener):
    row = int(np.flatnonzero(export.regions.region_of_content == 5)[0])
    assert plan(listener, SMALL, to=Destination(row=row)).stations[-1].region == 5
    artist = int(np.flatnonzero(export.kinds == schema.KIND_CODES["artist"])[0])
    with pytest.raises(UserError, match="lies in no region"):
        plan(listener, SMALL, to=Destination(row=artist))


def test_a_plan_that_has_nothing_left_to_offer_is_refused(listener):
    with pytest.raises(UserError, match=r"^week \d+: nothing new is left in the region"):
        plan(listener, PlanSettings(weeks=40, a_week=10))


@pytest.mark.parametrize(
    "wrong", [{"weeks": 0}, {"weeks": 53}, {"a_week": 0}, {"known_share": 2}, {"ear_share": -1}, {"lead": -1}]
)
def test_settings_out_of_range_are_refused(wrong):
    name = next(iter(wrong))
    with pytest.raises(UserError, match="k=0" if name == "a_week" else f"{name}="):
        PlanSettings(**wrong)


def test_a_listener_after_hearing_something(export, listener):
    rows = np.flatnonzero(export.regions.region_of_content == 1)[:2]
    later = listener_after(listener, rows, 7)
    assert np.isin(rows, later.standing.heard).all()
    assert later.standing.until_us > listener.standing.until_us + 7 * DAY_US
    assert listener_after(listener, rows, 0).vector == pytest.approx(vector_after(listener, rows))
    assert listener.standing.heard.tolist() == Listener.of(export, history=[
        {"content_id": export.content_ids[row], "timestamp": "2026-05-01"} for row in listener.standing.heard.tolist()
    ]).standing.heard.tolist()  # fmt: skip


def test_it_is_told_in_words(export, planned):
    told = plan_told(export, planned)
    assert [week["week"] for week in told["weeks"]] == [1, 2, 3]
    assert [one["region"] for one in told["stations"]] == [one.name for one in planned.stations]
    first = told["weeks"][0]["items"][0]
    assert first["content_id"] == export.content_ids[int(planned.weeks[0].rows[0])]
    assert first["reason"] == "you played it before"
    stations, weeks = plan_tables(export, planned, "Plan for somebody")
    assert stations.row_count == len(planned.stations)
    assert weeks.row_count == sum(1 + len(week.rows) for week in planned.weeks)
