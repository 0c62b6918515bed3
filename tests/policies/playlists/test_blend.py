"""Blends: one list for several listeners."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.retrieval.small_export import content, small_export
from towers.contract import schema
from towers.contract.playlists import PLAYLIST_COLUMNS
from towers.errors import UserError
from towers.policies.listener import Listener
from towers.policies.match import Matches
from towers.policies.playlists.blend import BlendSettings, blend
from towers.policies.playlists.guests import BlendPartner
from towers.policies.reasons import in_words
from towers.retrieval.export import Export
from towers.retrieval.playlists import Playlists
from towers.retrieval.query import Query, Standing

TRACKS, LISTENERS, ARTISTS = 60, 9, 12


@pytest.fixture(scope="module")
def export(tmp_path_factory) -> Export:
    """Sixty tracks of twelve artists, one of which has a row, an editor's playlist, and nine listeners."""
    random = np.random.default_rng(0)
    contents = [content(f"c{row}", title=f"Title {row}", artist_ids=[f"a{row % ARTISTS}"]) for row in range(TRACKS)]
    contents += [content("a1", kind="artist", title="Artist 1", artist_ids=["a1"])]
    contents += [content(name, kind="playlist", title=f"List {name}") for name in ("p", "q")]
    vectors = random.normal(size=(len(contents), 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    chosen = {f"u{user}": random.integers(0, TRACKS, 8).tolist() for user in range(LISTENERS)}
    return small_export(tmp_path_factory.mktemp("blend") / "export", contents, vectors, chosen)


def listeners(export: Export, *users: int) -> list[Listener]:
    return [Listener.of_row(export, user) for user in users]


def asking(k: int = 10, **more) -> BlendSettings:
    return BlendSettings(query=Query(k=k, include_heard=True), candidates=max(k, 30), **more)


def disliking(export: Export, listener: Listener, row: int) -> Listener:
    """Returns the listener after they disliked a content."""
    events = listener.standing.events
    last = {name: np.append(getattr(events, name), getattr(events, name)[-1:]) for name in events.__slots__}
    last["content_row"][-1], last["action"][-1], last["is_positive"][-1] = row, schema.DISLIKE, False
    standing = Standing.of(type(events)(**last), None)
    return replace(listener, standing=standing)


@pytest.fixture(scope="module")
def matches(export) -> Matches:
    return Matches(export)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, LISTENERS - 1), min_size=2, unique=True), st.randoms(use_true_random=False))
def test_it_is_fair_and_does_not_mind_who_is_named_first(export, matches, users, random):
    found = blend(listeners(export, *users), asking(12), matches)
    shuffled = [*users, users[0]]
    random.shuffle(shuffled)
    again = blend(listeners(export, *shuffled), asking(12), matches)
    shares = found.facts["shares"]
    assert found.rows.tolist() == again.rows.tolist()
    assert np.array_equal(shares, again.facts["shares"])
    assert found.facts["members"] == again.facts["members"] == [f"u{user}" for user in sorted(users)]
    assert found.facts["match"] == again.facts["match"]
    assert len(found) == 12
    assert shares.sum(axis=1) == pytest.approx(1)
    places = np.arange(1, 13)[:, None]
    assert np.abs(np.cumsum(shares, axis=0) - places / len(users)).max() <= 1 + 1e-6


def test_what_anybody_dislikes_does_not_come(export):
    one, other = listeners(export, 0, 1)
    disliked = int(blend([one, other], asking()).rows[0])
    assert disliked not in blend([one, disliking(export, other, disliked)], asking()).rows


def test_what_was_heard_comes_only_if_it_may(export):
    members = listeners(export, 0, 1)
    heard = np.concatenate([member.met for member in members])
    assert np.isin(blend(members, asking()).rows, heard).any()
    new = BlendSettings(query=Query(k=10), candidates=30)
    assert not np.isin(blend(members, new).rows, heard).any()


def test_filters_hold(export):
    denied = blend(listeners(export, 0, 1), asking()).rows[:3]
    settings = BlendSettings(query=Query(k=10, include_heard=True, deny=denied), candidates=30)
    found = blend(listeners(export, 0, 1), settings)
    assert not np.isin(found.rows, denied).any()
    assert (export.kinds[found.rows] == schema.KIND_CODES["track"]).all()


def test_an_artist_comes_at_most_so_often(export):
    found = blend(listeners(export, 0, 1, 2), asking(20, max_per_artist=2))
    assert np.bincount(found.rows % ARTISTS).max() == 2
    assert len(found) == 20


def test_somebody_new_is_served_by_what_the_others_like(export):
    known = listeners(export, 0)[0]
    empty = Standing.of(export.plays(np.zeros(0, np.int64)), None)
    vector = np.asarray(export.vectors[3])
    new = Listener(export=export, vector=vector, standing=empty)
    found = blend([known, new], BlendSettings(query=Query(k=10, include_heard=True), candidates=20))
    best = np.argsort(-known.utility(np.arange(TRACKS)), kind="stable")[:20]
    assert np.isin(found.rows, best).all()
    assert found.facts["members"] == ["u0", "new"] or found.facts["members"] == ["new", "u0"]
    assert found.facts["shares"].sum(axis=0) == pytest.approx([5, 5], abs=1)
    assert found.facts["match"] is None
    both = blend([new, replace(new)], asking())
    assert both.facts["members"] == ["new", "new 2"]
    assert 3 in both.rows[:4]


