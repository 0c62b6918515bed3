"""Lists for all listeners: the same as one by one, with any earlier files, and no repeats within eight weeks."""

import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from tests.retrieval.small_export import content, small_export
from towers.errors import UserError
from towers.policies.asking import request_of
from towers.policies.batch import Batch, worker_of, write_lists
from towers.policies.kinds import Algotorial, Blend
from towers.policies.playlists.discover_weekly import DiscoverWeekly
from towers.policies.playlists.mix import Mix
from towers.policies.request import Shared
from towers.policies.shown import Shown, part_of, shown_to
from towers.policies.told import table_of
from towers.policies.weeks import weeks_before
from towers.retrieval.export import Export

NUM, USERS, K = 90, 9, 4
WEEKS = [*reversed(weeks_before("2027-W03", 10))]  # over the end of a year of 53 weeks
KIND = DiscoverWeekly(k=K, new_artists=0)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    contents = [content(f"t{at}", artist_ids=[f"a{at % 30}"]) for at in range(NUM)]
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(NUM, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    chosen = {f"u{at}": draw.integers(0, 10, 5).tolist() for at in range(USERS - 1)} | {"cold": []}
    return small_export(tmp_path_factory.mktemp("batch") / "export", contents, vectors, chosen)


@pytest.fixture
def batch(export: Export, tmp_path: Path) -> Batch:
    return Batch(export=export.folder, kind=KIND, week=WEEKS[0], folder=tmp_path, lists=tmp_path, parts=3)


def lists_of(batch: Batch) -> dict[str, list[dict]]:
    """Returns each listener's rows of the week's lists; a listener without any has no key."""
    found: dict[str, list[dict]] = {}
    for part in range(batch.parts):
        for row in pq.read_table(batch.path(part)).to_pylist():
            assert part_of(row["user_id"], batch.parts) == part
            found.setdefault(row["user_id"], []).append(row)
    return found


def alone(batch: Batch, export: Export, user_id: str) -> list[dict]:
    shown = shown_to(batch.kind, [user_id], batch.lists, batch.week)
    request = request_of(Shared(export), users=[user_id], shown=shown, pool=batch.pool, asked=batch.asked)
    return table_of(export, [batch.kind.make(request)], [user_id]).to_pylist()


def files(batch: Batch) -> dict[str, int]:
    """Returns the times at which each file of the week was written."""
    return {path.name: path.stat().st_mtime_ns for path in batch.of_week.iterdir()}


def test_nothing_comes_again_within_eight_weeks(batch: Batch, export: Export) -> None:
    weekly = []
    for at, week in enumerate(WEEKS):
        one = replace(batch, week=week, parts=2 if at < 5 else 1)  # of how many parts earlier lists are does not matter
        write_lists(one, export)
        weekly.append({user_id: {row["content_id"] for row in rows} for user_id, rows in lists_of(one).items()})
        if at % 4 == 1:
            assert all(lists_of(one)[user_id] == alone(one, export, user_id) for user_id in ("u0", "u7", "cold"))
    assert [len(lists) for lists in weekly] == [USERS] * 10
    for at, lists in enumerate(weekly):
        for earlier in weekly[max(0, at - 8) : at]:
            assert all(len(lists[user_id]) == K and not lists[user_id] & earlier[user_id] for user_id in lists)
    assert any(weekly[9][user_id] & weekly[0][user_id] for user_id in export.user_ids)  # nine weeks later it may


def test_what_is_there_is_left_alone(batch: Batch, export: Export) -> None:
    first = write_lists(batch, export)
    assert (first.made, first.kept, first.lists) == (3, 0, USERS)
    before, lists = files(batch), lists_of(batch)
    lost = batch.path(1)
    lost.unlink()
    (batch.of_week / f".{lost.name}.4000000.partial").write_bytes(b"PAR1")  # of a process that was killed
    again = write_lists(batch, export)
    assert (again.made, again.kept) == (1, 2)
    after = files(batch)
    assert after.keys() == before.keys()
    assert [name for name in before if after[name] != before[name]] == [lost.name]
    assert lists_of(batch) == lists


@pytest.mark.parametrize(
    "other",
    [{"kind": DiscoverWeekly(k=K, new_artists=0, max_per_artist=1)}, {"asked": {"deny": np.array([50])}}, {"parts": 2}],
)
def test_lists_that_were_made_otherwise_are_made_anew(batch: Batch, export: Export, other: dict) -> None:
    write_lists(batch, export)
    changed = replace(batch, **other)
    assert write_lists(changed, export).kept == 0
    assert len(files(changed)) == changed.parts
    assert {*lists_of(changed)} == {*export.user_ids}


def test_other_lists_before_make_other_lists(batch: Batch, export: Export) -> None:
    later = replace(batch, week=WEEKS[1])
    write_lists(later, export)
    write_lists(batch, export)
    assert write_lists(later, export).made == 3
    assert not {row["content_id"] for row in lists_of(later)["u0"]} & {
        row["content_id"] for row in lists_of(batch)["u0"]
    }


def test_another_process_makes_the_same(batch: Batch, export: Export, tmp_path: Path) -> None:
    told = []
    write_lists(batch, export, 1, lambda *said: told.append(said[:3]))
    assert told[-1] == ("lists", USERS, USERS)
    other = replace(batch, folder=tmp_path / "other")
    write = pickle.loads(pickle.dumps(partial(worker_of, other)))()
    for part in range(other.parts):
        write(part, lambda more: None)
        assert other.path(part).read_bytes() == batch.path(part).read_bytes()


def test_a_pool_with_a_floor_gets_its_weights_first(batch: Batch, export: Export, tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text(yaml.safe_dump({"contents": [f"t{at}" for at in range(20, 28)], "k": 3, "floor": 0.5}))
    one = replace(batch, kind=Algotorial(), pool=str(path))
    write_lists(one, export)
    lists = lists_of(one)
    assert all(lists[user_id] == alone(one, export, user_id) for user_id in ("u0", "cold"))
    weights = path.with_suffix(".weights.json")
    written = weights.stat().st_mtime_ns
    assert write_lists(one, export).kept == 3
    assert weights.stat().st_mtime_ns == written
    path.write_text(path.read_text().replace("k: 3", "k: 4"))
    assert write_lists(one, export).made == 3
    assert weights.stat().st_mtime_ns != written


def test_a_mix_minds_no_earlier_lists(batch: Batch, export: Export) -> None:
    one = replace(batch, kind=Mix(k=3))
    assert one.shown.weeks == 0
    write_lists(one, export)
    assert lists_of(one)["u0"] == alone(one, export, "u0")


@pytest.mark.parametrize(
    ("other", "workers", "said"),
    [
        ({"kind": Blend()}, 1, "at least two different members"),
        ({"pool": "none.yaml"}, 1, "none.yaml: no such file"),
        ({}, 0, "workers=0"),
    ],
)
def test_mistakes_leave_nothing(batch: Batch, export: Export, other: dict, workers: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        write_lists(replace(batch, **other), export, workers)
    assert not list(batch.folder.rglob("*.*"))


@pytest.mark.parametrize("other", [{"parts": 0}, {"week": "2026-29"}, {"week": "2026-W60"}, {"week": ""}])
def test_no_batch(batch: Batch, other: dict) -> None:
    with pytest.raises(UserError, match=r"parts=0|week="):
        replace(batch, **other)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "discover_weekly" / "2026-W30"
    folder.mkdir(parents=True)
    (folder / "part-00000-of-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"part-00000-of-00001.parquet: cannot be read .* remove it"):
        Shown(tmp_path, "discover_weekly", "2026-W31").of("u0")
