"""The slots that a listener looked at, inferred from his streams."""

import numpy as np
import pytest

from towers.policies.bandit.cascade import Cascade, everything

NOTHING = [0, 0, 0, 0, 0, 0]
REWARDS = np.array([NOTHING, [0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0], [1, 0, 0, 0.3, 0, 0], [0, 0, 0, 0, 0, 1]], float)


def test_the_first_are_seen_and_the_rest_up_to_the_last_stream():
    assert Cascade(always=3)(REWARDS).sum(axis=1).tolist() == [3, 3, 5, 4, 6]
    assert Cascade(always=1)(REWARDS).sum(axis=1).tolist() == [1, 2, 5, 4, 6]
    assert (np.diff(Cascade(always=2)(REWARDS).astype(int), axis=1) <= 0).all(), "seen slots stand before unseen ones"


def test_a_slate_without_a_stream_may_count_as_looked_through():
    assert Cascade(always=3, without_stream="all")(REWARDS).sum(axis=1).tolist() == [6, 3, 5, 4, 6]


def test_without_a_model_everything_is_seen():
    assert everything(REWARDS).all()


def test_short_slates():
    assert Cascade(always=3)(np.zeros((2, 2))).all()
    assert Cascade(always=3)(np.zeros((2, 0))).shape == (2, 0)


def test_wrong_keywords():
    with pytest.raises(ValueError, match="always"):
        Cascade(always=0)
