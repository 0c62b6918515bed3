"""The random policy."""

import numpy as np
import pytest

from tests.contracts.policy import CANDIDATES, PolicyContract, context_of
from towers.policies.bandit.uniform import Uniform


class TestUniform(PolicyContract):
    @pytest.fixture
    def policy(self):
        return Uniform(slots=2)


def test_every_card_is_as_likely_as_any():
    slate = Uniform(slots=3).select(context_of(5), CANDIDATES, np.random.default_rng(0))
    assert slate.propensities == pytest.approx(np.tile([1 / 4, 1 / 3, 1 / 2], (5, 1)))


def test_no_slots():
    with pytest.raises(ValueError, match="slots must be at least 1, got 0"):
        Uniform(slots=0)
