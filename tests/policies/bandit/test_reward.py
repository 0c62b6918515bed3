"""What a shown card is worth."""

import numpy as np
import pyarrow as pa
import pytest

from towers.contract.impressions import IMPRESSION_SCHEMA
from towers.policies.bandit.reward import Reactions, Reward, StreamAndSave, summed

ROWS = [
    ({"clicked": True}, 0.0),
    ({"clicked": True, "played_ms": 29_999}, 0.0),
    ({"clicked": True, "played_ms": 30_000}, 0.8),
    ({"played_ms": 30_000, "skipped": False}, 0.8),
    ({"played_ms": 30_000, "skipped": True}, 0.0),
    ({"played_ms": 200_000, "saved": True}, 1.0),
    ({"saved": True}, 0.2),
    ({"finished": True}, 0.8),
    ({"finished": True, "played_ms": 20_000}, 0.0),
    ({}, 0.0),
]


def reactions(*rows):
    nobody = dict.fromkeys(IMPRESSION_SCHEMA.names)
    return Reactions.of(pa.Table.from_pylist([nobody | row for row in rows], IMPRESSION_SCHEMA))


@pytest.mark.parametrize(("row", "worth"), ROWS)
def test_by_default(row, worth):
    reward = StreamAndSave()
    assert isinstance(reward, Reward)
    assert reward.of(reactions(row)).tolist() == pytest.approx([worth])


def test_weights_and_lengths_are_keywords():
    reward = StreamAndSave(min_stream_ms=10_000, stream=0.5, save=0.5)
    rows = reactions({"played_ms": 10_000}, {"played_ms": 9_999, "saved": True}, {"played_ms": 10_000, "saved": True})
    assert reward.of(rows).tolist() == [0.5, 0.5, 1.0]


def test_clicks_are_counted_beside_it():
    rows = reactions(*(row for row, _ in ROWS))
    means = {"reward": 3.6 / 10, "streams": 4 / 10, "clicks": 3 / 10, "skips": 1 / 10, "saves": 2 / 10}
    assert summed(rows, StreamAndSave()) == pytest.approx(means)
    assert all(np.isnan(value) for value in summed(reactions(), StreamAndSave()).values())


@pytest.mark.parametrize(
    "keywords", [{"stream": 0.9, "save": 0.2}, {"stream": -0.1}, {"stream": 0.0, "save": 0.0}, {"min_stream_ms": 0}]
)
def test_worths_that_cannot_be(keywords):
    with pytest.raises(ValueError, match=r"must be"):
        StreamAndSave(**keywords)
