"""Drift of vectors, by hand."""

import math

import pytest
import torch

from towers.training.staleness import Staleness


def figures(*parts):
    staleness = Staleness(torch.device("cpu"))
    for before, after in parts:
        staleness.add(torch.tensor(before, dtype=torch.float32), torch.tensor(after, dtype=torch.float32))
    return staleness.figures()


def test_angles_by_hand():
    """The angles are 60, 180 and 0 degrees; lengths do not count."""
    found = figures(([[1, 0], [0, 2], [3, 3]], [[0.5, math.sqrt(0.75)], [0, -5], [1, 1]]))
    assert found["audio/staleness"] == pytest.approx((0.5 + 2 + 0) / 3)
    assert found["audio/staleness_max"] == pytest.approx(2)


def test_vectors_of_zeros_have_not_drifted_from_each_other():
    assert figures(([[0, 0]], [[0, 0]])) == {"audio/staleness": 0, "audio/staleness_max": 0}


def test_small_angles_do_not_drown_in_rounding():
    """The cosine itself would be 1 in float32."""
    angle = 1e-4
    found = figures(([[1, 0]], [[math.cos(angle), math.sin(angle)]]))
    assert found["audio/staleness"] == pytest.approx(angle**2 / 2, rel=1e-3)


def test_parts_add_up_to_the_whole():
    generator = torch.Generator().manual_seed(0)
    before, after = (torch.randn(11, 3, generator=generator).tolist() for _ in range(2))
    whole = figures((before, after))
    cut = figures(*((before[part], after[part]) for part in (slice(0, 5), slice(5, 10), slice(10, 11))))
    assert cut == pytest.approx(whole)


def test_without_sound_there_is_nothing_to_say():
    assert figures() == {}
    empty = Staleness(torch.device("cpu"))
    empty.add(torch.zeros(0, 3), torch.zeros(0, 3))
    assert empty.figures() == {}
