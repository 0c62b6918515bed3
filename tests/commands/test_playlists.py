"""`towers playlists`, and the same in Python, on an export of some contents."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.retrieval.small_export import content, small_export
from towers import api, cli
from towers.commands import playlists
from towers.config.composing import compose
from towers.config.instantiate import instantiate
from towers.config.keys import choices
from towers.errors import ExitCode, UserError
from towers.policies.kinds import KINDS, Radio
from towers.policies.request import name_of
from towers.retrieval.export import Export

NUM = 40


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    contents = [content(str(at), title=f"Title {at}", artist_ids=[f"a{at % 20}"]) for at in range(NUM)]
    vectors = np.random.default_rng(0).normal(size=(NUM, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return small_export(tmp_path_factory.mktemp("lists") / "export", contents, vectors, {"7": [0, 1, 1], "1e5": [2]})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(export: Export, *overrides: str) -> Any:
    return playlists.run(compose("playlists", [f"export='{export.folder}'", *overrides]))


def test_files_have_the_defaults_of_their_kinds() -> None:
    assert choices("playlist") == sorted(KINDS)
    for name, kind in KINDS.items():
        assert instantiate(compose("playlists", [f"playlist={name}"]).playlist, "playlist") == kind()
        assert name_of(kind()) == name


def test_one_listener(export: Export, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(export, "user='7'", "k=3", "output=list.parquet")
    said = capsys.readouterr().out
    assert "Discover weekly for 7" in said
    assert "wrote list.parquet: 3 contents" in said
    rows = pq.read_table("list.parquet").to_pylist()
    assert [row["content_id"] for row in rows] == [export.content_ids[row] for row in found.rows]
    assert [(row["user_id"], row["rank"]) for row in rows] == [("7", 1), ("7", 2), ("7", 3)]
    assert {row["reason"] for row in rows} <= {"played", "artist", "listened_with", "close_in_sound"}
    answer = api.playlist(user=7, k=3, export=export.folder)
    assert [item["content_id"] for item in answer["items"]] == [row["content_id"] for row in rows]
    assert [item["because"] for item in answer["items"]] == [row["because"] for row in rows]


def test_everybody_then_one_of_the_next_week(export: Export, capsys: pytest.CaptureFixture[str]) -> None:
    run(export, "user=all", "k=3", "week=2026-W29", "parts=2", "workers=1")
    assert "2 lists in 2 parts; 0 existed before" in capsys.readouterr().out
    again = run(export, "user='7'", "k=3", "week=2026-W29")
    later = run(export, "user='7'", "k=3", "week=2026-W30")
    assert not {*again.rows.tolist()} & {*later.rows.tolist()}
    answer = api.playlist(user=7, k=3, week="2026-W30", export=export.folder)
    assert [int(item["content_id"]) for item in answer["items"]] == later.rows.tolist()
    elsewhere = api.playlist(user=7, k=3, week="2026-W30", lists="nowhere", export=export.folder)
    assert [int(item["content_id"]) for item in elsewhere["items"]] == again.rows.tolist()


def test_a_blend_says_whose_each_place_is(export: Export, capsys: pytest.CaptureFixture[str]) -> None:
    run(export, "playlist=blend", "users=['7','1e5']", "k=4")
    said = " ".join(capsys.readouterr().out.split())
    assert "taste match" in said
    assert said.count("%") >= 8
    answer = api.playlist("blend", users=[7, "1e5"], k=4, export=export.folder)
    assert answer["facts"]["members"] == ["1e5", "7"]
    assert all(sum(item["shares"].values()) == pytest.approx(1) for item in answer["items"])
    assert all(any(item["reasons"].values()) for item in answer["items"])


def test_a_proposal_is_a_pool_that_loads_again(export: Export) -> None:
    run(export, "playlist=pool_proposal", "contents=['3','4','5']", "k=10", "output=pool.yaml")
    found = run(export, "playlist=algotorial", "pool=pool.yaml", "user='7'")
    assert len(found) == 10
    assert api.playlist("algotorial", user="7", pool=Path("pool.yaml"), export=export.folder)["remark"] == found.remark


def test_a_title_and_settings_of_ones_own(export: Export) -> None:
    found = run(export, "playlist=radio", "content=Title 3", "k=4", "playlist.drift=0.5")
    opened = api.open(export.folder)
    answer = opened.playlist(Radio(drift=0.5), content="Title 3", k=4)
    assert [int(item["content_id"]) for item in answer["items"]] == found.rows.tolist()
    with pytest.raises(UserError, match="playlist=radios: no such kind of list; did you mean radio"):
        opened.playlist("radios", content="3")


def test_a_journey_between_two_pieces_says_how_long_its_steps_are(
    export: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(export, "playlist=journey", "from='3'", "to='Title 8'", "k=5")
    assert "of what random pieces are apart" in " ".join(capsys.readouterr().out.split())
    assert [export.content_ids[row] for row in found.rows[[0, -1]].tolist()] == ["3", "8"]
    for asked in ({"contents": [3, 8]}, {"content": 3, "to": 8}):
        answer = api.playlist("journey", k=5, export=export.folder, **asked)
        assert [int(item["content_id"]) for item in answer["items"]] == found.rows.tolist()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["user=nobody"], "user=nobody: no such listener"),
        ([], "user: this kind of list is for one listener, and 0 are given"),
        (["playlist=blend", "user=7"], "blend: takes at least two different members, and has 1"),
        (["playlist=path", "contents=['1']"], "contents: give the two pieces"),
        (["playlist=journey"], "contents: give the piece that the journey begins at, or user="),
        (["playlist=journey", "from=x", "to='3'"], "contents: 'x': no content with this id"),
        (["playlist=journey", "from='1'", "to=x"], "to: 'x': no content with this id or title, and no such region"),
        (["playlist=journey", "user=7"], "this export has no named regions"),
        (["playlist=radio", "content=x"], "contents: 'x': no content with this id"),
        (["playlist=algotorial", "user=7"], "pool: give an editor's pool"),
        (["playlist=algotorial", "user=7", "pool=none.yaml"], "none.yaml: no such file"),
        (["user=7", "familiar=0.5"], "familiar: Discover Weekly holds nothing that its listener knows"),
        (["user=7", "k=0"], "k=0: must be at least 1"),
        (["user=7", "k=few"], "k='few': must be int"),
        (["user=7", "playlist.k=0"], "k=0"),
        (["user=all"], "week=: must be an ISO week such as 2026-W29; this export has no clock"),
        (["user=all", "week=2026-W29", "history=['1']"], "history: user=all makes a list for each listener alone"),
        (["user=all", "week=2026-W29", "content=3"], "content: user=all makes a list for each listener alone"),
        (["playlist=radios"], "playlist=radios: no such choice"),
    ],
)
def test_mistakes_in_a_line(
    export: Export, capsys: pytest.CaptureFixture[str], overrides: list[str], said: str
) -> None:
    assert cli.main(["playlists", f"export={export.folder}", "output=out.parquet", *overrides]) == ExitCode.CALLER
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not [*Path().iterdir()]
