"""The generated catalogue of names alone: the times of each listener rise by at least a second."""

import numpy as np

from benchmarks.data.names_world import _rising


def test_times_of_a_listener_rise_by_a_second_at_least():
    generator = np.random.default_rng(0)
    users = np.sort(generator.integers(0, 40, 500))
    seconds = generator.integers(0, 60, 500)
    expected, last = [], {}
    for user, second in zip(users.tolist(), seconds.tolist(), strict=True):
        last[user] = max(second, last.get(user, -1) + 1)
        expected.append(last[user])
    assert _rising(users, seconds).tolist() == expected


def test_times_of_ten_million_listeners_do_not_overflow():
    users = np.array([0, 148_265, 148_266, 148_266, 9_999_999])
    assert _rising(users, np.array([9, 7, 5, 5, 3])).tolist() == [9, 7, 5, 6, 3]
