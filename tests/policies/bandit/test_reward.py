"""The reward of a shown card."""

import numpy as np
import pyarrow as pa
import pytest

from tests.retrieval.small_export import content, small_export
from towers.contract.impressions import IMPRESSION_SCHEMA
from towers.errors import UserError
from towers.policies.bandit.reward import LongTermReturn, Reactions, Reward, RewardBy, StreamAndSave, summed
from towers.retrieval.long_term import LongTerm

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


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """Three contents whose expected returns are 4, 1 and 0 days, and one hundred of 1."""
    names = ["best", "once", "never", *(f"c{row}" for row in range(100))]
    vectors = np.tile(np.eye(2, dtype=np.float32)[:1], (len(names), 1))
    found = small_export(tmp_path_factory.mktemp("worth") / "export", [content(name) for name in names], vectors)
    expected = np.array([4, 1, 0, *[1] * 100], np.float32)
    found.__dict__["long_term"] = LongTerm(
        expected=expected, deviation=expected, days=59, returns_to="artist", intercept=1.0, slope=np.zeros(2),
        prior_deviation=1.0, fitted={},
    )  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("row", "worth"),
    [
        ({"chosen_id": "best", "played_ms": 30_000}, 0.8),
        ({"chosen_id": "once", "played_ms": 30_000}, 0.2),
        ({"chosen_id": "once", "played_ms": 29_999, "clicked": True}, 0.0),
        ({"chosen_id": "once", "played_ms": 30_000, "saved": True}, 0.4),
        ({"chosen_id": "never", "finished": True}, 0.0),
        ({"chosen_id": "unknown", "finished": True}, 0.0),
        ({"chosen_id": None, "finished": True, "saved": True}, 0.2),
    ],
)
def test_a_stream_counts_by_who_comes_back(export, row, worth):
    reward = LongTermReturn(best_share=0.0).by(export)
    assert isinstance(reward, Reward)
    assert reward.of(reactions(row)).tolist() == pytest.approx([worth])
    assert reward.is_stream(reactions(row)).tolist() == StreamAndSave().is_stream(reactions(row)).tolist()


def test_an_outlier_does_not_set_the_scale(export):
    reward = LongTermReturn(best_share=0.05).by(export)
    rows = reactions(*({"chosen_id": name, "finished": True} for name in ("best", "once")))
    assert reward.of(rows).tolist() == pytest.approx([0.8, 0.8])


def test_without_a_long_term_there_is_no_such_reward(export, tmp_path):
    plain = small_export(tmp_path / "export", [content("c")], np.eye(1, dtype=np.float32))
    assert isinstance(LongTermReturn(), RewardBy)
    assert isinstance(StreamAndSave(), RewardBy)
    assert isinstance(StreamAndSave().by(plain), StreamAndSave)
    with pytest.raises(UserError, match="does not say what a listen is worth later"):
        LongTermReturn().by(plain)
    with pytest.raises(ValueError, match=r"best_share=1\.0"):
        LongTermReturn(best_share=1.0)
