import json
from dataclasses import replace

import numpy as np
import pytest

from tests.contracts.ranker import make_task
from towers.contract.schema import KIND_CODES
from towers.errors import UserError
from towers.evaluation.baselines.counts import Popularity
from towers.evaluation.choice import Choice
from towers.evaluation.harness import evaluate
from towers.evaluation.known import Known
from towers.evaluation.ranking.rankers import DenseRanker
from towers.evaluation.tuning import Budget, Tuning


class Shifted:
    """Popularity, reversed where `sign` is -1, which is the worst ranker."""

    name = "shifted"

    def __init__(self, task, histories, *, sign: int, step: int = 1):
        self._scores = sign * Popularity(task).scores(np.arange(1))[0]
        self.settings = (sign, step)
        self.seen = len(histories.values)

    def scores(self, positions):
        return np.broadcast_to(self._scores, (len(positions), len(self._scores)))


class OfTask(Known):
    """Facts of a task that comes from no store."""

    def __init__(self, task):
        self.task, self.histories, self.times_us = task, task.histories, None


def build(settings):
    return lambda task, histories: Shifted(task, histories, **{"sign": 1, **settings})


def tuning(metric="recall@2/discovery", max_trials=8, **grid):
    return Tuning(metric=metric, max_trials=max_trials, grid={"shifted": grid})


@pytest.fixture(scope="module")
def validation(world_store):
    return Known(world_store, "validation")


@pytest.fixture(scope="module")
def test(world_store):
    return Known(world_store, "test")


def chosen(settings, validation, min_users=1):
    return settings.choose("shifted", build, validation, filter_seen=False, min_users=min_users)


class TestSettings:
    def test_all_combinations_in_order(self):
        expected = [{"sign": sign, "step": step} for sign in (1, -1) for step in (3, 4)]
        assert tuning(sign=[1, -1], step=[3, 4]).settings_of("shifted") == expected

    def test_a_large_grid_is_drawn_from(self):
        large = tuning(max_trials=5, sign=[1, -1], step=list(range(50)))
        drawn = large.settings_of("shifted")
        assert drawn == large.settings_of("shifted")
        assert len({tuple(one.items()) for one in drawn}) == 5
        assert drawn != Tuning(metric="recall@2", max_trials=5, grid=large.grid, seed=1).settings_of("shifted")

    def test_nothing_to_try(self):
        assert tuning(sign=[1]).settings_of("another") == []
        assert tuning(max_trials=0, sign=[1]).settings_of("shifted") == []

    @pytest.mark.parametrize("metric", ["recall", "recall@0", "recall@x", "fame@20/discovery"])
    def test_refuses_unknown_metrics(self, metric):
        with pytest.raises(ValueError, match="must be one of recall"):
            tuning(metric=metric)

    def test_refuses_a_negative_budget_and_an_empty_choice(self):
        with pytest.raises(ValueError, match="max_trials must be at least 0"):
            tuning(max_trials=-1)
        with pytest.raises(ValueError, match=r"grid\.shifted\.sign: needs a value"):
            tuning(sign=[])


