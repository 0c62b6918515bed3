"""The first hour on one's own data: the README's commands with their defaults, on a folder as a warehouse gives it.

The part that exports is slow: the graphs of a network of the default size are traced for it alone.
"""

import json
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.command_line import ok
from tests.end_to_end.warehouse import write_warehouse

pytestmark = [pytest.mark.unhooked, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which prepare, train and evaluate ran with nothing but the place of the data."""
    folder = tmp_path_factory.mktemp("first-hour")
    write_warehouse(folder / "data", num_listeners=150, num_contents=100, num_sounds=8)
    told = {
        "prepare": ok(folder, "prepare", "data.root=data"),
        "train": ok(folder, "train", "logger=csv"),
        # Without the grids of the baselines, which take a minute and decide nothing.
        "evaluate": ok(folder, "evaluate", "evaluation.tuning.max_trials=0"),
    }
    (folder / "told.json").write_text(json.dumps(told))
    return folder


def test_defaults_alone_beat_popularity_and_chance(folder: Path) -> None:
    (path,) = folder.glob("runs/default/*/evaluation-test/metrics.json")
    means = {name: figures["means"] for name, figures in json.loads(path.read_text())["rankers"].items()}
    for key in ("recall@20", "recall@20/discovery"):
        assert means["towers"][key] > means["popularity"][key] + 0.02, key
        assert means["towers"][key] > 2 * means["random"][key], key


@pytest.mark.slow
def test_a_list_is_to_the_listeners_taste(folder: Path) -> None:
    """Listeners who mostly hear one genre are given twice as much of it as the catalogue holds, all of it new to
    them.
    """
    # Without the variants of the tower, which take half a minute.
    assert "current points to it" in ok(folder, "export", "export.variants=[]")
    ok(folder, "recommend", "user=all", "output=all.parquet", "k=10")
    genre_of = {row["content_id"]: row["genres"][0] for row in pq.read_table(folder / "data/contents").to_pylist()}
    events = pq.read_table(folder / "data/events").filter(pc.field("action") == "play").to_pylist()
    heard: dict[str, list[str]] = {}
    for event in events:
        heard.setdefault(event["user_id"], []).append(genre_of[event["content_id"]])
    favourite = {user: max(set(genres), key=genres.count) for user, genres in heard.items()}
    clear = {user for user, genres in heard.items() if genres.count(favourite[user]) > 0.6 * len(genres)}
    found = [row for row in pq.read_table(folder / "all.parquet").to_pylist() if row["user_id"] in clear]
    assert len(clear) > 20
    fitting = sum(favourite[row["user_id"]] == genre_of[row["content_id"]] for row in found)
    in_catalogue = sum(favourite[user] == genre for user in clear for genre in genre_of.values())
    assert fitting / len(found) > 2 * in_catalogue / (len(clear) * len(genre_of))


def test_it_says_what_it_did(folder: Path) -> None:
    told = json.loads((folder / "told.json").read_text())
    for command in ("prepare", "train"):
        assert "4.5 days" in told[command]
        assert "positives of" in told[command]
        assert "under half" not in told[command]
    assert "follow datamodule.max_tokens=1024, trainer.max_epochs=30" in told["train"]
