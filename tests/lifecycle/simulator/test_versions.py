import json
from dataclasses import asdict, replace

import pytest

from towers.errors import UserError
from towers.lifecycle.simulator.versions import ABOUT, FORMAT, Origin, name_of, open_version

ORIGIN = Origin(
    export="20260629-001", space_id="space", trained_until_us=100, as_of_us=100, held_out_in_export=0, store="store",
    root=None, until_us=100, share=0.3, seed=0, listeners=10, plays=200, sessions=20, left_out={"others": 1},
)  # fmt: skip


def write(folder, change):
    folder.mkdir()
    (folder / ABOUT).write_text(json.dumps({"format": FORMAT, **asdict(ORIGIN)} | change))


def test_the_current_version_is_opened(tmp_path):
    write(tmp_path / "abc", {})
    (tmp_path / "current").symlink_to("abc")
    for folder in (tmp_path, tmp_path / "abc"):
        version = open_version(folder)
        assert version.folder == (tmp_path / "abc").resolve()
        assert version.origin == ORIGIN


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "fit.json: has another format than 1; fit the simulator again"),
        ({"until": 3}, "fit.json: changed since it was written; fit the simulator again"),
    ],
)
def test_a_version_that_cannot_be_read(tmp_path, change, said):
    write(tmp_path / "abc", change)
    with pytest.raises(UserError, match=said):
        open_version(tmp_path / "abc")


def test_no_version(tmp_path):
    with pytest.raises(UserError, match="no simulator here; fit one with `towers simulate action=fit`"):
        open_version(tmp_path)


@pytest.mark.parametrize(
    ("trained_until_us", "as_of_us", "has_seen"),
    [(100, 100, False), (99, 98, False), (101, 100, True), (100, 101, True), (None, 100, True), (100, None, True)],
)
def test_an_export_has_seen_the_period_unless_it_says_otherwise(trained_until_us, as_of_us, has_seen):
    assert replace(ORIGIN, trained_until_us=trained_until_us, as_of_us=as_of_us).has_seen_period == has_seen


def test_a_version_is_called_by_all_that_decides_it():
    assert name_of({"fit": 1, "store": "a"}) == name_of({"store": "a", "fit": 1})
    assert len({name_of({"fit": 1}), name_of({"fit": 2}), name_of({"fit": 1, "store": "a"})}) == 3
