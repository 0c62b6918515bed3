from dataclasses import replace

import numpy as np
import pytest

from towers.contract.durations import DAY_US
from towers.errors import UserError
from towers.lifecycle.simulator.parts import HeldOut, checked_part, coded_as, fitted_part
from towers.simulation.listeners.session_log import FINISH, joined

HELD_OUT = HeldOut(share=0.3, seed=0)


@pytest.fixture(scope="module")
def log():
    """Makes forty listeners with a session of two plays on each of ten days; the last one begins on the fifth."""
    number, days = 40, 10
    listener, day, play = (axis.ravel() for axis in np.mgrid[:number, :days, :2])
    is_there = (listener < number - 1) | (day >= 5)
    listener, day, play = listener[is_there], day[is_there], play[is_there]
    plays = len(listener)
    no = np.zeros(plays, bool)
    return joined(
        {
            "listener": [listener], "content": [play], "start_us": [day * DAY_US + play], "session": [day],
            "outcome": [np.full(plays, FINISH, np.int8)], "fraction": [np.ones(plays, np.float32)],
            "liked": [no], "saved": [no], "disliked": [no], "context": [listener * 0], "device": [listener * 0],
        },
        tuple(f"u{row}" for row in range(number)), ("home",), ("phone",),
    )  # fmt: skip


def test_a_fit_and_its_check_share_neither_listener_nor_time(log):
    fitted, checked = fitted_part(log, HELD_OUT, 6 * DAY_US), checked_part(log, HELD_OUT, 6 * DAY_US, None)
    assert not {*fitted.user_ids} & {*checked.real.user_ids}
    assert {*fitted.user_ids} | {*checked.real.user_ids} == {*log.user_ids}
    assert fitted.start_us.max() < checked.begin_us == checked.real.start_us.min() == 6 * DAY_US
    assert checked.real.start_us.max() + 1 == checked.end_us
    assert checked.before.start_us.max() < checked.begin_us
    assert checked.before.user_ids == checked.real.user_ids
    assert len(fitted) + len(checked.before) + len(checked.real) < len(log)  # others' later time is in none


def test_a_session_is_whole_where_it_begins_before(log):
    fitted = fitted_part(log, HELD_OUT, 6 * DAY_US + 1)
    assert (fitted.session_lengths == 2).all()
    assert fitted.start_us.max() == 6 * DAY_US + 1


def test_a_check_that_ends_earlier(log):
    checked = checked_part(log, HELD_OUT, 6 * DAY_US, 8 * DAY_US)
    assert checked.end_us == 8 * DAY_US
    assert checked.real.start_us.max() == 7 * DAY_US + 1


def test_a_listener_who_comes_later_is_not_fitted_to(log):
    assert not HELD_OUT.among(("u39",)).any()
    assert "u39" not in fitted_part(log, HELD_OUT, 5 * DAY_US).user_ids
    assert "u39" in fitted_part(log, HELD_OUT, 5 * DAY_US + 1).user_ids


def test_codes_follow_the_names_that_a_simulator_knows(log):
    code = np.arange(len(log)) % 4
    code[5] = 0
    named = replace(log, context=code, contexts=("album", "home", "new", "radio"))
    told = coded_as(named, ("radio", "home", "album"), ("speaker", "phone"))
    assert told.context[:4].tolist() == [2, 1, 2, 0]  # `new` is not known, and `album` the most frequent
    assert (told.device == 1).all()
    assert told.devices == ("speaker", "phone")


@pytest.mark.parametrize(("begin_us", "end_us"), [(10 * DAY_US, None), (6 * DAY_US, 6 * DAY_US), (20 * DAY_US, 9)])
def test_a_period_without_plays(log, begin_us, end_us):
    with pytest.raises(UserError, match=r"^store: no held-out listener plays from 1970"):
        checked_part(log, HELD_OUT, begin_us, end_us)


def test_too_few_who_played_before_and_in_the_period(log):
    enough, few = (log.of_listeners(np.arange(len(log.user_ids)) < number) for number in (25, 23))
    assert len(checked_part(enough, HELD_OUT, 6 * DAY_US, None).real.user_ids) == 10
    with pytest.raises(UserError, match=r"^store: 9 held-out listeners play both before .* and a check needs 10;"):
        checked_part(few, HELD_OUT, 6 * DAY_US, None)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_leaves_nobody(share):
    with pytest.raises(UserError, match=r"^held_out\.share="):
        HeldOut(share=share)
