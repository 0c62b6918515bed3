"""Memory of single contents, compared with a dictionary and with ACT-R's sum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.contract.durations import HOUR_US
from towers.simulation.listeners.memory import ContentMemory

ENCOUNTERS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.booleans()), max_size=60)


def one(value: int | bool) -> np.ndarray:
    return np.array([value])


@settings(max_examples=25, deadline=None)
@given(ENCOUNTERS)
def test_a_table_with_room_remembers_what_a_dictionary_does(encounters: list[tuple[int, int, bool]]) -> None:
    memory, known = ContentMemory(3, 128), {}
    for time, (listener, content, is_skip) in enumerate(encounters):
        memory.meet(one(listener), one(content), one(time * HOUR_US), one(time // 5), one(is_skip))
        plays, skips, first, _, _, _ = known.get((listener, content), (0, 0, time, 0, 0, False))
        known[listener, content] = (plays + 1, skips + is_skip, first, time, time // 5, is_skip)
    for listener in range(3):
        place = memory.places_of(np.full(13, listener), np.arange(13))
        assert (place >= 0).tolist() == [(listener, content) in known for content in range(13)]
        for content in np.flatnonzero(place >= 0).tolist():
            at = listener, place[content]
            found = (memory.plays[at], memory.skips[at], memory.first_us[at] // HOUR_US, memory.last_us[at] // HOUR_US,
                     memory.session[at], memory.was_skipped[at])  # fmt: skip
            assert found == known[listener, content]
        met = [content for owner, content in known if owner == listener]
        listed = memory.listed(one(listener))[0]
        assert memory.content[listener, listed[listed >= 0]].tolist() == met


def test_a_full_table_forgets_what_was_met_the_longest_time_ago() -> None:
    memory = ContentMemory(1, 8)
    for content in range(9):
        memory.meet(one(0), one(content), one(content * HOUR_US), one(0), one(False))
    known = memory.places_of(one(0), np.arange(9)[None])[0] >= 0
    assert known.tolist() == [False] + [True] * 8
    assert memory.met[0] == 8


def activation(ages_hours: tuple[float, ...]) -> float:
    memory = ContentMemory(1, 8)
    for age in ages_hours:
        memory.meet(one(0), one(3), one(-int(age * HOUR_US)), one(0), one(False))
    return float(memory.activation(one(0), memory.places_of(one(0), one(3)), one(0))[0])


def test_one_encounter_counts_by_its_age() -> None:
    assert activation((4.0,)) == pytest.approx(np.log(4.0**-0.5), abs=1e-6)
    assert activation((100.0,)) == pytest.approx(np.log(0.1), abs=1e-6)


def test_two_encounters_count_a_little_more_than_the_exact_sum() -> None:
    exact = np.log(9.0**-0.5 + 4.0**-0.5)
    # The earlier one counts as the mean of the ages between the two: 2 * (3 - 2) / (9 - 4) rather than 1 / 3.
    assert activation((9.0, 4.0)) == pytest.approx(np.log(1 / 2 + 2 / 5), abs=1e-6)
    assert exact < activation((9.0, 4.0)) < exact + 0.1


def test_even_encounters_count_as_their_exact_sum() -> None:
    ages = tuple(np.arange(200, 0, -1.0) - 0.5 + 10.0)
    exact = np.log(sum(age**-0.5 for age in ages))
    assert activation(ages) == pytest.approx(exact, abs=0.01)


def test_what_was_never_met_has_no_activation() -> None:
    memory = ContentMemory(1, 8)
    assert memory.activation(one(0), memory.places_of(one(0), one(3)), one(0)).tolist() == [0.0]
