"""Sizes of the periods: numbers by hand, and warnings about cuts that do not fit."""

import numpy as np

from towers.data.periods import FEW_POSITIVES, Period, from_json, lines, to_json, warnings


def periods(training, validation, test):
    rows = zip(("training", "validation", "test"), (training, validation, test), strict=True)
    return [Period(name=name, days=days, positives=positives, listeners=9) for name, (days, positives) in rows]


def test_a_store_counts_them(store, world_store) -> None:
    histories = world_store.histories
    place = np.arange(len(histories.timestamp_us))
    users = np.repeat(np.arange(histories.num_users), np.diff(histories.offsets))
    code = (place >= histories.train_end[users]).astype(int) + (place >= histories.test_start[users])
    liked = np.asarray(histories.is_positive)
    for number, period in enumerate(world_store.periods):
        chosen = liked & (code == number)
        assert period.positives == chosen.sum() > 0
        assert period.listeners == len(np.unique(users[chosen]))
    assert [period.days for period in world_store.periods][1:] == [10.0, 10.0]
    assert sum(period.positives for period in store.periods) == np.asarray(store.histories.is_positive).sum()
    assert from_json(to_json(store.periods)) == store.periods


def test_lines_have_days_positives_and_listeners() -> None:
    told = lines(periods((21.0, 18_034), (4.5, 3_000), (4.5, 2_000)))
    assert told[0].split() == ["training", "21.0", "days", "18,034", "positives", "of", "9", "listeners"]
    assert len(told) == 3


def test_nothing_is_said_of_a_store_of_before() -> None:
    assert lines([]) == []


def test_a_short_training_is_told_with_the_keys() -> None:
    (told,) = warnings(periods((2.0, 9_000), (14.0, 9_000), (14.0, 9_000)))
    assert "2 of 30 days" in told
    assert "data.split.validation_days" in told


def test_few_positives_are_told() -> None:
    (told,) = warnings(periods((20.0, FEW_POSITIVES - 1), (5.0, 900), (5.0, 900)))
    assert "4,999 positives" in told
    assert warnings(periods((20.0, FEW_POSITIVES), (5.0, 900), (5.0, 900))) == []


def test_periods_that_judge_nothing_are_told() -> None:
    assert "far after" in warnings(periods((900.0, 90_000), (14.0, 1), (14.0, 3)))[0]
    assert warnings(periods((90.0, 90_000), (14.0, 0), (14.0, 30_000)))[0].startswith("validation: no listener")
    assert warnings(periods((90.0, 90_000), (14.0, 9_000), (0.0, 0))) == []
    assert warnings(periods((None, 90_000), (None, 80), (None, 80))) == []


def test_where_no_instant_cuts_no_key_of_one_is_named() -> None:
    told = warnings(periods((None, 900), (None, 0), (None, 0)))
    assert len(told) == 2
    assert not any("_start" in line for line in told)
