"""`towers recommend` and `towers similar`, and the same in Python, on an export of five contents."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.retrieval.small_export import SPACE, content, small_export
from towers import api
from towers.commands import recommend, similar
from towers.config.composing import compose
from towers.errors import UserError
from towers.retrieval.export import Export
from towers.retrieval.mixing import listeners_against
from towers.retrieval.query import Query

ANGLES = np.deg2rad([0, 10, 20, 30, 40])
VECTORS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)
CONTENTS = [content(str(row), title=f"Title {row}") for row in range(4)] + [content("4", "episode", "Hello (Remix)")]
CHOSEN = {"7": [0], "8": [4, 1], "9": [], "all but": [0, 1, 2, 3, 4]}


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return small_export(tmp_path / "export", CONTENTS, VECTORS, CHOSEN)


def run(command, export: Export, *overrides: str):
    return command.run(compose(command.__name__.rpartition(".")[2], [f"export='{export.folder}'", *overrides]))


@pytest.mark.parametrize("block", [1, 3, 100])
def test_everybody_by_blocks_is_each_by_themselves(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(recommend, "BLOCK", block)
    path = tmp_path / "all.parquet"
    run(recommend, export, "user=all", "k=3", f"output='{path}'")
    expected = [
        (user, rank, export.content_ids[row], pytest.approx(score), None)
        for at, user in enumerate(CHOSEN)
        for found in [listeners_against(export, export).recommend(at, Query(k=3))]
        for rank, (row, score) in enumerate(zip(found.rows.tolist(), found.scores.tolist(), strict=True), start=1)
    ]
    table = pq.read_table(path)
    assert [tuple(row.values()) for row in table.to_pylist()] == expected
    assert table.schema.metadata[b"space_id"] == SPACE.encode()
    assert (pq.ParquetFile(path).num_row_groups > 1) == (block < len(CHOSEN))
    assert "all but" not in table["user_id"].to_pylist()


def test_nothing_left_is_said_in_a_line(export: Export, capsys: pytest.CaptureFixture[str]) -> None:
    run(recommend, export, "user='all but'")
    assert capsys.readouterr().out.splitlines()[-1].startswith("Recommended to listener all but: nothing")
    run(similar, export, "content=4")
    assert "Similar to Hello (Remix)" in (said := capsys.readouterr().out)
    assert "nothing; no content" in " ".join(said.split())


def test_an_unknown_title_of_a_list_may_be_half_of_one(export: Export) -> None:
    with pytest.raises(UserError, match=r"among: 'A'.*quotes"):
        run(recommend, export, "user='7'", "among=[A,B]")
    with pytest.raises(UserError) as alone:
        run(recommend, export, "user='7'", "among=[A]")
    assert "quotes" not in str(alone.value)


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one(export: Export, tmp_path: Path, k: int) -> None:
    said = f"k={k}: must be at least 1"
    for call in (
        lambda: run(recommend, export, "user='7'", f"k={k}"),
        lambda: run(recommend, export, "user=all", f"k={k}", f"output='{tmp_path}/all.parquet'"),
        lambda: run(similar, export, "content='1'", f"k={k}"),
        lambda: api.recommend(user="7", k=k, export=export.folder),
        lambda: api.similar("1", k=k, export=export.folder),
    ):
        with pytest.raises(UserError, match=said):
            call()
    assert not list(tmp_path.glob("*.parquet"))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("skip_cooldown_days=-1", "skip_cooldown_days=-1.0: must be 0 or more days"),
        ("skip_cooldown_days=soon", "skip_cooldown_days='soon': must be float"),
        ("released_by=2026-02-30", "released_by=2026-02-30: must be a date"),
        ("kind=null", "kind: give at least one"),
        ("deny=[x]", "deny: 'x': no content with this id"),
    ],
)
def test_mistakes(export: Export, tmp_path: Path, override: str, said: str) -> None:
    for user in ("user='7'", "user=all"):
        with pytest.raises(UserError) as refused:
            run(recommend, export, user, override, f"output='{tmp_path}/all.parquet'")
        assert str(refused.value).startswith(said)
    assert not list(tmp_path.glob("*.parquet"))


def test_ids_as_integers(export: Export) -> None:
    assert api.recommend(user=7, k=2, export=export.folder) == api.recommend(user="7", k=2, export=export.folder)
    assert [found["content_id"] for found in api.similar(0, k=2, export=export.folder)] == ["1", "2"]
