from functools import partial
from itertools import count

import pytest

from towers.assembly.baselines import evaluate_baselines
from towers.evaluation.baselines.counts import Recency
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.tuning import Tuning

JUDGED = {"filter_seen": False, "ks": [5], "min_users": 1, "list_k": 5}


@pytest.fixture(scope="module")
def evaluated(world_store):
    protocol = EvaluationProtocol(world_store, "test", **JUDGED)

    def evaluated(kept, **budget):
        grid = {"recency": {"days": [3.0, 7.0]}}
        tuned = {"metric": "recall@5", "max_trials": 8, "grid": grid, **budget}
        settings = {"tuning": tuned, "baselines": {"recency": {}}, "period": "test", "slicings": {}, **JUDGED}
        builds = {"recency": lambda settings: partial(Recency, **settings)}
        _, choices = evaluate_baselines(builds, Tuning(**tuned), settings, protocol, kept, lambda *progress: None)
        return choices["recency"]

    return evaluated


def test_a_choice_cut_short_is_told_and_not_kept(evaluated, tmp_path, capsys):
    for _ in range(2):
        choice = evaluated(tmp_path, max_seconds=0.0)
        assert choice["left_out"] == [{"days": 7.0}]
        assert "recency: 1 of 2 settings not tried, for evaluation.tuning.max_seconds" in capsys.readouterr().out
        assert list(tmp_path.iterdir()) == []


def test_a_whole_choice_is_made_once(evaluated, tmp_path, capsys):
    first = evaluated(tmp_path)
    assert evaluated(tmp_path) == first
    assert len(list(tmp_path.iterdir())) == 1
    assert not capsys.readouterr().out


def test_a_look_that_the_budget_does_not_suffice_for_is_told(evaluated, tmp_path, capsys, monkeypatch):
    clock = count(0.0, 1.0)
    monkeypatch.setattr("time.process_time", lambda: next(clock))
    choice = evaluated(tmp_path, max_seconds=10.0, max_listeners=2)
    assert len(choice["trials"]) == 2
    told = f"recency: the closest settings not judged by {choice['listeners_left_out']} more listeners"
    assert told in capsys.readouterr().out
    assert choice["listeners_left_out"] > 0
    assert list(tmp_path.iterdir()) == []