class TestChoice:
    def test_takes_the_best_on_validation_and_tells_all(self, validation):
        choice = chosen(tuning(sign=[-1, 1]), validation)
        assert choice.settings == {"sign": 1}
        assert choice.metric == "recall@2/discovery"
        for trial in choice.trials:
            ranker = DenseRanker(validation.task, validation.give(build(trial.settings)))
            means = evaluate(validation.task, ranker, filter_seen=False, ks=(2,), min_users=1).means()
            assert trial.figure == means["recall@2/discovery"]
        worst, best = choice.trials
        assert worst.figure < best.figure

    def test_the_first_of_equals(self, validation):
        assert chosen(tuning(step=[5, 6]), validation).settings == {"step": 5}

    def test_without_the_slice_where_it_has_no_figure(self, validation):
        task = validation.task
        evaluation = evaluate(task, DenseRanker(task, Popularity(task)), filter_seen=False, min_users=1)
        discovery, everybody = evaluation.counts["discovery"], evaluation.counts["all"]
        assert evaluation.counts["cold_users"] < discovery <= everybody
        choice = chosen(tuning("recall@2/cold_users", sign=[-1, 1]), validation, min_users=discovery)
        assert choice.metric == "recall@2"
        assert choice.settings == {"sign": 1}

    def test_by_a_kind_where_each_listener_has_targets_of_one(self):
        """All judged listeners then have targets of one kind, which is no slice of theirs (`slices_of`)."""
        task = make_task([[2], [3], [2], [3]], [[0], [1], [0], [1]], 5, train_counts=[9, 8, 2, 2, 1])
        kinds = np.array([KIND_CODES[kind] for kind in ("track", "episode", "track", "episode", "episode")])
        task = replace(task, kind_codes=kinds)
        for kind, listeners in (("track", [0, 2]), ("episode", [1, 3])):
            choice = chosen(tuning(f"recall@2/{kind}", sign=[-1, 1]), OfTask(task))
            assert choice.metric == f"recall@2/{kind}"
            whole = evaluate(task, DenseRanker(task, Popularity(task)), filter_seen=False, ks=(2,), min_users=1)
            assert whole.slices[kind].positions.tolist() == listeners
            assert choice.trials[1].figure == whole.means()[f"recall@2/{kind}"] == 1
            assert choice.settings == {"sign": 1}

    def test_too_few_listeners_for_any_figure(self, validation):
        choice = chosen(tuning(sign=[-1, 1]), validation, min_users=1_000)
        assert choice == Choice()

    def test_a_setting_that_the_baseline_does_not_know(self, validation):
        with pytest.raises(TypeError, match="unheard_of"):
            chosen(tuning(unheard_of=[1]), validation)

    def test_is_json(self, validation):
        choice = chosen(tuning(sign=[1]), validation)
        [trial] = choice.trials
        assert json.loads(json.dumps(choice.as_dict())) == {
            "settings": {"sign": 1},
            "metric": "recall@2/discovery",
            "trials": [
                {
                    "settings": {"sign": 1},
                    "figure": trial.figure,
                    "listeners": trial.listeners,
                    "error": 0.0,
                    "core_seconds": trial.core_seconds,
                }
            ],
            "left_out": [],
            "listeners_left_out": 0,
            "is_on_evaluated_period": False,
            "core_seconds": {"tuning": choice.core_seconds.tuning, "fit": 0.0, "ranking": 0.0},
        }
        assert 0 < trial.core_seconds < choice.core_seconds.tuning


class TestSample:
    def settings(self, seed=0, max_listeners=4, metric="recall@2/discovery"):
        grid = {"shifted": {"sign": [-1, 1]}}
        return Tuning(metric=metric, max_trials=8, grid=grid, seed=seed, max_listeners=max_listeners)

    def test_is_drawn_by_seed_among_those_who_count(self, validation):
        task = validation.task
        whole = evaluate(task, DenseRanker(task, Popularity(task)), filter_seen=False, ks=(2,), min_users=1)
        counted = task.user_rows[whole.slices["discovery"].positions]
        figures = dict(zip(counted.tolist(), whole.figures("recall@2/discovery").tolist(), strict=True))
        rows = []
        for seed in (0, 0, 1):
            seen = []

            def watched(settings, seen=seen):
                def built(task, histories):
                    seen.append(task.user_rows.tolist())
                    assert len(histories) == len(validation.histories)  # fits see all listeners
                    return Shifted(task, histories, **settings)

                return built

            choice = self.settings(seed).choose("shifted", watched, validation, filter_seen=False, min_users=1)
            assert [len(one) for one in seen] == [4, 4] + [len(counted) - 4] * (len(seen) - 2)
            assert not set(seen[0]) & set(seen[-1]) or len(seen) == 2
            rows.append(seen[0])
            if len(seen) == 2:
                assert choice.trials[1].figure == pytest.approx(np.mean([figures[row] for row in seen[1]]))
        assert rows[0] == rows[1] == sorted(rows[0]) != rows[2]
        assert set(rows[0]) | set(rows[2]) <= set(counted.tolist())

    def test_what_lies_close_is_judged_by_more(self, validation):
        everybody = self.settings(max_listeners=None)
        some = self.settings(max_listeners=4)
        some.grid["shifted"]["step"] = everybody.grid["shifted"]["step"] = [5, 6]
        few, all_of_them = chosen(some, validation), chosen(everybody, validation)
        assert few.settings == all_of_them.settings == {"sign": 1, "step": 5}
        for step in (0, 1):
            trial, expected = few.trials[2 + step], all_of_them.trials[2 + step]
            assert trial.figure == pytest.approx(expected.figure)
            assert trial.listeners == expected.listeners > 4
            assert trial.core_seconds > 0

    @pytest.mark.parametrize("is_kept", [True, False])
    def test_no_second_look_where_the_budget_does_not_suffice_for_its_fits(self, validation, monkeypatch, is_kept):
        clock = [0.0]
        monkeypatch.setattr("time.process_time", lambda: clock[0])

        def fitted():
            clock[0] += 10
            return np.zeros(1)

        def slow(settings):
            def built(task, histories, shared):
                shared.once(("slow", is_kept, settings["step"]), fitted) if is_kept else fitted()
                return Shifted(task, histories, sign=1, **settings)

            return built

        some = self.settings(max_listeners=4)
        some.grid["shifted"] = {"step": [5, 6]}
        choice = some.choose("shifted", slow, validation, filter_seen=False, min_users=1, max_seconds=30.0)
        assert not choice.left_out
        if is_kept:
            assert choice.listeners_left_out == 0 < choice.trials[0].listeners - 4
            assert choice.core_seconds.tuning == 20
        else:
            assert choice.listeners_left_out > 0
            assert [trial.listeners for trial in choice.trials] == [4, 4]
            assert choice.as_dict()["listeners_left_out"] == choice.listeners_left_out

    def test_errors_are_those_of_the_distance_to_the_best(self, validation):
        choice = chosen(self.settings(max_listeners=None), validation)
        assert choice.trials[1].error == 0 < choice.trials[0].error < 1

    def test_refuses_nobody(self):
        with pytest.raises(ValueError, match="max_listeners must be at least 1"):
            self.settings(max_listeners=0)


