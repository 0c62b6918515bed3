"""The file for the node exporter, read by Prometheus' own parser."""

import os
import shutil
import stat
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.lifecycle.versions import night
from tests.lifecycle.watching.nights import ledger_of, refused, told, verdict
from tests.lifecycle.watching.states import state_in
from towers.errors import UserError
from towers.lifecycle.watching.prometheus_file import METRICS, PrometheusFile
from towers.lifecycle.watching.watcher import serving

SUCCESS = "towers_night_last_success_timestamp_seconds"
RULES = Path(__file__).resolve().parents[3] / "deploy" / "prometheus"


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "node_exporter"
    folder.mkdir()
    return folder / "towers.prom"


def read(path):
    """Returns all values by metric and labels, without `data`."""
    found = {}
    for family in text_string_to_metric_families(path.read_text()):
        assert family.type == "gauge"
        assert family.documentation.endswith(".")
        for sample in family.samples:
            assert sample.labels.pop("data") == "small"
            found[sample.name, *sample.labels.values()] = sample.value
    return found


def test_a_good_night(tmp_path, path):
    ledger = ledger_of(tmp_path)
    state = told(PrometheusFile(str(path)), ledger, tmp_path)
    found = read(path)
    assert {name for name, *_ in found} == set(METRICS)
    assert (
        found[SUCCESS,] == found["towers_night_last_end_timestamp_seconds",] == pytest.approx(state.ended.timestamp())
    )
    assert found["towers_night_last_start_timestamp_seconds",] == state.started.timestamp()
    assert found["towers_night_duration_seconds",] == pytest.approx(state.seconds)
    assert found["towers_night_running",] == 0
    endings = {labels[0]: value for (name, *labels), value in found.items() if name == "towers_night_ending"}
    assert endings == {"published": 1, "nothing": 0, "late": 0, "refused": 0, "failed": 0, "stopped": 0}
    steps = {labels[0] for name, *labels in found if name == "towers_night_step_duration_seconds"}
    assert steps == {"dry_run", "prepare", "evaluation"}
    assert found["towers_night_metric", "recall@20", "all"] == 0.25
    assert found["towers_night_metric", "recall@20", "discovery"] == 0.5
    assert (found["towers_gate_passed",], found["towers_gate_forced",]) == (1, 0)
    rules = {labels[0]: value for (name, *labels), value in found.items() if name == "towers_gate_rule_passed"}
    assert rules == {"honest": 1, "drift": 1}
    assert found["towers_store_rows", "events"] == 20
    assert found["towers_store_rejected_rows", "events"] == 2
    assert found["towers_store_duplicate_rows", "users"] == 1
    before = state.serving
    assert found["towers_serving_info", before.space_id, "v1"] == 1
    end = before.data_end.timestamp()
    assert found["towers_serving_data_end_timestamp_seconds",] == end
    assert found["towers_serving_age_seconds",] == pytest.approx(datetime.now(UTC).timestamp() - end, abs=60)
    assert found["towers_serving_since_timestamp_seconds",] == pytest.approx(before.since.timestamp())


def test_the_last_success_outlives_nights_that_do_not_go_well(tmp_path, path):
    ledger = ledger_of(tmp_path)
    good = told(PrometheusFile(str(path)), ledger, tmp_path)
    refused(PrometheusFile(str(path)), ledger, tmp_path, "main_metric")
    found = read(path)
    assert found[SUCCESS,] == pytest.approx(good.ended.timestamp())
    assert found["towers_night_last_end_timestamp_seconds",] > found[SUCCESS,]
    assert (found["towers_night_ending", "refused"], found["towers_night_ending", "published"]) == (1, 0)
    assert (found["towers_gate_passed",], found["towers_gate_rule_passed", "main_metric"]) == (0, 0)
    told(PrometheusFile(str(path)), ledger, tmp_path, steps=("dry_run",), raises=UserError("paths.runs: no space"))
    found = read(path)
    assert found[SUCCESS,] == pytest.approx(good.ended.timestamp())
    assert found["towers_night_ending", "failed"] == 1
    assert found["towers_gate_rule_passed", "main_metric"] == 0  # of the night before, which was judged last
    assert ("towers_night_step_duration_seconds", "evaluation") not in found
    told(PrometheusFile(str(path)), ledger, tmp_path, said=verdict("main_metric", forced={"why": "on purpose"}))
    found = read(path)
    assert (found["towers_gate_passed",], found["towers_gate_forced",]) == (1, 1)


