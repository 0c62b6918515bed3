"""Which version becomes current: nothing worse than popularity, nothing unjudged and nothing older, unless asked for."""

import json
import shutil
from pathlib import Path

import pytest

from tests.command_line import EXPORT, ok, refused, run_of

pytestmark = pytest.mark.unhooked

QUICK = (*EXPORT[:-1], "export.num_threads=1", "export.align_to=null")
KEYS = ("recall@20", "recall@20/discovery")


@pytest.fixture
def folder(demo: tuple[Path, str], tmp_path: Path) -> Path:
    """A run of its own beside the demo's store, whose evaluation may be altered."""
    for name in ("stores", "worlds"):
        (tmp_path / name).symlink_to(demo[0] / name)
    shutil.copytree(demo[0] / run_of(demo[0]), tmp_path / "run")
    return tmp_path


def judge(folder: Path, own: float, popularity: float) -> None:
    """Gives the run these figures on all targets and on discovery."""
    path = folder / "run" / "evaluation-test" / "metrics.json"
    metrics = json.loads(path.read_text())
    for ranker, figure in (("towers", own), ("popularity", popularity)):
        metrics["rankers"][ranker]["means"] |= dict.fromkeys(KEYS, figure)
    path.write_text(json.dumps(metrics))


def exported(folder: Path, *arguments: str) -> str:
    return ok(folder, "export", "experiment=demo", "checkpoint=run", *QUICK, *arguments)


def current(folder: Path) -> str | None:
    link = folder / "exports" / "current"
    return link.resolve().name if link.exists() else None


def test_a_model_below_popularity_is_written_and_not_served(folder: Path) -> None:
    judge(folder, 0.082, 0.261)
    told = exported(folder)
    assert "nothing is current, for the model is below popularity: recall@20 0.082 against 0.261" in told
    assert told.rstrip().endswith("to publish it: towers export checkpoint=run promote=true")
    assert current(folder) is None
    assert "current points to it" in exported(folder, "promote=true")
    assert current(folder) is not None


def test_a_good_model_becomes_current_and_one_that_was_not_evaluated_does_not(folder: Path) -> None:
    judge(folder, 0.4, 0.2)
    assert "current points to it" in exported(folder)
    first = current(folder)
    assert first is not None
    shutil.rmtree(folder / "run" / "evaluation-test")
    assert f"current stays at {first}, for run was not evaluated" in exported(folder)
    assert current(folder) == first
    assert "promote=false" in exported(folder, "promote=false")
    told = exported(folder, "promote=true")
    assert f"current moves from {first} to it" in told


def test_an_older_version_goes_back_only_when_asked_and_says_so(folder: Path) -> None:
    judge(folder, 0.4, 0.2)
    exported(folder)
    first = current(folder)
    exported(folder, "export.dim=16", "export.variants=[]")
    second = current(folder)
    assert second not in (first, None)
    assert f"it was exported before {second}, which serves now" in exported(folder)
    assert current(folder) == second
    told = exported(folder, "promote=true")
    assert f"current moves BACK from {second} to it" in told
    assert "from 16 to 64 dimensions" in told
    assert "to another space" in told
    assert current(folder) == first


def test_only_three_words_are_known(folder: Path) -> None:
    assert "promote=yes_please" in refused(folder, "export", "experiment=demo", "checkpoint=run", "promote=yes_please")
