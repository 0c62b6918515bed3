"""Tests of the k-core filter against one that removes listeners and contents one after the other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.filters.some_histories import CONTENTS, cut_listeners, histories_of
from towers.data.filters.k_core import KCore
from towers.errors import UserError


def core(pairs: list[tuple[int, int]], per_listener: int, per_content: int) -> tuple[set[int], set[int]]:
    """Finds the k-core by removing one listener or content after the other."""
    while True:
        few = {("u", user) for user, _ in pairs if sum(other == user for other, _ in pairs) < per_listener}
        few |= {("c", row) for _, row in pairs if sum(other == row for _, other in pairs) < per_content}
        if not few:
            return {user for user, _ in pairs}, {row for _, row in pairs}
        pairs = [(user, row) for user, row in pairs if ("u", user) not in few and ("c", row) not in few]


@given(drawn=cut_listeners(), per_listener=st.integers(1, 4), per_content=st.integers(1, 4))
def test_is_what_taking_out_one_by_one_leaves(drawn, per_listener, per_content):
    listeners, cuts, _ = drawn
    whole = histories_of(listeners, cuts)
    pairs = [
        (user, row)
        for user, (one, cut) in enumerate(zip(listeners, cuts, strict=True))
        for row, _, is_positive in one[: cut[0]]
        if is_positive
    ]
    users, rows = core(pairs, per_listener, per_content)
    expected = [user in users and (row < 0 or row in rows) for user, one in enumerate(listeners) for row, _, _ in one]
    assert KCore(per_listener, per_content).keep(whole, CONTENTS).tolist() == expected


def test_whoever_is_known_later_alone_is_left_out_of_every_period():
    chosen = [(row, "play", True) for row in (0, 1)]
    whole = histories_of([chosen * 2, [(0, "skip", False), *chosen, (1, "play", True)]], [[4] * 4, [1] * 4])
    assert KCore(2, 2).keep(whole, CONTENTS).tolist() == [True] * 4 + [False] * 4


@given(drawn=cut_listeners(), seed=st.integers(0, 9))
def test_later_events_decide_nothing(drawn, seed):
    listeners, cuts, _ = drawn
    whole = histories_of(listeners, cuts)
    draws = np.random.default_rng(seed)
    later = [
        [*one[: cut[0]], *((int(draws.integers(CONTENTS)), "like", True) for _ in one[cut[0] :])]
        for one, cut in zip(listeners, cuts, strict=True)
    ]
    is_training = np.concatenate([np.arange(len(one)) < cut[0] for one, cut in zip(listeners, cuts, strict=True)])
    kept, other = (KCore(2, 2).keep(histories, CONTENTS) for histories in (whole, histories_of(later, cuts)))
    assert kept[is_training].tolist() == other[is_training].tolist()


@pytest.mark.parametrize("key", ["min_positives_per_listener", "min_positives_per_content"])
def test_a_number_below_1_is_refused_with_its_key(key):
    with pytest.raises(UserError, match=rf"data\.filters\.k_core\.{key}=0"):
        KCore(**{key: 0})