def test_without_a_file_the_records_know(tmp_path, path):
    """After a restart the box has lost a file that lay in memory; an unreadable file counts as none."""
    ledger = ledger_of(tmp_path)
    night(ledger, 2, ended="2026-07-02T04:00:00+00:00")
    night(ledger, 3, published=False, ended=None)
    for text in (None, "towers_night_running{", "\xff"):
        if text is not None:
            path.write_text(text, encoding="latin-1")
        PrometheusFile(str(path)).begun(state_in(tmp_path, serving=serving(ledger)))
        found = read(path)
        assert found[SUCCESS,] == datetime(2026, 7, 2, 4, tzinfo=UTC).timestamp()
        assert found["towers_night_running",] == 1


def test_a_night_that_runs_says_so_step_by_step(tmp_path, path):
    seen = []

    def look(watch):
        seen.append(read(path))

    told(PrometheusFile(str(path)), ledger_of(tmp_path), tmp_path, after=look)
    (found,) = seen
    assert found["towers_night_running",] == 1
    assert {labels[0] for name, *labels in found if name == "towers_night_step_duration_seconds"} == {
        "dry_run",
        "prepare",
    }


def test_a_roll_back_changes_what_serves_alone(tmp_path, path):
    ledger = ledger_of(tmp_path)
    told(PrometheusFile(str(path)), ledger, tmp_path)
    before = read(path)
    night(ledger, 2)
    state = state_in(tmp_path, serving=serving(ledger))
    PrometheusFile(str(path)).put_back(state)
    after = read(path)
    assert after["towers_serving_info", state.serving.space_id, "v2"] == 1
    changed = {name for name, *_ in dict(after.items() ^ before.items())}
    assert changed <= {name for name in METRICS if name.startswith("towers_serving_")}
    PrometheusFile(str(path)).put_back(state_in(tmp_path))
    assert not [name for name, *_ in read(path) if name.startswith("towers_serving_")]


@pytest.mark.parametrize("mask", [0o077, 0o022])
def test_the_exporter_reads_a_whole_file_whatever_the_umask(tmp_path, path, monkeypatch, mask):
    """The file appears by one rename within its folder, with its mode; no other file ends in .prom."""
    seen, replace = [], os.replace

    def spied(source, target):
        seen.append((Path(source).parent, Path(source).suffix, stat.S_IMODE(Path(source).stat().st_mode)))
        return replace(source, target)

    before = os.umask(mask)
    try:
        monkeypatch.setattr(os, "replace", spied)
        PrometheusFile(str(path)).begun(state_in(tmp_path))
    finally:
        os.umask(before)
    assert seen == [(path.parent, ".partial", 0o644)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [each.name for each in path.parent.iterdir()] == ["towers.prom"]


def test_what_lacks_is_told_before_the_night(tmp_path, path):
    PrometheusFile(str(path)).check()
    assert not PrometheusFile(None).is_on
    with pytest.raises(UserError, match=r"^watchers\.prometheus\.path=.*/towers\.txt: the collector reads only files"):
        PrometheusFile(str(path.with_suffix(".txt"))).check()
    with pytest.raises(UserError, match=r"^watchers\.prometheus\.path=.*: no folder"):
        PrometheusFile(str(tmp_path / "none" / "towers.prom")).check()


def test_a_file_of_another_data_set_stays_as_it_is(tmp_path, path):
    """If two nights have the same path, the second is refused in the dry run, before it has written anything."""
    PrometheusFile(str(path)).begun(state_in(tmp_path))
    before = path.read_text()
    watcher, other = PrometheusFile(str(path)), replace(state_in(tmp_path), data="talks")
    watcher.ready(other)
    for tell in (watcher.check, lambda: watcher.begun(other), lambda: watcher.put_back(other)):
        with pytest.raises(UserError, match=r"^watchers\.prometheus\.path=.*: holds the samples of the data set small"):
            tell()
    assert path.read_text() == before
    again = PrometheusFile(str(path))
    again.ready(state_in(tmp_path))
    again.check()


def test_alerts_look_at_metrics_that_there_are(tmp_path, path):
    """Where Prometheus' own tool is installed (Debian: prometheus), their rules are tested too."""
    import re

    import yaml

    (group,) = yaml.safe_load((RULES / "towers.rules.yml").read_text())["groups"]
    assert len(group["rules"]) == 3
    for rule in group["rules"]:
        names = set(re.findall(r"towers_\w+", rule["expr"] + rule["annotations"]["description"]))
        assert names
        assert names <= set(METRICS)
    promtool = shutil.which("promtool")
    if promtool is None:
        return
    for command in (("check", "rules", "towers.rules.yml"), ("test", "rules", "towers.rules.test.yml")):
        done = subprocess.run([promtool, *command], cwd=RULES, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    told(PrometheusFile(str(path)), ledger_of(tmp_path), tmp_path)
    done = subprocess.run([promtool, "check", "metrics"], input=path.read_text(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
