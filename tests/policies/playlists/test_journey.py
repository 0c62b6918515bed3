"""Journeys: from contents that a listener knows to new ones, in small steps."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policies.somebody import somebody
from tests.retrieval.small_export import content, small_export
from towers.contract import schema
from towers.errors import UserError
from towers.policies.asking import request_of
from towers.policies.journey.apart import Apart
from towers.policies.journey.ends import End
from towers.policies.kinds import Journey
from towers.policies.playlist import Playlist
from towers.policies.playlists.journey import JourneySettings, journey
from towers.policies.playlists.path import path
from towers.policies.reasons import in_words
from towers.policies.request import Shared
from towers.retrieval.export import Export
from towers.retrieval.query import Query

GOLDEN = Path(__file__).parents[2] / "golden" / "format-4" / "export"
FEW = 30


@pytest.fixture(scope="module")
def golden() -> Shared:
    return Shared(Export(GOLDEN, check_files=False))


@pytest.fixture(scope="module")
def circle(tmp_path_factory) -> Export:
    """Thirty pieces on a quarter of a circle, two after the other by one artist."""
    angles = np.deg2rad(np.linspace(0, 90, FEW))
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    contents = [content(f"c{row}", title=f"Title {row}", artist_ids=[f"a{row // 2}"]) for row in range(FEW)]
    contents += [content(f"a{at}", kind="artist", title=f"Artist {at}", artist_ids=[f"a{at}"]) for at in range(15)]
    return small_export(tmp_path_factory.mktemp("journey") / "export", contents, np.vstack([vectors, vectors[::2]]))


def between(export: Export, start: int, end: int, **asked) -> Playlist:
    apart = Apart(export)
    ends = End.of_content(apart, export, start, "sets_out"), End.of_content(apart, export, end, "leads")
    return journey(export, *ends, apart=apart, **asked)


def artists(export: Export, row: int) -> set[int]:
    return set(export.facts.artists[row].tolist())


@given(seed=st.integers(0, 10_000), steps=st.integers(1, 28))
@settings(max_examples=8, deadline=None)
def test_ends_are_kept_nothing_comes_twice_and_no_artist_follows_themselves(circle, seed, steps):
    start, end = np.random.default_rng(seed).choice(FEW, 2, replace=False).tolist()
    found = between(circle, start, end, steps=steps)
    rows = found.rows.tolist()
    assert (rows[0], rows[-1], len(rows)) == (start, end, steps + 1)
    assert len(set(rows)) == len(rows)
    assert all(circle.kinds[row] == schema.KIND_CODES["track"] for row in rows)
    follows = [bool(artists(circle, at) & artists(circle, to)) for at, to in pairwise(rows)]
    if steps < 20 and not artists(circle, start) & artists(circle, end):  # there are enough others
        assert not any(follows)
    else:
        assert any(follows) == ("follows themselves" in found.remark)


def test_steps_are_of_about_one_length(circle):
    rows = between(circle, 0, FEW - 1, steps=9).rows
    angles = np.diff(np.rad2deg(np.arctan2(*circle.vectors[rows].T[::-1])))
    assert angles.min() > 5
    assert angles.max() < 15  # 10 each, where pieces stand every 3 degrees


def test_it_is_smoother_by_ear_than_a_path(golden):
    export, apart = golden.export, golden.apart
    tracks = np.flatnonzero(export.kinds == schema.KIND_CODES["track"])
    pairs = [np.random.default_rng(seed).choice(tracks, 2, replace=False).tolist() for seed in range(5)]
    query = Query(kind=("track",), include_heard=True)
    figures = []
    for start, end in pairs:
        for make in (path, between):
            rows = make(export, start, end, steps=5, query=query).rows
            figures.append([apart.by_ear(rows[[at]], rows[[at + 1]])[0, 0] for at in range(5)])
    by_path, by_journey = np.array(figures).reshape(len(pairs), 2, 5).transpose(1, 0, 2)
    assert np.nanmean(by_journey) < 0.8 * np.nanmean(by_path)


def test_its_facts_are_the_lengths_of_its_steps(golden):
    export, apart = golden.export, golden.apart
    tracks = np.flatnonzero(export.kinds == schema.KIND_CODES["track"])
    found = between(export, int(tracks[0]), int(tracks[5]), steps=4)
    rows = [np.array([row]) for row in found.rows.tolist()]
    assert found.facts["by_audience"] == pytest.approx([apart.by_audience(*pair)[0, 0] for pair in pairwise(rows)])
    ears = [apart.by_ear(*pair)[0, 0] for pair in pairwise(rows)]
    assert found.facts["by_ear"] == [None if np.isnan(ear) else pytest.approx(ear) for ear in ears]


def test_what_the_listener_knows_comes_first_and_nothing_that_they_disliked(circle):
    done = [(row, schema.PLAY) for row in range(10)] + [(row, schema.DISLIKE) for row in (12, 15)]
    listener = somebody(circle, done, circle.vectors[2])
    rows = between(circle, 0, FEW - 1, steps=9, listener=listener).rows
    knows = np.isin(rows, np.arange(10))
    assert knows[:4].all()
    assert knows.tolist() == sorted(knows, reverse=True)
    assert not {12, 15} & set(rows.tolist())


def test_the_start_of_a_journey_from_home_is_what_they_chose(circle):
    listener = somebody(circle, [(20, schema.PLAY), (21, schema.PLAY), (25, schema.DISLIKE)], circle.vectors[20])
    apart = Apart(circle)
    home = End.of_home(apart, listener, np.arange(len(circle.contents)) < FEW)
    found = journey(circle, home, End.of_content(apart, circle, 0, "leads"), steps=4, listener=listener, apart=apart)
    assert found.rows[0] in (20, 21)
    assert in_words(circle, found.reasons[0]) == "you played it before"
    assert in_words(circle, found.reasons[-1]) == "where the journey leads"


def test_somebody_new_sets_out_near_their_vector(circle):
    nobody = somebody(circle, [], circle.vectors[20])
    home = End.of_home(Apart(circle), nobody, np.arange(len(circle.contents)) < FEW)
    found = journey(circle, home, End.of_content(Apart(circle), circle, 0, "leads"), steps=4, listener=nobody)
    assert abs(int(found.rows[0]) - 20) <= 10
    assert in_words(circle, found.reasons[0]) == "close to what you like most"


def test_where_little_may_come_it_is_shorter_and_says_so(circle):
    found = between(circle, 0, 29, steps=5, query=Query(among=np.array([3, 6]), include_heard=True))
    assert found.rows.tolist() == [0, 3, 6, 29]
    assert found.remark == "only 2 pieces are allowed in between, 2 fewer than asked for"


@pytest.mark.parametrize(
    ("start", "end", "steps", "said"),
    [(0, 0, 3, "c0 to itself"), (0, 1, 0, "steps=0"), (0, 1, 201, "steps=201"), (FEW, 1, 3, "a0 is of kind artist")],
)
def test_what_is_no_journey_is_refused(circle, start, end, steps, said):
    with pytest.raises(UserError, match=said):
        between(circle, start, end, steps=steps)


@pytest.mark.parametrize(
    "wrong",
    [{"ear_share": 1.1}, {"known_until": -0.1}, {"evenness": 0.5}, {"pull": -1}, {"liking": -1}, {"knowing": -1}],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))}="):
        JourneySettings(**wrong)


def test_a_listener_alone_is_led_to_a_region_that_they_hardly_know(golden):
    export = golden.export
    for user in export.user_ids[:4]:
        request = request_of(golden, users=[user], asked={"k": 5})
        found = Journey().make(request)
        listener, regions = request.listener, export.regions
        last = regions.names[int(regions.region_of_content[found.rows[-1]])]
        assert found.facts["region"] == last
        assert len(found) == 5
        assert not np.isin(found.rows, listener.standing.disliked).any()
        # Known pieces come first.
        knows = np.isin(found.rows, listener.standing.heard)
        assert knows.tolist() == sorted(knows, reverse=True)


def test_to_names_a_region_or_a_content(golden):
    export = golden.export
    track = export.content_ids[int(np.flatnonzero(export.kinds == schema.KIND_CODES["track"])[0])]
    region = export.regions.names[0]
    found = Journey(steps=3).make(request_of(golden, contents=[track], to=region))
    assert (export.content_ids[int(found.rows[0])], found.facts["region"]) == (track, region)
    assert export.regions.region_of_content[found.rows[-1]] == 0
    other = export.content_ids[int(found.rows[-1])]
    both = Journey(steps=3).make(request_of(golden, contents=[track], to=other))
    assert both.rows.tolist() == Journey(steps=3).make(request_of(golden, contents=[track, other])).rows.tolist()
    assert both.facts["region"] is None


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "contents: give the piece that the journey begins at, or user="),
        ({"contents": 1}, "to: say where the journey leads, a content or a region, or user="),
        ({"contents": 3}, "contents: give the pieces that a journey leads between"),
        ({"contents": 2, "to": "jazz"}, "to: contents names both ends"),
        ({"contents": 1, "to": "jaz"}, "to: 'jaz': no content with this id or title, and no such region; did you mean"),
    ],
)  # fmt: skip
def test_what_is_missing_or_too_much_is_said(golden, asked, said):
    export = golden.export
    tracks = np.flatnonzero(export.kinds == schema.KIND_CODES["track"]).tolist()
    given = {**asked, "contents": [export.content_ids[row] for row in tracks[: asked.get("contents", 0)]]}
    with pytest.raises(UserError, match=f"^{said}"):
        Journey().make(request_of(golden, **given))


def test_of_a_listener_whom_nothing_is_left_for_the_list_is_empty_and_says_so(golden):
    users = golden.export.user_ids[:1]
    none = request_of(golden, users=users, asked={"among": np.zeros(0, np.int64)})
    found = Journey().make(none)
    assert (len(found), found.remark[:18]) == (0, "there is no region")
    with pytest.raises(UserError, match="no content of the region jazz is allowed"):
        Journey().make(request_of(golden, users=users, to="jazz", asked={"among": np.zeros(0, np.int64)}))
