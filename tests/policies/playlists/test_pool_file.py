"""Pools in YAML: read, refused in one line, and written so that they are read again."""

from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from tests.retrieval.small_export import content, small_export
from towers.errors import UserError
from towers.policies.playlists.pool import Quota
from towers.policies.playlists.pool_file import pool_of, pools_of_editors, read_pool, told_of, write_pool
from towers.retrieval.playlists import Playlists


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    contents = [content(f"t{at}", artist_ids=["a1" if at < 3 else "a2"]) for at in range(6)]
    contents[5]["genres"] = ["rock", "folk"]
    contents += [content("007"), content("a1", kind="artist")]
    return small_export(tmp_path_factory.mktemp("pool") / "export", contents, np.eye(8, dtype=np.float32))


TOLD = {"contents": ["t0", "t1", "t2", "t3", "t4", "t5"], "k": 3}


def test_a_file_says_all(export, tmp_path):
    path = tmp_path / "pool.yaml"
    path.write_text(
        "title: Folk\ncontents: [t5, 007, t1, t0]\nk: 2\norder: kept\npins: [{place: 1, content: 007}]\n"
        "quotas: [{genre: rock, maximum: 0}, {artist: a1, minimum: 1}]\n"
        "window: {from: 2026-07-01, until: 2026-07-31}\nfloor: 0.25\n"
    )
    pool = read_pool(export, path)
    assert pool.rows.tolist() == [5, 6, 1, 0]
    assert (pool.k, pool.keeps_order, pool.floor, pool.pinned.tolist()) == (2, True, 0.25, [1, -1])
    assert pool.quotas[0] == Quota(by="genre", of="rock", members=frozenset({"t5"}), minimum=0, maximum=0)
    assert pool.quotas[1].members == {"t0", "t1"}
    assert (pool.valid_from, pool.valid_until) == (date(2026, 7, 1), date(2026, 7, 31))