def test_an_artist_brings_its_own(export):
    artist = BlendPartner.of(export, "Artist 1")
    assert artist.members.tolist() == list(range(1, TRACKS, ARTISTS))
    found = blend([artist, *listeners(export, 0)], asking())
    of_artist = found.facts["shares"][:, found.facts["members"].index("a1")]
    assert np.isin(found.rows, artist.members).sum() >= 4
    assert of_artist.sum() == pytest.approx(5, abs=1)
    place = int(np.flatnonzero(np.isin(found.rows, artist.members) & (of_artist > 0.75))[0])
    assert in_words(export, found.reasons[place]) == "from Artist 1"
    assert 0 <= found.facts["match"] <= 100


def test_a_playlist_brings_what_is_near_to_it(export):
    listener, unknown = listeners(export, 0)[0], BlendPartner.of(export, "p")
    known = replace(unknown, members=np.array([4, 5]))
    assert np.isin([4, 5], blend([known, listener], asking()).rows).all()
    nearest = int(np.argmax(export.vectors[:TRACKS] @ unknown.vector))
    assert nearest in blend([unknown, listener], asking()).rows


def test_a_curator_brings_all_their_playlists(export, monkeypatch):
    row = TRACKS + 1
    told = {"content_row": [row, row + 1], "curator": ["editor", "editor"], "owner_id": [None, "u7"],
            "created": [None, None], "member_rows": [[4, 5], [5, 6]]}  # fmt: skip
    monkeypatch.setitem(
        export.__dict__, "playlists", Playlists(PLAYLIST_COLUMNS.empty_table().from_pydict(told, PLAYLIST_COLUMNS))
    )
    assert BlendPartner.of(export, "p").members.tolist() == [4, 5]
    assert BlendPartner.of_curator(export, "u7").members.tolist() == [5, 6]
    editor = BlendPartner.of_curator(export, "editor")
    assert editor.members.tolist() == [4, 5, 6]
    found = blend([editor, *listeners(export, 0)], asking())
    assert found.facts["members"] == ["editor", "u0"]
    assert np.isin([4, 5, 6], found.rows).all()
    with pytest.raises(UserError, match="curator=nobody: made none of this export's 2 playlists"):
        BlendPartner.of_curator(export, "nobody")


def test_a_track_is_no_partner(export):
    with pytest.raises(UserError, match="'c1': is of kind track"):
        BlendPartner.of(export, "c1")


def test_who_has_left_is_left_out(export):
    found = blend(listeners(export, 0, 1, 2), asking(left_out=("u1", "u8")))
    assert found.remark == "left out: u1"
    assert found.rows.tolist() == blend(listeners(export, 0, 2), asking()).rows.tolist()
    with pytest.raises(UserError, match="takes at least two different members, and has 1 without u1"):
        blend(listeners(export, 0, 1), asking(left_out=("u1",)))


def test_nobody_blends_alone(export):
    with pytest.raises(UserError, match="takes at least two different members, and has 1"):
        blend(listeners(export, 4, 4))
    with pytest.raises(UserError, match="and has 0"):
        blend([])


def test_of_another_space_nobody_blends(export, tmp_path):
    other = small_export(tmp_path / "other", [content("a")], np.eye(1, 4, dtype=np.float32), {"x": [0]})
    stranger = Listener.of_row(other, 0)
    other.manifest["space_id"] = "elsewhere"
    with pytest.raises(UserError, match="different spaces"):
        blend([*listeners(export, 0), stranger])


def test_fewer_than_asked_for_is_said(export):
    found = blend(listeners(export, 0, 1), asking(200))
    assert len(found) == TRACKS
    assert found.remark == f"{TRACKS} contents where 200 were asked for: no more are allowed"
    with pytest.raises(UserError, match="no content is allowed for all of them"):
        blend(listeners(export, 0, 1), BlendSettings(query=Query(deny=np.arange(TRACKS))))


def test_reasons_are_told_by_member(export):
    found = blend(listeners(export, 0, 1), asking())
    for row, share, reasons in zip(found.rows, found.facts["shares"], found.facts["because"], strict=True):
        for member, part, reason in zip(listeners(export, 0, 1), share, reasons, strict=True):
            assert (reason is not None) == (part >= 0.125)
            if reason is not None and row in member.chosen:
                assert in_words(export, reason) == "you played it before"
    assert len(found.reasons) == len(found)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"candidates": 10}, "candidates=10: must be at least k=50"),
        ({"max_per_artist": 0}, "max_per_artist=0"),
        ({"reach": -0.1}, "reach=-0.1"),
        ({"reach": 1.0}, "reach=1.0"),
        ({"query": Query(familiar=0.5)}, "familiar=0.5"),
    ],
)
def test_settings_are_checked(wrong, message):
    with pytest.raises(UserError, match=message):
        BlendSettings(**wrong)
