"""Similar contents pass the same filters on the command line, in Python and over HTTP."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.retrieval.small_export import content, small_export
from tests.service.conftest import app_of
from towers import api
from towers.commands import similar
from towers.config.composing import compose
from towers.errors import UserError
from towers.retrieval.export import Export

ANGLES = np.deg2rad([0, 10, 20, 30, 40, 50])
VECTORS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)
CONTENTS = [
    content("0"),
    content("1", explicit=True),
    content("2", release_date=date(2026, 5, 4)),
    content("3", "episode"),
    content("4", release_date=date(2026, 8, 1), explicit=False),
    content("5", "episode", explicit=True),
]


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return small_export(tmp_path / "export", CONTENTS, VECTORS, {"somebody": [0]})


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["1", "2", "4"]),  # of its own kind; an export without a clock knows of no release to come
        ({"explicit": False}, ["2", "4"]),
        ({"released_by": "2026-05-04"}, ["1", "2"]),
        ({"released_by": "2026-05-03", "explicit": False}, []),
        ({"kind": ["episode", "track"], "k": 3}, ["1", "2", "3"]),
        ({"kind": ["episode"], "explicit": False}, ["3"]),
    ],
)
def test_filters(export: Export, asked: dict, expected: list[str]) -> None:
    assert [one["content_id"] for one in api.open(export.folder).similar(0, **asked)] == expected
    lists = {"kind": f"[{','.join(asked['kind'])}]"} if "kind" in asked else {}
    overrides = [f"{name}={value}" for name, value in (asked | lists).items()]
    found = similar.run(compose("similar", [f"export='{export.folder}'", "content='0'", *overrides]))
    assert [export.content_ids[row] for row in found.rows] == expected
    with TestClient(app_of(export.folder)) as client:
        answer = client.get("/similar", params={"content": "0", **asked}).json()
    assert [item["content"]["content_id"] for item in answer["items"]] == expected


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("released_by=soon", "released_by=soon: must be a date such as 2026-07-29"),
        ("released_by=5", "released_by=5: must be"),
        ("kind=[]", "kind: give at least one; there are track"),
        ("kind=song", "kind=song: no such kind"),
    ],
)
def test_mistakes(export: Export, override: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        similar.run(compose("similar", [f"export='{export.folder}'", "content='0'", override]))
    assert str(refused.value).startswith(said)
