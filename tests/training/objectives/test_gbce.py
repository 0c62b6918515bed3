"""The generalised binary cross-entropy against its paper's formula."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from tests.contracts.objective import (
    CANDIDATES,
    CONTENTS,
    TARGETS,
    CountsTheTargetOnce,
    ObjectiveContract,
    make_case,
    value_and_gradients,
)
from towers.training.objectives.gbce import GBCE
from towers.training.objectives.negatives import Uniform

POSITIVES = np.ones(CONTENTS, dtype=np.int64)
NEGATIVES, TEMPERATURE, CALIBRATION = 10, 0.3, 0.75


def make(num_negatives=NEGATIVES, calibration=CALIBRATION):
    return GBCE(Uniform(POSITIVES, num_negatives), TEMPERATURE, True, calibration)


class TestGBCE(CountsTheTargetOnce, ObjectiveContract):
    @pytest.fixture
    def objective(self):
        return make()

    def loss_of_one(self, objective, state, contents, log_q, target, heard, rejected):
        scores = contents @ state
        alpha = NEGATIVES / (CONTENTS - 1)
        beta = alpha * (CALIBRATION * (1 - 1 / alpha) + 1 / alpha)
        negatives = torch.stack([scores[c] for c in range(len(log_q)) if c != target])
        loss = -((scores[target].sigmoid() ** beta).log() + (1 - negatives.sigmoid()).log().sum())
        return loss / (NEGATIVES + 1)

    @pytest.mark.parametrize(
        ("calibration", "beta"), [(0.0, Fraction(1)), (1.0, Fraction(10, 39)), (0.5, Fraction(49, 78))]
    )
    def test_calibration_goes_from_one_to_the_share_of_negatives(self, calibration, beta):
        assert make(calibration=calibration).beta == pytest.approx(float(beta))

    def test_without_calibration_it_is_binary_cross_entropy(self):
        case = make_case().to(torch.float64)
        case = case.with_targets(weight=torch.ones(TARGETS), index=torch.arange(TARGETS))
        objective = make(calibration=0.0)
        logits = case.states @ case.contents[:CANDIDATES].T / objective.temperature.value.detach().double()
        labels = torch.eye(TARGETS, CANDIDATES, dtype=torch.float64)
        expected = binary_cross_entropy_with_logits(logits, labels, reduction="sum") / (NEGATIVES + 1)
        torch.testing.assert_close(value_and_gradients(objective, case)[0], expected, atol=1e-6, rtol=1e-6)

    @pytest.mark.parametrize("calibration", [-0.1, 1.1, float("nan")])
    def test_refuses(self, calibration):
        with pytest.raises(ValueError, match="from 0 to 1"):
            make(calibration=calibration)
