"""Statistics against fractions that a reader can check, against scipy, and on logs that differ in one thing."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.simulation.checks import logs
from tests.simulation.checks.logs import BEGIN_US, END_US, SPACE
from towers.contract.durations import DAY_US, HOUR_US
from towers.evaluation.list_metrics import gini
from towers.simulation.checks.comparison import compared, counts_of
from towers.simulation.checks.heard import Heard
from towers.simulation.checks.resampling import bounds, draws
from towers.simulation.checks.stated import FEWEST, GAP_STEP, gaps_us, skip_runs, stated
from towers.simulation.listeners.session_log import FINISH, PARTIAL, SKIP

LISTENERS = 160
NAMES = [one.name for one in stated(SPACE, END_US)]


def found(real, *simulated, resamples=60, seed=0):
    drawn = draws(real.listeners, len(simulated), resamples=resamples, splits=20, seed=seed)
    told = stated(SPACE, END_US)
    return {one.name: compared(counts_of(one, real, simulated), drawn) for one in told}


@pytest.fixture(scope="module")
def real():
    return logs.heard(logs.listened(LISTENERS, seed=1))


def again(real, seed=2, **changed):
    """Returns the same listeners, drawn again from the begin of the period on."""
    log = logs.listened(LISTENERS, seed=seed, begin_us=BEGIN_US, **changed)
    return logs.heard(log, before=real.before)


def members(real, **changed):
    """Returns as many logs as an ensemble has members: their own chance averages out, and the real log's remains."""
    return [again(real, seed=seed, **changed) for seed in range(3, 8)]


def test_a_log_against_itself(real):
    for name, one in found(real, real).items():
        assert one.difference == 0, name
        assert (one.low, one.high) == (0, 0), name
        assert one.passed, name
        assert one.noise > 0 or name in {"return_28", "repeat_share"}, name


def test_listeners_drawn_anew_pass(real):
    missed = [name for name, one in found(real, *members(real)).items() if not one.passed]
    assert not missed


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({"length": 9.0}, {"session_length"}),
        ({"per_day": 0.35}, {"session_gap", "return_1", "return_7"}),
        ({"skips": 0.5}, {"skip_by_position", "finish_by_familiarity", "finish_by_recent_plays", "finish_by_repeats",
                          "skip_runs"}),
    ],
)  # fmt: skip
def test_a_log_that_differs_in_one_thing_misses_its_limits(real, changed, missed):
    assert {name for name, one in found(real, *members(real, **changed)).items() if not one.passed} == missed


def test_what_is_missed_is_clearly_beyond(real):
    one = found(real, again(real, skips=1.0))["finish_by_familiarity"]
    assert one.is_clearly_beyond
    assert one.low > one.statistic.limit
    assert one.low <= one.difference <= one.high


def test_ks_is_scipys(real):
    other = again(real, length=9.0)
    told = found(real, other)
    lengths = stats.ks_2samp(real.log.session_lengths, other.log.session_lengths)
    assert told["session_length"].difference == pytest.approx(lengths.statistic, abs=1e-12)

    def cells(heard):
        gaps = gaps_us(heard.log, SPACE)[1]
        return np.floor(np.log(np.maximum(gaps[np.isfinite(gaps)] / 60e6, 1)) / np.log(GAP_STEP))

    gaps = stats.ks_2samp(cells(real), cells(other))
    assert told["session_gap"].difference == pytest.approx(gaps.statistic, abs=1e-12)


def test_gini_is_that_of_lists(real):
    other = again(real)
    one = found(real, other)["popularity_gini"]
    expected = [gini(np.bincount(heard.log.content, minlength=len(SPACE))) for heard in (real, other)]
    assert one.real.values[0] == pytest.approx(expected[0], abs=1e-12)
    assert one.difference == pytest.approx(expected[1] - expected[0], abs=1e-12)


def test_what_could_not_be_played_is_not_counted(real):
    """One content comes out after the period, and one is not playable."""
    log, late = real.log, 0
    later = replace(SPACE, released_us=np.where(np.arange(len(SPACE)) == late, END_US, 0),
                    is_playable=np.arange(len(SPACE)) != 1)  # fmt: skip
    statistic = stated(later, END_US)[-1]
    counts = statistic.counts(real)
    assert counts.shape == (LISTENERS, len(SPACE) - 2)
    assert counts.sum() == np.isin(log.content, [0, 1], invert=True).sum()


