import numpy as np
import pytest

from tests.contracts.ranker import CollaborativeRankerContract, make_task
from towers.contract.durations import MINUTE_US
from towers.evaluation.baselines.sessions import SessionCooccurrence
from towers.features.ragged import Ragged


def scored(history: list[int], histories: list[list[int]], minutes: list[int] | None, num_contents: int, **settings):
    """Returns the scores of one listener who has heard `history`."""
    task = make_task([history], [[0]], num_contents)
    times_us = None if minutes is None else np.array(minutes) * MINUTE_US
    scorer = SessionCooccurrence(task, Ragged.from_lists(histories), times_us, **settings)
    return scorer.scores(np.array([0]))[0]


class TestSessionCooccurrence(CollaborativeRankerContract):
    @pytest.fixture
    def build(self):
        return lambda task, histories: SessionCooccurrence(task, histories, None)

    def test_a_longer_gap_or_another_listener_ends_a_session(self):
        # Sessions: 0 1 | 0 2 | 1 3. Content 0 stands in two of them, with 1 (in two) once and with 2 (in one) once.
        scores = scored([0], [[0, 1, 0, 2], [1, 3]], [0, 30, 61, 61, 61, 61], 4)
        np.testing.assert_allclose(scores, [0, 1 / 2, 1 / np.sqrt(2), 0], rtol=1e-6)
        longer = scored([0], [[0, 1, 0, 2], [1, 3]], [0, 30, 61, 61, 61, 61], 4, gap_minutes=31.0)
        np.testing.assert_allclose(longer, [0, 1 / np.sqrt(2), 1, 0], rtol=1e-6)

    def test_windows_where_there_is_no_clock(self):
        # Windows: 0 1 | 2 | 1 2.
        scores = scored([1], [[0, 1, 2], [1, 2]], None, 3, window=2)
        np.testing.assert_allclose(scores, [1 / np.sqrt(2), 0, 1 / 2], rtol=1e-6)

    def test_the_last_events_count_alone(self):
        # Sessions: 0 1 and 2 3.
        histories = [[0, 1], [2, 3]]
        assert scored([0, 2], histories, None, 4, recent=1).tolist() == [0, 0, 0, 1]
        assert scored([0, 2], histories, None, 4, recent=2).tolist() == [0, 1, 0, 1]

    @pytest.mark.parametrize("setting", [{"gap_minutes": 0.0}, {"window": 0}, {"recent": 0}, {"neighbours": 0}])
    def test_refuses_settings_out_of_range(self, task, setting):
        with pytest.raises(ValueError, match="at least 1"):
            SessionCooccurrence(task, task.histories, None, **setting)
