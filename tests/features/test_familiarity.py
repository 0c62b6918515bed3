"""A history's statements about contents, against the definition written out."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from towers.contract.durations import DAY_US
from towers.contract.schema import LIKE, PLAY, SAVE, SKIP
from towers.features.familiarity import MIN_AGE_DAYS, NAMES, Familiarity, ages

Told = list[tuple[int, int, float, bool]]
"""Content, action, age and whether it is positive."""


def of(told: Told) -> Familiarity:
    content_row, action, age, is_positive = (list(column) for column in zip(*told, strict=True)) if told else ([],) * 4
    return Familiarity.of(
        content_row=np.array(content_row, np.int64),
        action=np.array(action, np.int64),
        age=np.array(age, np.float64),
        is_positive=np.array(is_positive, bool),
    )


def test_two_plays_a_save_and_a_skip() -> None:
    """Content 4 was played 4 days and 1 day ago and saved 1 day ago; 9 was skipped; a search names nothing."""
    four = [(4, PLAY, 4.0, True), (4, PLAY, 1.0, True), (4, SAVE, 1.0, True)]
    found = of([*four, (9, SKIP, 2.0, False), (-1, PLAY, 3.0, False)])
    assert found.content_row.tolist() == [4, 9]
    assert found.is_chosen.tolist() == [True, False]
    expected = [math.log(1 / 2 + 1 + 1), math.log(1 / 8 + 1 + 1), math.log(4), math.log(1), 0, math.log(2)]
    np.testing.assert_allclose(found.features[0], expected)
    np.testing.assert_allclose(found.features[1], [0, 0, 0, 0, math.log(2), 0])


@given(
    st.lists(
        st.tuples(st.integers(-1, 5), st.sampled_from([PLAY, SKIP, LIKE]), st.floats(MIN_AGE_DAYS, 400), st.booleans()),
        max_size=40,
    )
)
def test_every_content_is_summed_by_itself(told: Told) -> None:
    found = of(told)
    rows = sorted({row for row, *_ in told if row >= 0})
    assert found.content_row.tolist() == rows
    for place, row in enumerate(rows):
        mine = [one for one in told if one[0] == row]
        positive = [age for _, _, age, is_positive in mine if is_positive]
        skips, likes = (sum(action == wanted for _, action, *_ in mine) for wanted in (SKIP, LIKE))
        expected = dict.fromkeys(NAMES, 0.0) | {"skips": math.log1p(skips), "saves": math.log1p(likes)}
        if positive:
            expected |= {
                "activation": math.log(sum(age**-0.5 for age in positive)),
                "fast_activation": math.log(sum(age**-1.5 for age in positive)),
                "count": math.log1p(len(positive)),
                "recency": math.log(min(positive)),
            }
        np.testing.assert_allclose(found.features[place], [expected[name] for name in NAMES], atol=1e-9)
        assert found.is_chosen[place] == bool(positive)


def test_contents_that_were_not_met_say_nothing() -> None:
    met = of([(4, PLAY, 1.0, True)])
    for known, asked in ((met, [2, 4, 7]), (of([]), [0])):
        features, is_chosen = known.at(np.array(asked))
        assert is_chosen.tolist() == [row == 4 for row in asked]
        assert not features[~is_chosen].any()
    np.testing.assert_array_equal(met.at(np.array([4]))[0], met.features)


def test_ages_are_days_with_a_clock_and_events_without() -> None:
    times = np.array([0, DAY_US, 2 * DAY_US])
    assert ages(times, 2 * DAY_US).tolist() == [2.0, 1.0, MIN_AGE_DAYS]
    assert ages(times, None).tolist() == [3.0, 2.0, 1.0]
