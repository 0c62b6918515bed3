"""A night's records, and the version that it is compared with, without a training."""

import json
import os
from dataclasses import replace

import pytest

from tests.lifecycle.gate.small_night import METRIC, some, twin
from tests.lifecycle.gate.small_night import night as evidence_of
from tests.lifecycle.versions import night as published
from towers.assembly.backtest import backtest_plan
from towers.assembly.night import Night, night_plan
from towers.commands.night import _done_before, cycle
from towers.commands.retrain import rolled_back
from towers.config.composing import compose
from towers.errors import UserError
from towers.lifecycle.gate.gate import judge
from towers.lifecycle.record import Record
from towers.lifecycle.rollback import roll_back
from towers.lifecycle.watching.wandb_names import group_in
from towers.lifecycle.watching.watcher import Watch
from towers.publishing.sinks.sink import NoSink


@pytest.fixture
def make_config(tmp_path, monkeypatch, world_folder):
    """Composes the configuration of a command with some overrides."""
    monkeypatch.setattr(os, "fsync", lambda file: None)
    paths = [f"paths.{name}={tmp_path / name}" for name in ("stores", "runs", "exports", "evaluations", "nights")]

    def make(*overrides):
        return compose("retrain", [*paths, "data.name=small", f"data.root={world_folder}", *overrides])

    return make


@pytest.fixture
def make_plan(make_config):
    return lambda *overrides: night_plan(make_config(*overrides))


def test_moments_of_divided_tables_are_not_carried(make_plan):
    """The error comes before the night begins, and not after its first training."""
    with pytest.raises(UserError, match=r"warm\.optimizer=carry: this training has rows=divided"):
        make_plan("rows=divided", "warm.optimizer=carry")


def test_a_window_with_too_few_listeners_is_refused_and_recorded(make_plan, world_store):
    """The figures of a twin are not known then; the night says so instead of breaking off."""
    plan = make_plan()
    record = Record(night="20260701-a")
    tonight = Night(plan=plan, store=world_store, record=record, champion=None, rival=None, twin=None, is_late=False)
    few = replace(evidence_of(twin(some(size=5)), is_first_night=True, reached=None), stage="twins")
    verdict = judge(few, plan.rules)
    assert "finite" in verdict.rules
    said = tonight.said(verdict, few).record
    assert said.is_refused
    assert "reached" not in said.verdict
    enough = replace(evidence_of(twin(some()), is_first_night=True, reached=None), stage="twins")
    assert tonight.said(judge(enough, plan.rules), enough).record.verdict["reached"]["key"] == METRIC


def test_a_night_does_not_touch_what_has_served(make_plan, world_store):
    """The same data comes again, long after: the record of its version stays, and it is not its own rival."""
    plan = make_plan()
    for number in (1, 2, 3):
        published(plan.ledger, number)
    first, champion = plan.ledger.of_version("v1"), plan.ledger.champion()
    late = Night(plan=plan, store=world_store, record=first, champion=champion, rival=None, twin=None, is_late=True)
    assert late.is_done
    assert replace(late, is_late=False).is_done  # as after a roll back of several versions
    assert not replace(late, record=Record(night="another")).is_done
    assert plan._last_before("2026-07-02T23:30:00+00:00") == plan.ledger.of_version("v2")
    roll_back(plan.ledger, NoSink(), "v1", "too loud", lambda *told: None)
    assert plan._last_before("2026-07-03T23:30:00+00:00") == plan.ledger.of_version("v2")  # 3 is marked bad


def test_nothing_serves_though_something_has(make_plan):
    """Without its link the version that served is not passed over: its night is no first night."""
    plan = make_plan()
    published(plan.ledger, 1)
    (plan.folders.exports / "current").unlink()
    with pytest.raises(UserError, match=r"current: leads nowhere, yet v1 has served; put it back"):
        cycle(plan, Watch({}, plan.state()))


def test_a_refit_has_no_patience(make_plan, world_store):
    """A refit validates nothing, so that a training with patience would be refused after the whole night."""
    plan = make_plan("trainer.patience=3", "logger=csv")
    record = Record(night="20260701-a")
    tonight = Night(plan=plan, store=world_store, record=record, champion=None, rival=None, twin=None, is_late=False)
    assert tonight._train("end").trainer.patience is None
    assert tonight.twin_config().trainer.patience == 3


@pytest.mark.parametrize(("given", "group"), [((), "nights of {data}"), (("logger.group=ours",), "ours")])
def test_trainings_of_a_night_are_in_its_group(make_plan, world_store, given, group):
    plan = make_plan("logger=wandb", *(f"+{each}" for each in given))
    record = Record(night="20260701-a")
    tonight = Night(plan=plan, store=world_store, record=record, champion=None, rival=None, twin=None, is_late=False)
    logger = tonight.twin_config().logger
    assert logger.group == group.format(data=plan.data)
    assert logger.job_type == "train"
    assert group_in(plan.state()) == logger.group


def test_weights_and_biases_watch_where_trainings_go_there(make_plan, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert "wandb" in make_plan("logger=wandb").watchers
    elsewhere = make_plan("logger=csv", "+logger.project=ours")
    assert "wandb" not in elsewhere.watchers
    assert elsewhere.state().project is None
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert "wandb" not in make_plan("logger=wandb").watchers


def test_a_backtest_fills_no_engine(make_config, tmp_path):
    """No client reads the versions of a backtest, for any engine that the nights fill."""
    plan = backtest_plan(
        make_config("sink=lancedb", f"sink.uri={tmp_path / 'engine'}", f"backtest={tmp_path}", "days=2")
    )
    assert isinstance(plan.night.sink, NoSink)


def test_a_roll_back_wants_no_raw_data_and_is_printed_first(make_config, make_plan, capsys):
    """The line about the rollback is printed even if a watcher fails."""
    plan = make_plan()
    for number in (1, 2):
        published(plan.ledger, number)
    config = make_config("watchers.json_lines.path=-", "why=too loud")
    config.data.root = "???"
    rolled_back(config)
    done, line = capsys.readouterr().out.strip().split(" s)\n")
    assert "current moves BACK from it to v1" in done
    told = json.loads(line)
    assert (told["event"], told["serving"], told["why"]) == ("put_back", "v1", "too loud")


def test_a_night_that_was_killed_after_it_had_published_is_told_as_published(make_plan, world_store, monkeypatch):
    plan = make_plan()
    published(plan.ledger, 1)
    record = replace(plan.ledger.of_version("v1"), judged="demo/twin", refit="demo/refit", told=False)
    watch = Watch({}, plan.state())
    tonight = Night(plan=plan, store=world_store, record=record, champion=record, rival=None, twin=None, is_late=False)
    _done_before(tonight, watch, "nothing to publish")
    assert (watch.state.ending, watch.state.export.name) == ("published", "v1")
    assert watch.state.refit == plan.folders.runs / "demo" / "refit"
    ended = replace(record, told=True)
    _done_before(replace(tonight, record=ended, champion=ended), watch, "nothing to publish")
    assert watch.state.ending == "nothing"
