"""Distances between contents, by audience and by ear, on the golden export."""

from pathlib import Path

import numpy as np
import pytest

from towers.contract import schema
from towers.policies.journey.apart import Apart, blended
from towers.retrieval.export import Export

GOLDEN = Path(__file__).parents[2] / "golden" / "format-4" / "export"


@pytest.fixture(scope="module")
def export() -> Export:
    return Export(GOLDEN, check_files=False)


def test_random_pairs_are_one_apart(export):
    apart, playable = Apart(export), np.flatnonzero(export.catalogue.of_kinds(schema.PLAYABLE_KINDS))
    vectors = export.vectors[playable].astype(np.float64)
    others = ~np.eye(len(playable), dtype=bool)
    by_hand = (1 - vectors @ vectors.T)[others].mean()
    far = apart.audience_from(vectors.astype(np.float32), playable)[others]
    assert far.mean() == pytest.approx(1, abs=0.02)  # the unit is measured on a sample of all pairs
    assert far == pytest.approx((1 - vectors @ vectors.T)[others] / by_hand, rel=0.03, abs=1e-6)


def test_by_ear_is_known_where_both_have_sound(export):
    apart, rows = Apart(export), np.arange(len(export.contents))
    far, has_sound = apart.by_ear(rows, rows), apart.sound(rows).any(axis=1)
    assert has_sound.any()
    assert not has_sound.all()
    assert np.isfinite(far).tolist() == (has_sound[:, None] & has_sound).tolist()
    assert np.diagonal(far)[has_sound] == pytest.approx(0, abs=1e-2)  # sounds are in float16


def test_neighbours_by_co_listening_are_nearer_by_their_weight_in_both_directions(export):
    apart, near = Apart(export), export.co_listening
    row = int(np.flatnonzero(near.weights[:, 0] > 0)[0])
    other = int(near.rows[row, 0])
    back = near.weights[other][near.rows[other] == row]
    weight = max(float(near.weights[row, 0]), float(back.max(initial=0)))
    plain = apart.audience_from(export.vectors[[row]], np.array([other]))[0, 0]
    for pair in ((row, other), (other, row)):
        found = apart.by_audience(*(np.array([one]) for one in pair))[0, 0]
        assert found == pytest.approx(plain * (1 - weight))


def test_where_there_is_no_sound_the_audience_stands_for_both():
    audience, ear = np.array([[1.0, 2.0]]), np.array([[0.5, np.nan]])
    assert blended(audience, ear, 0.25).tolist() == [[0.875, 2.0]]