def small():
    """Makes two listeners: `a` comes on three days, the third time after six; `b` once."""
    sessions = [
        (0, BEGIN_US, [(0, SKIP), (1, SKIP), (2, FINISH), (3, SKIP)]),
        (0, BEGIN_US + 20 * HOUR_US, [(0, FINISH), (0, PARTIAL)]),
        (0, BEGIN_US + 20 * HOUR_US + 6 * DAY_US, [(4, FINISH), (5, FINISH)]),
        (1, BEGIN_US + 29 * DAY_US, [(0, SKIP), (1, SKIP)]),
    ]
    log = logs.log_of(sessions, step_us=200_000_000)
    before = logs.log_of([(0, 0, [(0, FINISH), (0, FINISH)])])
    return Heard(log=log, before=before, begin_us=BEGIN_US, end_us=END_US)


def test_fractions():
    told = found(small(), small(), resamples=3)
    rates = {name: told[name].real.values.tolist() for name in NAMES}
    assert rates["skip_by_position"][:4] == [2 / 4, 2 / 4, 0 / 1, 1 / 1]
    # New: 1 2 3 4 5 for a, 0 1 for b; known: 0 twice before, then three and four times.
    assert rates["finish_by_familiarity"][0] == 3 / 7
    assert rates["finish_by_familiarity"][2:4] == [1 / 2, 0 / 1]
    assert rates["repeat_share"] == [3 / 10]
    # b's session is within 1 day of the end; within 7 days a's third is not followed by any.
    assert rates["return_1"] == [1 / 3]
    assert rates["return_7"] == [2 / 3]
    assert rates["return_28"] == [1 / 1]
    assert rates["skip_runs"][:2] == [1 / 3, 2 / 3]


def test_runs_end_with_the_session():
    log = logs.log_of([(0, 0, [(0, SKIP), (1, FINISH), (2, SKIP)]), (0, HOUR_US, [(0, SKIP), (1, SKIP)])])
    begins, lengths = skip_runs(log)
    assert begins.tolist() == [0, 2, 3]
    assert lengths.tolist() == [1, 1, 2]


def test_small_bins_are_not_held():
    told = found(small(), small(), resamples=3)["skip_by_position"]
    assert not told.is_held.any()
    assert np.isnan(told.difference)
    assert not told.passed


def test_bins_are_held_by_real_plays(real):
    one = found(real, again(real))["skip_by_position"]
    plays = np.bincount(real.log.position, minlength=20)[:20]
    assert one.is_held.tolist() == (plays >= FEWEST).tolist()
    assert 0 < one.is_held.sum() < 20
    difference = np.abs(one.simulated.values - one.real.values)[one.is_held]
    assert one.difference == pytest.approx(difference.max())
    assert one.mean == pytest.approx(np.average(difference, weights=plays[one.is_held]))


def test_members_are_pooled(real):
    """Plays of members count together in a rate; a Gini coefficient is the mean of the members'."""
    both = [again(real), again(real, skips=2.0)]
    told = found(real, *both)
    each = [found(real, member)["popularity_gini"].simulated.values[0] for member in both]
    assert told["popularity_gini"].simulated.values[0] == pytest.approx(np.mean(each))
    rates = [heard.log.outcome[heard.log.position == 0] == SKIP for heard in both]
    assert told["skip_by_position"].simulated.values[0] == pytest.approx(np.concatenate(rates).mean())


def test_without_simulated_plays_nothing_passes(real):
    empty = logs.heard(logs.without_plays(real.log), before=real.before)
    told = found(real, empty)
    assert not any(one.passed for one in told.values())


def test_noise_is_what_halves_differ_by(real):
    """The noise of a share is half of the difference of two halves, in 95 % of the splits."""
    drawn = draws(real.listeners, 1, resamples=3, splits=20, seed=0)
    statistic = next(one for one in stated(SPACE, END_US) if one.name == "return_1")
    one = compared(counts_of(statistic, real, [real]), drawn)
    listener, _, came = statistic.observe(real)
    each = []
    for half in drawn.halves[:, listener].astype(bool):
        each.append(abs(came[half].mean() - came[~half].mean()) / 2)
    assert one.noise == pytest.approx(np.quantile(each, 0.95))
    assert one.beyond_by_chance.tolist() == [each > 0.02 for each in each]


def test_draws_are_of_listeners_and_repeatable():
    one, other = (draws(10, 2, resamples=5, splits=4, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.listeners, other.listeners)
    assert one.listeners.sum(axis=1).tolist() == [10] * 6
    assert one.members.sum(axis=1) == pytest.approx(1)
    assert one.halves.sum(axis=1).tolist() == [5] * 4


def test_bounds_hold_the_figure():
    """The draws all lie above the figure, as those of a distance do."""
    drawn = np.concatenate([[0.1], np.random.default_rng(0).normal(0.3, 0.01, 2_000)])
    low, high = bounds(drawn)
    assert low == pytest.approx(0.1 - 1.96 * 0.01, abs=2e-3)
    assert high == pytest.approx(0.1 + 1.96 * 0.01, abs=2e-3)
    assert np.isnan(bounds(np.full(5, np.nan))).all()
