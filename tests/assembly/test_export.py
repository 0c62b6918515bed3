"""The version that an export finds again among several, and those that may become current without `promote=true`."""

import json
import os
from pathlib import Path

import pytest

from towers.assembly.export import ExportPlan, export_plan
from towers.assembly.promotion import older_by
from towers.commands.export import moved
from towers.config.composing import compose
from towers.errors import UserError
from towers.lifecycle.record import Bar, Record
from towers.manifest import point_to, write_json

EARLIER, LATER = "2026-07-28T22:00:00+00:00", "2026-07-29T21:00:00.5+00:00"


def version(folder: Path, name: str, written_s: int, **facts: object) -> Path:
    """Makes a version with nothing but its manifest."""
    (folder / name).mkdir(parents=True)
    manifest = folder / name / "manifest.json"
    manifest.write_text(json.dumps(facts))
    os.utime(manifest, (written_s, written_s))
    return folder / name


def plan_in(folder: Path, *overrides: str) -> ExportPlan:
    return export_plan(compose("export", [f"paths.exports={folder}", f"paths.nights={folder / 'nights'}", *overrides]))


def evaluated(folder: Path, own: float, *, passed: bool = True) -> Path:
    """Makes a run that was evaluated; popularity has 0.25."""
    figures = {"towers": own, "popularity": 0.25}
    means = {name: {"means": {"recall@20": figure}} for name, figure in figures.items()}
    checks = [{"name": "what lists hold", "passed": passed, "detail": "1 place wrong", "figures": {}}]
    (folder / "evaluation-test").mkdir(parents=True)
    path = folder / "evaluation-test" / "metrics.json"
    path.write_text(json.dumps({"metadata": {"checks": checks}, "rankers": means}))
    return folder


def test_of_versions_of_one_network_the_one_that_was_written_last(tmp_path):
    for name, source, written_s in (("20260729-ff", "a", 1), ("20260729-11", "a", 2), ("20260729-aa", "b", 3)):
        version(tmp_path, name, written_s, source=source)
    (tmp_path / "current").symlink_to("20260729-ff")
    plan = plan_in(tmp_path)
    assert plan.version_with("a") == tmp_path / "20260729-11"
    assert plan.version_with("c") is None


@pytest.mark.parametrize(
    ("end", "written_s", "found"),
    [
        (EARLIER, 3, "its data ends before that of"),
        (LATER, 1, "it was exported before"),
        (LATER, 3, None),
        ("2026-07-30T00:00:00+00:00", 1, None),
        (None, 1, "it was exported before"),
    ],
)
def test_what_is_older(tmp_path, end, written_s, found):
    """The day of the data comes first: a run of last week may be exported today."""
    other = version(tmp_path, "other", 2, window={"start": EARLIER, "end": LATER})
    own = version(tmp_path, "own", written_s, window={} if end is None else {"start": EARLIER, "end": end})
    assert older_by(own, other) == found


def test_a_move_says_what_readers_have_to_know(tmp_path):
    older = version(tmp_path, "older", 1, space_id="a", dim=64)
    newer = version(tmp_path, "newer", 2, space_id="b", dim=16)
    told = "current moves from older to it, to another space (a -> b): earlier vectors do not fit, from 64 to 16"
    assert moved(older, newer) == f"{told} dimensions"
    assert moved(newer, older).startswith("current moves BACK from newer to it")
    same = version(tmp_path, "same", 3, space_id="b", dim=16)
    assert moved(newer, same) == "current moves from newer to it"
    assert moved(None, newer) == "current points to it"


class TestWithheld:
    def test_what_is_older_than_what_serves(self, tmp_path):
        point_to(tmp_path / "current", version(tmp_path, "served", 1, window={"end": LATER}))
        target = version(tmp_path, "target", 2, window={"end": EARLIER})
        run = evaluated(tmp_path / "run", 0.5)
        told = "its data ends before that of served, which serves now"
        assert plan_in(tmp_path).promotion.withheld(run, target) == told
        assert plan_in(tmp_path, "promote=true").promotion.withheld(run, target) is None

    @pytest.mark.parametrize("promote", ["auto", "false"])
    def test_what_serves_already_is_not(self, tmp_path, monkeypatch, promote):
        """Later evaluations of its run do not matter; the folder may be given relative to the working directory."""
        monkeypatch.chdir(tmp_path)
        target = version(Path("exports"), "served", 1)
        point_to(Path("exports/current"), target)
        plan = plan_in(Path("exports"), f"promote={promote}")
        assert plan.promotion.withheld(evaluated(Path("run"), 0.1), target) is None
        assert moved(plan.promotion.served(), target) == "current points to it"

    def test_figures_that_failed_their_own_checks(self, tmp_path):
        target = version(tmp_path, "target", 1)
        told = plan_in(tmp_path).promotion.withheld(evaluated(tmp_path / "run", 0.5, passed=False), target)
        assert told == "its evaluation fails its own checks (what lists hold: 1 place wrong)"

    def test_below_popularity(self, tmp_path):
        target = version(tmp_path, "target", 1)
        assert "is below popularity" in str(
            plan_in(tmp_path).promotion.withheld(evaluated(tmp_path / "worse", 0.125), target)
        )
        assert plan_in(tmp_path).promotion.withheld(evaluated(tmp_path / "better", 0.5), target) is None

    @pytest.mark.parametrize(("own", "data", "is_kept"), [(0.4, "a", True), (0.6, "a", False), (0.4, "b", False)])
    def test_below_what_serves_on_the_same_data(self, tmp_path, own, data, is_kept):
        """It is above popularity and worse than yesterday's; on other data the two cannot be compared."""
        facts = {"data_fingerprint": data, "metrics": {"towers": {"recall@20": own}}}
        target = version(tmp_path, "target", 2, **facts)
        better = {"data_fingerprint": "a", "metrics": {"towers": {"recall@20": 0.5}}}
        point_to(tmp_path / "current", version(tmp_path, "served", 1, **better))
        told = plan_in(tmp_path).promotion.withheld(evaluated(tmp_path / "run", own), target)
        kept = "it is below served, which serves now: recall@20 0.400 against 0.500"
        assert told == (kept if is_kept else None)

    def test_what_was_marked_bad_is_never_published(self, tmp_path):
        """The same network in another export is not published either, even if the caller forces it."""
        bar = Bar(when="2026-07-28T05:00:00+00:00", who="anna@box", why="too loud", weights="w")
        record = Record(night="night", version="bad", bar=bar)
        write_json(tmp_path / "nights" / "data" / "night.json", record.to_json())
        for name, facts in {"bad": {"version": "bad"}, "again": {"version": "again", "weights": "w"}}.items():
            target = version(tmp_path, name, 1, **facts)
            for promote in ("auto", "true"):
                message = (
                    rf"{name}: is not published, for bad.* was marked bad by anna@box .*\(too loud\); current stays"
                )
                with pytest.raises(UserError, match=message):
                    plan_in(tmp_path, f"promote={promote}").promotion.withheld(tmp_path / "run", target)

    def test_what_was_not_evaluated(self, tmp_path):
        target, run = version(tmp_path, "target", 1), tmp_path / "run"
        told = f"{run} was not evaluated (towers evaluate checkpoint={run})"
        assert plan_in(tmp_path).promotion.withheld(run, target) == told
        assert plan_in(tmp_path, "promote=false").promotion.withheld(run, target) == "promote=false"
