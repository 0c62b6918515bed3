import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.evaluation.intervals import differences_to_each, intervals, paired_differences
from towers.evaluation.result import Evaluation, SliceResult

KEY = "recall@20/discovery"


def evaluation(values, *, name="ranker", positions=None, min_users=1):
    """Makes an evaluation with one slice, `discovery`."""
    return sliced({"discovery": values}, name=name, positions=positions, min_users=min_users)


def sliced(values_of, *, name="ranker", positions=None, min_users=1):
    slices = {}
    for slice_name, values in values_of.items():
        values = np.asarray(values, dtype=np.float64)
        places = np.arange(len(values)) if positions is None else positions
        slices[slice_name] = SliceResult(positions=places, values={"recall@20": values})
    return Evaluation(ranker=name, user_rows=np.arange(2000), slices=slices, min_users=min_users)


def test_interval_of_a_coin():
    # The mean of 400 fair coins has a standard error of sqrt(1/4 / 400) = 1/40; 95 % lie within 1.96 of them.
    interval = intervals(evaluation([0, 1] * 200), [KEY])[KEY]
    assert interval.mean == 1 / 2
    assert interval.low == pytest.approx(1 / 2 - 1.96 / 40, abs=0.006)
    assert interval.high == pytest.approx(1 / 2 + 1.96 / 40, abs=0.006)


def test_interval_of_a_constant_is_a_point():
    interval = intervals(evaluation([0.25] * 100), [KEY])[KEY]
    assert (interval.low, interval.mean, interval.high) == (0.25, 0.25, 0.25)


def test_interval_is_seeded():
    found = evaluation(np.linspace(0, 1, 100))
    assert intervals(found, [KEY], seed=1) == intervals(found, [KEY], seed=1)
    assert intervals(found, [KEY], seed=1) != intervals(found, [KEY], seed=2)


def test_equals_the_slow_reference():
    """The reference draws listeners one by one, those outside of the slice too."""
    values = np.random.default_rng(0).random(30)
    found = Evaluation(
        ranker="ranker",
        user_rows=np.arange(50),
        slices={"discovery": SliceResult(positions=np.arange(0, 30), values={"recall@20": values})},
        min_users=1,
    )
    generator = np.random.default_rng(7)
    means = []
    for _ in range(200):
        drawn = [int(listener) for listener in generator.integers(50, size=50)]
        inside = [values[listener] for listener in drawn if listener < 30]
        means.append(sum(inside) / len(inside))
    interval = intervals(found, [KEY], seed=7, resamples=200)[KEY]
    assert interval.low == pytest.approx(np.quantile(means, 0.025))
    assert interval.high == pytest.approx(np.quantile(means, 0.975))


def test_figures_asked_for_together_are_those_asked_for_alone():
    generator = np.random.default_rng(0)
    found = sliced({"discovery": generator.random(300), "familiar": generator.random(200)})
    keys = [KEY, "recall@20/familiar"]
    together = intervals(found, keys)
    for key in keys:
        alone = intervals(found, [key])[key]
        assert (alone.low, alone.high) == pytest.approx((together[key].low, together[key].high))


def test_a_listener_without_a_figure_is_left_out():
    with_hole = intervals(evaluation([0.25, np.nan, 0.75] * 100), [KEY])[KEY]
    assert with_hole.mean == 1 / 2
    # Of 200 figures, each 1/4 off the mean: a standard error of 1/4 / sqrt(200).
    assert with_hole.high == pytest.approx(1 / 2 + 1.96 / 4 / np.sqrt(200), abs=0.005)


def test_nothing_asked_for():
    assert intervals(evaluation([0, 1]), []) == {}
    assert paired_differences(evaluation([0, 1]), evaluation([0, 1]), []) == {}


@pytest.mark.parametrize("key", ["recall@20", "ndcg@20/discovery", "recall@20/discovery"])
def test_no_interval_without_a_figure(key):
    with pytest.raises(ValueError, match=f"no figure '{key}'"):
        intervals(evaluation([0, 1], min_users=100), [key])


def test_paired_difference_is_narrower_than_two_intervals():
    easy_and_hard = np.array([0.0, 0.9] * 100)
    first, second = evaluation(easy_and_hard + 0.1), evaluation(easy_and_hard)
    difference = paired_differences(first, second, [KEY])[KEY]
    assert difference.low == pytest.approx(0.1)
    assert difference.mean == pytest.approx(0.1)
    assert difference.high == pytest.approx(0.1)
    assert difference.users == 200
    assert intervals(first, [KEY])[KEY].low < intervals(second, [KEY])[KEY].high


