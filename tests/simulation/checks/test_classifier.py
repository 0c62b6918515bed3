"""The classifier finds planted differences and no others; its features of a session."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.simulation.checks import logs
from tests.simulation.checks.logs import BEGIN_US, SPACE
from tests.simulation.checks.made import LISTENERS, checked
from towers.contract.durations import HOUR_US
from towers.simulation.checks.auc import weighted_auc
from towers.simulation.checks.classifier import ACTIONS, shuffled_actions, tell_apart
from towers.simulation.checks.resampling import draws
from towers.simulation.checks.session_features import session_features
from towers.simulation.listeners.session_log import FINISH, SKIP


def test_it_is_strong_enough_to_count():
    apart = checked().told_apart
    assert apart.shuffled.auc > 0.8
    assert apart.shuffled_within.auc > 0.7
    assert 0.4 < apart.real.auc < 0.6  # few sessions
    assert apart.real.low < 0.5 < apart.real.high


def test_it_tells_who_skips_more():
    apart = checked().told_apart
    assert apart.simulated.auc > 0.8
    assert apart.simulated.low < apart.simulated.auc < apart.simulated.high
    assert next(iter(apart.features)).startswith(("skips", "longest run of skips", "fraction", "changes"))
    assert list(apart.features.values()) == sorted(apart.features.values(), reverse=True)


@pytest.mark.slow
def test_listeners_drawn_anew_are_not_told_from_themselves():
    real = logs.heard(logs.listened(LISTENERS, seed=1))
    anew = logs.heard(logs.listened(LISTENERS, seed=2, begin_us=BEGIN_US), before=real.before)
    steps = []
    drawn = draws(LISTENERS, 1, resamples=5, splits=1, seed=0)
    apart = tell_apart(real, [anew], SPACE, drawn, trees=10, seed=0, progress=steps.append)
    assert 0.4 < apart.simulated.auc < 0.6
    assert len(steps) == 2
    assert len(apart.scored[0].score) == len(real.log.session_begins) + len(anew.log.session_begins)


def test_no_tree_has_seen_the_listener():
    """All sessions of a listener, of either kind, stand in one fold."""
    (scored,) = checked().told_apart.scored
    folds = {(listener, fold) for listener, fold in zip(scored.listener.tolist(), scored.fold.tolist(), strict=True)}
    assert len(folds) == len(np.unique(scored.listener))
    assert len(np.unique(scored.fold)) == 5


@pytest.mark.parametrize("within", [False, True])
def test_actions_are_shuffled_together(within):
    log = logs.listened(5, seed=4)
    shuffled = shuffled_actions(log, SPACE, np.random.default_rng(0), within=within)

    def actions(one, plays):
        return sorted(zip(*(getattr(one, name)[plays].tolist() for name in ACTIONS), strict=True))

    parts = [log.session == number for number in range(50)] if within else [slice(None)]
    assert all(actions(log, part) == actions(shuffled, part) for part in parts)
    assert (log.outcome != shuffled.outcome).any()
    assert log.content is shuffled.content


def test_a_shuffled_log_keeps_its_clock():
    """The waits between the plays of a session stay, so that time does not show what was shuffled."""
    log = logs.listened(5, seed=4)
    shuffled = shuffled_actions(log, SPACE, np.random.default_rng(0), within=False)
    names = (*logs.CONTEXTS,), (*logs.DEVICES,)
    of, of_shuffled = (session_features(logs.heard(one), SPACE, *names) for one in (log, shuffled))
    at = of.names.index("seconds between plays, mean")
    np.testing.assert_allclose(of.values[:, at], 0.8)
    np.testing.assert_allclose(of_shuffled.values[:, at], 0.8)


def test_features_of_a_session():
    """The session has four plays at noon on a Thursday (1970-01-01 was one), an hour after one of two plays."""
    log = logs.log_of(
        [
            (0, BEGIN_US + 11 * HOUR_US - 200_000_000, [(1, FINISH), (2, FINISH)]),
            (0, BEGIN_US + 12 * HOUR_US, [(1, SKIP), (4, FINISH), (5, SKIP), (5, SKIP)]),
        ],
        step_us=200_000_000,
    )
    day = int(BEGIN_US // (24 * HOUR_US) - 4) % 7
    found = session_features(logs.heard(log, before=logs.without_plays(log)), SPACE, ("home",), ("phone",))
    row = dict(zip(found.names, found.values[1].tolist(), strict=True))
    expected = {
        "plays": 4, "hour of day": 12, "day of the week": day, "hours since the session before": 1.0,
        "skips, share": 3 / 4, "first outcome": SKIP, "second outcome": FINISH, "last outcome": SKIP,
        "longest run of skips": 2, "runs of skips": 2, "skips in a row at the end": 2,
        "changes from skip to listening and back, share": 2 / 4, "skips in the first half, share": 1 / 2,
        "skips in the second half, share": 2 / 2, "distinct contents / plays": 3 / 4,
        "distinct artists / plays": 2 / 4, "played before, share": 2 / 4, "same artist as before, share": 2 / 3,
        "fraction played of skips, mean": 0.1, "fraction played of the others, least": 1.0, "likes": 0,
        "position, of skips less of others": 5 / 3 - 1, "context": 0, "context of the session before": 1,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    first = dict(zip(found.names, found.values[0].tolist(), strict=True))
    assert np.isnan(first["hours since the session before"])
    assert np.isnan(first["affinity, first"])
    assert np.isnan(first["affinity, of skips less of others"])
    assert first["affinity, last"] == pytest.approx(float(SPACE.vectors[1] @ SPACE.vectors[2]), abs=1e-6)


def test_names_that_only_simulated_sessions_have_are_one_more():
    log = logs.listened(3, seed=4)
    found = session_features(logs.heard(log), SPACE, ("radio",), ("speaker",))
    at = found.names.index("context")
    assert set(found.values[:, at]) == {0.0, 1.0}
    assert set(found.values[:, at + 1]) == {1.0}


def test_auc_is_scikit_learns():
    generator = np.random.default_rng(0)
    score, weights = generator.integers(0, 20, 300).astype(float), generator.integers(0, 3, 300).astype(float)
    is_second = generator.random(300) < 0.3
    expected = roc_auc_score(is_second, score, sample_weight=weights)
    assert weighted_auc(score, is_second, weights) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(weighted_auc(score, np.ones(300, bool), weights))