def test_what_is_written_is_read_again(export, tmp_path):
    quotas = [{"contents": ["t1", "t2"], "maximum": 1}, {"kind": "track", "minimum": 2}]
    window = {"until": "2026-07-31"}
    told = {"contents": ["t2", "007", "t1"], "k": 2, "quotas": quotas, "window": window, "title": "A: b # c\nd"}
    pool = pool_of(export, told | {"pins": [{"place": 2, "content": "007"}], "floor": 0.2}, "p")
    write_pool(pool, tmp_path / "p.yaml", {"007": "new by\nsomebody: x"})
    again = read_pool(export, tmp_path / "p.yaml")
    assert told_of(again) == told_of(pool)
    assert again.fingerprint == pool.fingerprint
    assert "# new by somebody: x" in (tmp_path / "p.yaml").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["p.yaml"]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"contents": []}, "p: contents: the pool is empty"),
        ({"contents": ["t0", "t1", "t0"]}, "p: contents: t0 is listed at 1 and again at 3"),
        ({"contents": ["t0", "x"]}, "p: row 2: contents: 'x' is not in version"),
        ({"contents": ["a1"]}, "p: row 1: contents: 'a1' cannot be played, it is of the kind artist"),
        ({"contents": "t0"}, "p: contents: must be a list, got 't0'"),
        ({"places": 3}, "p: places: no such key; there are title, contents"),
        ({"k": "many"}, "p: k=many: must be a whole number"),
        ({"k": 0}, "p: k=0: must be at least 1"),
        ({"order": "any"}, "p: order=any: must be one of free, kept"),
        ({"floor": 1}, "p: floor=1: must be a share"),
        ({"floor": float("nan")}, "p: floor=nan: must be a share"),
        (
            {"window": {"from": "2026-07-02", "until": "2026-07-01"}},
            "it ends on 2026-07-01, before it begins on 2026-07-02",
        ),
        ({"window": {"from": "July"}}, "p: window: from=July: must be a day such as"),
        ({"pins": [(1, "t0"), (1, "t1")]}, "p: pins: place 1 is given to t0 and to t1"),
        ({"pins": [(1, "t0"), (2, "t0")]}, "p: pins: t0 is at place 1 and at place 2"),
        ({"pins": [(1, "007")]}, "p: pins: 007 at place 1 is not among the 6 contents"),
        ({"pins": [(4, "t0")]}, "p: pins: t0 is at place 4, and k=3"),
        (
            {"pins": [(1, "t4"), (2, "t1")], "order": "kept"},
            "cannot hold together: pins: t4 at place 1 in the order kept; pins: t1 at place 2 in the order kept",
        ),
        ({"pins": [(2, "t0")], "order": "kept"}, "p: cannot hold: pins: t0 at place 2 in the order kept"),
        ({"quotas": [{"genre": "rock", "minimum": 2}]}, "p: cannot hold: quotas: at least 2 of genre rock, of which"),
        (
            {"quotas": [{"artist": "a1", "minimum": 2, "maximum": 1}]},
            "cannot hold together: quotas: at least 2 of artist a1, .*; quotas: at most 1 of artist a1",
        ),
        (
            {"quotas": [{"artist": "a1", "minimum": 2}, {"artist": "a2", "minimum": 2}]},
            "cannot hold together: k: 3 contents; quotas: at least 2 of artist a1, .* at least 2 of artist a2",
        ),
        (
            {"quotas": [{"artist": "a1", "maximum": 1}, {"artist": "a2", "maximum": 1}]},
            "cannot hold together: k: 3 contents; quotas: at most 1 of artist a1; quotas: at most 1 of artist a2",
        ),
        (
            {"quotas": [{"artist": "a1", "maximum": 0}], "pins": [(1, "t0")]},
            "cannot hold together: pins: t0 at place 1; quotas: at most 0 of artist a1",
        ),
        (
            {"quotas": [{"artist": "a1", "maximum": 1}], "floor": 0.8},
            "cannot hold together: quotas: at most 1 of artist a1; floor: 0.8 of equal attention for each content",
        ),
        ({"quotas": [{"genre": "folk", "artist": "a1"}]}, "quotas: name one of .*, not genre and artist"),
        ({"quotas": [{"genre": "folk"}]}, "quotas: genre folk: give a minimum or a maximum"),
        ({"quotas": [{"contents": ["007"], "maximum": 1}]}, "quotas: '007' is not among the contents"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(export, told, message):
    if "pins" in told:
        told = told | {"pins": [{"place": place, "content": content_id} for place, content_id in told["pins"]]}
    with pytest.raises(UserError, match=message) as refused:
        pool_of(export, TOLD | told, "p")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("contents:\n- t0\n- x\n", r"pool.yaml: line 3: contents: 'x' is not in version"),
        ("k: 1\ncontents: [t0]\nk: 2\n", r"pool.yaml: line 3: k is already in line 1"),
        ("contents: [t0\n", "pool.yaml: not valid YAML"),
        ("- t0\n", "pool.yaml: must have the keys"),
        ("", "pool.yaml: must have the keys"),
    ],
)
def test_a_file_that_cannot_be_is_refused_with_its_line(export, tmp_path, text, message):
    (tmp_path / "pool.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_pool(export, tmp_path / "pool.yaml")


def test_a_file_that_is_not_there(export, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_pool(export, tmp_path / "none.yaml")


def test_pools_of_editors_alone(export):
    rows = [
        {"playlist_id": "p1", "title": "One", "curator": "editor", "content_ids": ["t0", "t1"]},
        {"playlist_id": "p2", "title": "Two", "curator": "listener", "content_ids": ["x"]},
    ]
    (pool,) = pools_of_editors(export, {"k": 1}, rows)
    assert (pool.title, pool.content_ids, pool.k) == ("One", ("t0", "t1"), 1)
    with pytest.raises(UserError, match="playlist p2: row 1: contents: 'x' is not in"):
        pools_of_editors(export, {}, [rows[1] | {"curator": "editor"}])
    assert pools_of_editors(export) == []


def test_the_window_does_not_change_what_weights_are_for(export):
    pool = pool_of(export, TOLD, "p")
    assert replace(pool, valid_until=date(2026, 1, 1)).fingerprint == pool.fingerprint
    assert replace(pool, k=2).fingerprint != pool.fingerprint


def test_pools_of_the_editors_playlists_of_an_export(tmp_path):
    names = [content("t0"), content("t1"), content("p", kind="playlist", title="Picks"), content("q", kind="playlist")]
    export = small_export(tmp_path / "export", names, np.eye(4, dtype=np.float32))
    rows = [
        {"content_row": 2, "curator": "editor", "member_rows": [1, 0, 1]},
        {"content_row": 3, "curator": "listener", "member_rows": [0]},
    ]
    columns = pa.schema({"content_row": pa.int64(), "curator": pa.string(), "member_rows": pa.list_(pa.int32())})
    export.playlists = Playlists(pa.Table.from_pylist(rows, columns))
    (pool,) = pools_of_editors(export, {"k": 1})
    assert (pool.name, pool.title, pool.content_ids) == ("playlist p", "Picks", ("t1", "t0"))
