"""Promotion without `promote=true`: no version below popularity, none that was not evaluated, and none that is
older.
"""

import json
import shutil
from pathlib import Path

import pytest

from tests.command_line import EXPORT, ok, refused, run_of
from towers.evaluation.acceptance import LISTEN_CHANCE

pytestmark = pytest.mark.unhooked

QUICK = (*EXPORT[:-1], "export.num_threads=1", "export.align_to=null")
KEYS = ("recall@20", "recall@20/discovery")


@pytest.fixture
def folder(demo: tuple[Path, str], tmp_path: Path) -> Path:
    """A run of its own beside the demo's store, whose evaluation may be changed."""
    for name in ("stores", "worlds"):
        (tmp_path / name).symlink_to(demo[0] / name)
    shutil.copytree(demo[0] / run_of(demo[0]), tmp_path / "run")
    return tmp_path


def judge(folder: Path, own: float, popularity: float) -> None:
    """Gives the run these figures on all targets and on discovery."""
    path = folder / "run" / "evaluation-test" / "metrics.json"
    metrics = json.loads(path.read_text())
    for ranker, figure in (("towers", own), (LISTEN_CHANCE, own), ("popularity", popularity)):
        metrics["rankers"][ranker]["means"] |= dict.fromkeys(KEYS, figure)
    path.write_text(json.dumps(metrics))


def exported(folder: Path, *arguments: str) -> str:
    return ok(folder, "export", "experiment=demo", "checkpoint=run", *QUICK, *arguments)


def current(folder: Path) -> str | None:
    link = folder / "exports" / "current"
    return link.resolve().name if link.exists() else None


def test_what_becomes_current(folder: Path) -> None:
    """The cases on the command line; tests/assembly/test_export.py has the others, as every version takes seconds to
    write.
    """
    judge(folder, 0.082, 0.261)
    told = exported(folder)
    assert "nothing is current, for the model is below popularity: recall@20 0.082 against 0.261" in told
    assert told.rstrip().endswith("to publish it: the same command with checkpoint=run promote=true")
    assert current(folder) is None
    assert "current points to it" in exported(folder, "promote=true")
    assert current(folder) is not None


def test_only_three_words_are_known(folder: Path) -> None:
    assert "promote=yes_please" in refused(folder, "export", "experiment=demo", "checkpoint=run", "promote=yes_please")
