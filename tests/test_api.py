"""An export in Python: opened once for many questions, or by its folder, which is not read again for each."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.retrieval.small_export import content, small_export
from towers import api
from towers.errors import UserError
from towers.manifest import point_to
from towers.retrieval.export import Export

GOLDEN = Path(__file__).parent / "golden" / "format-2" / "export"
VECTORS = np.eye(4, dtype=np.float32)


def numbered(folder: Path, name: str) -> Export:
    contents = [content(str(row), title=f"{name} {row}") for row in range(len(VECTORS))]
    return small_export(folder / name, contents, VECTORS, {"7": [0], "8": [1, 2]})


def titles(found: list[dict]) -> list[str]:
    return [one["title"] for one in found]


def test_integers_of_python_and_of_numpy_are_ids(tmp_path: Path) -> None:
    opened = api.open(numbered(tmp_path, "A").folder)
    for user in (7, np.int64(7), np.uint8(7), "7"):
        assert titles(opened.recommend(user=user, deny=[1, np.int32(2)])) == ["A 3"]
    assert titles(opened.similar(np.int16(2), k=1)) == titles(opened.similar(2, k=1))
    assert titles(opened.recommend(user=7, among=[3, "A 1"], k=1)) == ["A 1"]
    for ask in (lambda: opened.recommend(user=True), lambda: opened.similar(False)):
        with pytest.raises(UserError, match=r"an id must be text or an integer, and (True|False) is bool"):
            ask()


def test_whom_it_is_for(tmp_path: Path) -> None:
    opened = api.open(numbered(tmp_path, "A").folder)
    for whom in ({}, {"user": 7, "history": [1]}):
        for ask in (opened.recommend, opened.withheld):
            with pytest.raises(UserError, match="give either user, or history"):
                ask(**whom)
    with pytest.raises(UserError, match="give ids alone, or events alone"):
        opened.recommend(history=[1, {"content_id": "2"}])
    assert opened.withheld(user=8) == ["1", "2"]
    assert opened.withheld(user=8, include_heard=True) == []


@pytest.mark.parametrize(
    ("question", "line"),
    [
        ({"history": "1"}, "history: must be a list, such as ['1']"),
        ({"among": "1"}, "among: must be a list, such as ['1']"),
        ({"history": [{"content": "1"}]}, "history.content: no such column of events/; did you mean content_id?"),
        ({"history": [{"content_id": "1", "played": 3}]}, "history.played: no such column of events/; did you mean pl"),
    ],
)
def test_what_would_be_passed_over_is_refused(question: dict[str, Any], line: str) -> None:
    """A text is a sequence of letters, and an event without a content is allowed, so that both need a check of their
    own.
    """
    opened = api.open(GOLDEN, check=False)
    with pytest.raises(UserError, match=f"^{re.escape(line)}"):
        opened.recommend(**question)
    heard = opened.export.content_ids[0]
    assert opened.withheld(history=[{"content_id": heard, "user_id": "7", "mine": 1}]) == [heard]


def test_vectors_of_histories_and_contents() -> None:
    opened = api.open(GOLDEN, check=False)
    ids = opened.export.content_ids[5:8]
    plain = opened.embed(ids)
    np.testing.assert_allclose(plain, api.embed(ids, export=GOLDEN), atol=1e-6)
    np.testing.assert_allclose(plain, opened.embed([{"content_id": content_id} for content_id in ids]), atol=1e-6)
    assert not np.allclose(plain, opened.embed([{"content_id": one, "action": "skip"} for one in ids]), atol=1e-3)
    with pytest.warns(UserWarning, match=r"ignored: history: 2 of 3 contents$"):
        some = opened.embed([{"content_id": "gone"}, {"content_id": ids[0]}, {"content_id": 7}, {"action": "search"}])
    assert not np.allclose(some, opened.embed(ids[:1]), atol=1e-3)
    found = opened.embed_content(metadata={"genres": ["folk"]})
    np.testing.assert_allclose(found, api.embed_content(metadata={"genres": ["folk"]}, export=GOLDEN), atol=1e-6)


def test_a_folder_is_read_once_and_again_when_it_is_another(tmp_path: Path) -> None:
    first, second = numbered(tmp_path, "A"), numbered(tmp_path, "B")
    current = tmp_path / "current"
    point_to(current, first.folder)
    asked = [titles(api.recommend(user=7, k=1, export=current)) for _ in range(2)]
    opened = api.open(current)
    # What was read is kept: only an export that is opened anew finds that a file is gone.
    (first.folder / "contents.parquet").unlink()
    assert [*asked, titles(api.recommend(user=7, k=1, export=str(current)))] == [["A 1"]] * 3
    assert titles(api.similar(0, k=1, export=current)) == ["A 1"]
    point_to(current, second.folder)
    assert titles(api.recommend(user=7, k=1, export=current)) == ["B 1"]
    assert opened.export.folder == first.folder
    with pytest.raises(UserError, match="no export here"):
        api.recommend(user=7, export=tmp_path / "nowhere")


def test_a_version_that_is_made_anew_in_its_place_is_read_anew(tmp_path: Path) -> None:
    folder = numbered(tmp_path, "A").folder
    assert titles(api.recommend(user=7, k=1, export=folder)) == ["A 1"]
    folder.rename(tmp_path / "gone")
    numbered(tmp_path, "B").folder.rename(folder)
    assert titles(api.recommend(user=7, k=1, export=folder)) == ["B 1"]