class TestBudget:
    def test_what_it_does_not_suffice_for_is_named(self, validation):
        grid = tuning(step=[5, 6, 7])
        choice = grid.choose("shifted", build, validation, filter_seen=False, min_users=1, max_seconds=0.0)
        assert [trial.settings for trial in choice.trials] == [{"step": 5}]
        assert choice.left_out == ({"step": 6}, {"step": 7})
        assert json.loads(json.dumps(choice.as_dict()))["left_out"] == [{"step": 6}, {"step": 7}]
        assert choice.settings == {"step": 5}

    def test_its_own_holds_where_no_share_is_given(self, validation):
        grid = {"shifted": {"step": [5, 6]}}
        none, much = (Tuning(metric="recall@2", max_trials=8, grid=grid, max_seconds=seconds) for seconds in (0.0, 1e6))
        assert len(chosen(none, validation).trials) == 1
        assert len(chosen(much, validation).trials) == 2

    def test_what_one_leaves_is_for_the_others(self):
        budget = Budget(60.0)
        assert budget.share(3) == 20
        budget.spend(10.0)
        assert budget.share(2) == 25
        budget.spend(100.0)
        assert budget.share(1) == 0
        assert Budget(None).share(4) == np.inf

    def test_refuses_less_than_nothing(self):
        with pytest.raises(ValueError, match="max_seconds must be at least 0"):
            Tuning(metric="recall@2", max_trials=8, grid={}, max_seconds=-1.0)


class TestFit:
    def test_the_best_sees_everything_before_the_test(self, validation, test):
        scorer, choice = tuning(sign=[-1, 1], step=[7]).fit(
            "shifted", build, test, validation, filter_seen=False, min_users=1
        )
        assert scorer.settings == (1, 7)
        assert scorer.seen == len(test.histories.values) > len(validation.histories.values)
        assert not choice.is_on_evaluated_period

    def test_says_where_it_was_tuned_on_what_is_reported(self, validation):
        for grid, expected in (({"sign": [-1, 1]}, True), ({}, False)):
            scorer, choice = tuning(**grid).fit(
                "shifted", build, validation, validation, filter_seen=False, min_users=1
            )
            assert scorer.settings == (1, 1)
            assert choice.is_on_evaluated_period is expected

    def test_what_fits_have_in_common_is_dropped_in_the_end(self, validation, test):
        made = []

        def builds(settings):
            def built(task, histories, shared):
                shared.once("common", lambda: made.append(1) or np.zeros(1))
                return Shifted(task, histories, sign=1, **settings)

            return built

        settings = tuning(step=[5, 6])
        for times in (1, 2):
            settings.fit("shifted", builds, test, validation, filter_seen=False, min_users=1)
            assert len(made) == 2 * times  # once for the trials and once for good

    def test_a_baseline_that_the_data_does_not_allow(self, validation, test):
        def refuse(settings):
            def refused(task):
                raise UserError("no sound")

            return refused

        with pytest.raises(UserError, match="no sound"):
            tuning(sign=[1]).fit("shifted", refuse, test, validation, filter_seen=False, min_users=1)
