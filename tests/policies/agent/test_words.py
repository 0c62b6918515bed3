"""Reasons of an agent's picks."""

import numpy as np
import pytest

from tests.policies.agent.invented import agent, listeners
from towers.policies.agent.features import FEATURES
from towers.policies.agent.words import PHRASES, picks_of, reason_of


def of(**values):
    """Returns a value for each feature, 0 where none is given."""
    return np.array([values.get(name, 0.0) for name in FEATURES])


def test_every_feature_has_words():
    assert [*PHRASES] == [*FEATURES]


@pytest.mark.parametrize(
    ("pick", "weights", "words"),
    [
        (
            {"new_artist": 1, "relevance": 0.9, "long_term": 4},
            {"new_artist": 1, "relevance": 1, "long_term": 0.1},
            "a new artist for you, near what you played lately, others came back to it for long",
        ),
        ({"satiation": 0}, {"satiation": -1}, "from a corner that you have not had too much of"),
        ({"popularity": 2}, {"popularity": -1, "chance": 1}, "as good as any of the others"),
        ({"chance": 0.9}, {"chance": 2}, "you are likely to hear it out"),
        ({"chance": 0.9, "newness": 1}, {"chance": 2, "newness": 0.5}, "just released"),
    ],
)
def test_what_raised_the_score_is_said(pick, weights, words):
    """The mean candidate has half an artist that is new, likeness of .5, and some satiation."""
    mean = of(new_artist=0.5, relevance=0.5, long_term=1, satiation=0.6, popularity=0.0)
    features = mean.copy()
    for name, value in pick.items():
        features[FEATURES.index(name)] = value
    assert reason_of(features, mean, of(**weights)).words == words


def test_what_says_the_same_is_said_once():
    """A known piece is near in three ways, and known in two."""
    nothing, weights = of(), of(relevance=1, nearest_recent=2, last_relevance=1, familiarity=1, is_known=3)
    pick = of(relevance=1, nearest_recent=1, last_relevance=1, familiarity=1, is_known=1)
    assert reason_of(pick, nothing, weights).words == "close to something you played lately, you know it"


def test_shares_sum_to_the_score():
    rng = np.random.default_rng(0)
    features, mean, weights = rng.normal(size=(3, len(FEATURES)))
    shares = reason_of(features, mean, weights).shares
    assert sum(shares.values()) == pytest.approx(features @ weights - mean @ weights)


def test_the_shares_of_a_pick_are_its_score_exactly():
    policy, seen = agent(), listeners(20)
    scores = policy.scores(policy.features(seen), seen)
    slots = policy.slot_by_slot(scores, seen)
    for row, picks in enumerate(picks_of(policy, seen)):
        assert [pick.content_row for pick in picks] == policy.act(seen)[row].tolist()
        mean = scores[row][np.isfinite(scores[row])].mean()
        for slot, pick in zip(slots, picks, strict=True):
            at = row, slot.place[row]
            assert pick.score == pytest.approx(slot.scores[at] - mean, abs=1e-4)
            assert pick.propensity == pytest.approx(slot.propensities()[row])
            assert sum(pick.reason.shares.values()) == pick.score
    assert any("artist_again" in pick.reason.shares for picks in picks_of(policy, seen) for pick in picks)