def test_paired_difference_needs_the_same_listeners():
    first, second = evaluation([0, 1], name="a"), evaluation([0, 1], name="b", positions=np.array([0, 2]))
    with pytest.raises(ValueError, match=r"'a' and 'b'.*same listeners"):
        paired_differences(first, second, [KEY])


def test_no_difference_is_not_clear():
    values = np.linspace(0, 1, 100)
    difference = paired_differences(evaluation(values), evaluation(values), [KEY])[KEY]
    assert (difference.low_of_all, difference.mean, difference.high_of_all) == (0, 0, 0)
    assert difference.p_value == 1
    assert not difference.is_clear


def test_one_difference_is_not_corrected():
    generator = np.random.default_rng(0)
    first, second = evaluation(generator.random(400) + 0.05), evaluation(generator.random(400))
    difference = paired_differences(first, second, [KEY], resamples=4000)[KEY]
    assert difference.low_of_all == pytest.approx(difference.low, abs=0.003)
    assert difference.high_of_all == pytest.approx(difference.high, abs=0.003)


def test_many_differences_are_held_to_more():
    """One of twenty slices differs by four of its standard errors, which stays clear, and is the only one."""
    generator = np.random.default_rng(0)
    noise = {f"slice:{number}": generator.normal(0, 1, 400) for number in range(20)}
    first = {name: values - values.mean() + (0.2 if name == "slice:3" else 0) for name, values in noise.items()}
    keys = [f"recall@20/{name}" for name in noise]
    found = paired_differences(sliced(first), sliced({name: np.zeros(400) for name in noise}), keys)
    assert [key for key in keys if found[key].is_clear] == ["recall@20/slice:3"]
    for difference in found.values():
        assert difference.low_of_all < difference.low < difference.high < difference.high_of_all
    assert found["recall@20/slice:3"].p_value < 0.05
    assert found["recall@20/slice:4"].p_value > 0.9


def test_false_alarms_are_as_rare_as_promised():
    """If nothing differs in twenty slices, one in twenty experiments finds something; without correction most do."""
    generator = np.random.default_rng(0)
    keys = [f"recall@20/slice:{number}" for number in range(20)]
    nothing = sliced({f"slice:{number}": np.zeros(100) for number in range(20)})
    alarms, uncorrected = 0, 0
    for _ in range(60):
        noise = sliced({f"slice:{number}": generator.normal(0, 1, 100) for number in range(20)})
        found = paired_differences(noise, nothing, keys, resamples=300).values()
        alarms += any(difference.is_clear for difference in found)
        uncorrected += any(difference.low > 0 or difference.high < 0 for difference in found)
    assert alarms <= 9  # of 60 at 5 %: more than 9 in one of five hundred runs
    assert uncorrected >= 25


def test_many_baselines_are_held_to_more():
    """Twenty baselines in one slice count as many comparisons as one baseline in twenty slices, with the same
    bounds.
    """
    generator = np.random.default_rng(0)
    noise = [generator.normal(0, 1, 400) for _ in range(20)]
    keys = [f"recall@20/slice:{number}" for number in range(20)]
    slices = {f"slice:{number}": values for number, values in enumerate(noise)}
    nothing = sliced({name: np.zeros(400) for name in slices})
    of_slices = paired_differences(nothing, sliced(slices), keys)
    others = [evaluation(values, name=f"baseline {number}") for number, values in enumerate(noise)]
    of_baselines = differences_to_each(evaluation(np.zeros(400), name="model"), others, [KEY])
    assert [found[KEY] for found in of_baselines.values()] == [of_slices[key] for key in keys]
    alone = paired_differences(evaluation(np.zeros(400)), others[3], [KEY])[KEY]
    together = of_baselines["baseline 3"][KEY]
    assert (alone.low, alone.mean, alone.high) == pytest.approx((together.low, together.mean, together.high))
    assert together.low_of_all < alone.low_of_all < alone.high_of_all < together.high_of_all


def test_differences_stand_under_their_baseline_and_key():
    model = sliced({"discovery": [1.0, 1.0], "familiar": [0.5, 0.5]}, name="model")
    others = [
        sliced({"discovery": [0.75] * 2, "familiar": [0.5] * 2}, name="a"),
        sliced({"discovery": [0.5] * 2, "familiar": [0.25] * 2}, name="b"),
    ]
    found = differences_to_each(model, others, [KEY, "recall@20/familiar"])
    means = {name: [difference.mean for difference in of.values()] for name, of in found.items()}
    assert means == {"a": [1 / 4, 0], "b": [1 / 2, 1 / 4]}
    assert differences_to_each(model, [], [KEY]) == {}


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_bounds_hold_the_mean(values):
    interval = intervals(evaluation(values), [KEY], resamples=50)[KEY]
    assert min(values) - 1e-9 <= interval.low <= interval.high <= max(values) + 1e-9
