"""Inputs of linear policies: the same for shown cards and for candidates, as a matrix or multiplied by weights."""

import numpy as np
import pytest

from towers.contract.durations import HOUR_US
from towers.contract.policy import Candidates, Context, Outcomes
from towers.contract.schema import KINDS
from towers.policies.bandit.features import Features

LISTENERS, CARDS, DIM = 5, 7, 6
GENERATOR = np.random.default_rng(0)
MONDAY_US = 1_767_571_200_000_000  # 5 January 2026, midnight UTC
CONTEXT = Context(
    user_vectors=GENERATOR.normal(size=(LISTENERS, DIM)),
    segments=np.zeros(LISTENERS, dtype=np.int64),
    times_us=MONDAY_US + np.arange(LISTENERS) * 31 * HOUR_US,
)
CANDIDATES = Candidates(
    content_rows=np.arange(CARDS),
    vectors=GENERATOR.normal(size=(CARDS, DIM)),
    kinds=GENERATOR.integers(0, len(KINDS), CARDS),
    pairs={name: GENERATOR.random((LISTENERS, CARDS)) for name in ("familiarity", "recency", "unread")},
)
KEYWORDS = [
    {},
    {"has_products": False},
    {"has_times": False},
    {"projection": GENERATOR.normal(size=(DIM, 3)).tolist(), "pairs": ["recency", "familiarity"]},
]


def shown(listener, card):
    """Returns outcomes of the given listeners and cards."""
    return Outcomes(
        context=CONTEXT.of(listener),
        content_rows=CANDIDATES.content_rows[card],
        vectors=CANDIDATES.vectors[card],
        kinds=CANDIDATES.kinds[card],
        slots=np.zeros(len(card), dtype=np.int64),
        propensities=np.ones(len(card)),
        is_seen=np.ones(len(card), dtype=bool),
        rewards=np.zeros(len(card)),
        pairs={name: array[listener, card] for name, array in CANDIDATES.pairs.items()},
    )


@pytest.mark.parametrize("keywords", KEYWORDS)
def test_the_product_is_the_features_times_the_weights(keywords):
    features = Features(dim=DIM, **keywords)
    thetas = np.random.default_rng(1).normal(size=(3, len(features)))
    listener, card = (axis.ravel() for axis in np.indices((LISTENERS, CARDS)))
    rows = features.rows(shown(listener, card))
    expected = (rows @ thetas.T).T.reshape(3, LISTENERS, CARDS)
    assert features.scores(thetas, CONTEXT, CANDIDATES) == pytest.approx(expected)
    assert features.of_all(CONTEXT, CANDIDATES).reshape(rows.shape) == pytest.approx(rows)
    single = features.scores(thetas.astype(np.float32), CONTEXT, CANDIDATES)
    assert single.dtype == np.float32 or keywords.get("pairs")
    assert single == pytest.approx(expected, abs=1e-4)


def test_by_hand():
    """The time is six in the evening of a Monday: three quarters of the first circle, and three quarters of a day of
    the second.
    """
    features = Features(dim=2, projection=[[1.0], [1.0]])
    context = Context(
        user_vectors=np.array([[1.0, 2.0]]), segments=np.array([0]), times_us=np.array([MONDAY_US + 18 * HOUR_US])
    )
    cards = Candidates(content_rows=np.array([4]), vectors=np.array([[3.0, -1.0]]), kinds=np.array([1]))
    told = dict(zip(features.names, features.of_all(context, cards)[0, 0].tolist(), strict=True))
    assert told["product_0"] == (1 + 2) * (3 - 1)
    assert told["inner_product"] == 1 * 3 - 2 * 1
    assert (told["episode"], told["track"], told["one"]) == (1, 0, 1)
    assert told["hour_sin_episode"] == pytest.approx(-1)
    assert told["hour_cos_episode"] == pytest.approx(0, abs=1e-9)
    assert told["weekday_sin_episode"] == pytest.approx(np.sin(2 * np.pi * 0.75 / 7))
    assert told["hour_sin_track"] == 0


def test_other_cards_are_not_taken_for_those_before():
    features = Features(dim=DIM)
    thetas = np.ones((1, len(features)))
    features.scores(thetas, CONTEXT, CANDIDATES)
    others = Candidates(content_rows=np.array([3]), vectors=np.ones((1, DIM)), kinds=np.array([0]))
    expected = features.of_all(CONTEXT, others) @ thetas[0]
    assert features.scores(thetas, CONTEXT, others)[0] == pytest.approx(expected)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"projection must be \[3, k\], got \[2, 1\]"):
        Features(dim=3, projection=[[1.0], [1.0]])
    with pytest.raises(ValueError, match="6 columns, and the policy was made for 4"):
        Features(dim=4).scores(np.zeros((1, len(Features(dim=4)))), CONTEXT, CANDIDATES)
    with pytest.raises(ValueError, match="pair 'satiation'"):
        Features(dim=DIM, pairs=["satiation"]).of_all(CONTEXT, CANDIDATES)
