"""Thirty nights in a row: the disk does not fill up, and readers are told whenever their vectors are of another space.

A few nights in a row are in tests/end_to_end/test_retrain.py.
"""

from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.graphs import traced_once
from benchmarks.nightly.killed_nights import SMALL
from tests.command_line import ok
from tests.conftest import TINY_WORLD
from towers.disk import size_of
from towers.lifecycle.replay import Replay
from towers.manifest import read_json
from towers.retrieval.verify import problems
from towers.simulation.world import World

pytestmark = [pytest.mark.unhooked, pytest.mark.slow]
NIGHTS, SETTLED = 30, 6
WRITTEN = ("stores", "runs", "exports", "nights", "evaluations")


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Results of each night: the manifest of the served version, the output, sizes and numbers of folders."""
    folder = tmp_path_factory.mktemp("thirty")
    (folder / "graphs").mkdir()
    World(**TINY_WORLD | {"num_listeners": 60}).write(folder / "world")
    replay, found = Replay(folder / "world", folder / "replay", NIGHTS), []
    for number in range(NIGHTS + 1):
        replay.advance(number)
        with traced_once(folder / "graphs"):
            told = ok(folder, "retrain", *SMALL, f"data.root={replay.raw}")
        found.append(left(folder, told))
    return found


def left(folder: Path, told: str) -> dict:
    from towers.retrieval.export import Export

    current = (folder / "exports" / "current").resolve()
    assert not list(problems(Export(current), 0.0))
    records = [read_json(path) for path in (folder / "nights" / "tiny").glob("[!.]*.json")]
    return {
        "told": told,
        "manifest": read_json(current / "manifest.json"),
        "card": (current / "README.md").read_text(),
        "record": next(record for record in records if record["version"] == current.name),
        "bytes": {name: size_of(folder / name) for name in WRITTEN},
        "versions": [path.name for path in (folder / "exports").iterdir() if not path.is_symlink()],
        "runs": len(list((folder / "runs").glob("*/*/config.yaml"))),
        "stores": len([path for path in (folder / "stores" / "tiny").iterdir() if (path / "manifest.json").exists()]),
        "unfinished": [str(path) for path in folder.rglob("*.partial")],
    }


def test_every_night_publishes(nights):
    versions = [night["manifest"]["version"] for night in nights]
    assert len(set(versions)) == NIGHTS + 1
    assert all(night["unfinished"] == [] for night in nights)


def test_the_disk_does_not_fill_up(nights):
    """Three versions are kept, with the runs and stores that they need; the total grows no more than the data does."""
    for before, night in pairwise(nights[SETTLED:]):
        assert len(night["versions"]) == 3
        assert before["manifest"]["version"] in night["versions"]
        assert (night["runs"], night["stores"]) == (before["runs"], before["stores"])
    for name in WRITTEN:
        assert nights[-1]["bytes"][name] <= 2.0 * nights[SETTLED]["bytes"][name] + 100_000, name


def test_a_space_stays_or_everybody_is_told(nights):
    kept = 0
    for before, night in pairwise(nights):
        old, new = before["manifest"]["space_id"], night["manifest"]["space_id"]
        kept += old == new
        is_told = old != new
        assert ("earlier vectors do not fit" in night["told"]) == is_told
        assert (night["record"]["space_told"] is not None) == is_told
        assert night["record"]["space_id"] == new
        assert ("do not fit" in night["card"]) == is_told
        assert night["manifest"]["space"]["earlier"]["version"] == before["manifest"]["version"]
    assert kept > NIGHTS // 2
