"""An agent's features by hand, its chances, and the effect of a penalty and a temperature."""

from dataclasses import replace

import numpy as np
import pytest

from tests.policies.agent.invented import CANDIDATES, CONTENTS, Invented, listeners
from towers.errors import UserError
from towers.policies.agent.features import CONTEXT, FEATURES, FeatureReader, context_of
from towers.policies.agent.policy import READ, AgentPolicy, Chance, no_weights
from towers.policies.agent.slates import Penalties


def policy(**settings) -> AgentPolicy:
    rng = np.random.default_rng(3)
    chance = Chance(weights=rng.normal(size=len(READ)), of_context=rng.normal(size=len(CONTEXT)))
    made = {
        "contents": Invented(), "weights": rng.normal(size=(len(CONTEXT), len(FEATURES))), "chance": chance,
        "long_term": rng.normal(size=CONTENTS), "slots": 4, "penalties": Penalties(artist=0.5, region=0.3),
    }  # fmt: skip
    return AgentPolicy(**made | settings)


def test_features_are_what_they_say():
    contents, seen = Invented(), listeners(3)
    found = FeatureReader(contents, recovery_hours=2.0, long_term=np.arange(CONTENTS, dtype=float)).of(seen)
    read = dict(zip(FEATURES, np.moveaxis(found, -1, 0), strict=True))
    listener, place = 1, 4
    content = seen["candidates"][listener, place]
    recent, skipped = seen["recent"][listener], seen["recent_skipped"][listener] > 0
    cosines = contents.vectors[recent] @ contents.vectors[content]
    weight = np.where(skipped, 0.1, 1.0)
    same = contents.region[recent] == contents.region[content]
    expected = {
        "relevance": contents.vectors[content] @ seen["taste"][listener], "nearest_recent": cosines.max(),
        "last_relevance": cosines[:3].mean(), "long_term": float(content),
        "satiation": (weight * np.exp(-seen["recent_hours"][listener] / 2.0))[same].sum(),
        "region_share": weight[same].sum() / weight.sum(), "recent": float(content in recent),
        "familiarity": np.log1p(seen["candidate_plays"][listener, place]),
        "newness": np.exp(-seen["candidate_age_days"][listener, place] / 14.0),
    }  # fmt: skip
    for name, value in expected.items():
        assert read[name][listener, place] == pytest.approx(value, abs=1e-5), name
    assert np.array_equal(read["new_artist"][1:], seen["candidate_artist_plays"][1:] == 0)
    assert not found[0, -1].any()
    assert context_of(seen)[:, 0] == pytest.approx(1.0)


def test_chances_of_a_slate_are_those_with_which_it_was_drawn():
    made, seen = policy(temperature=0.7), listeners(5)
    drawn = made.draw(seen, np.random.default_rng(4))
    assert np.array_equal(made.chances(seen, drawn.slates), drawn.propensities)
    assert (drawn.propensities > 0).all()
    assert (drawn.propensities <= 1).all()
    for row in drawn.slates:
        assert len({*row.tolist()}) == 4


def test_the_colder_it_is_the_surer_is_the_best_slate():
    made, seen = policy(temperature=1e-4), listeners(5)
    assert np.array_equal(made.draw(seen, np.random.default_rng(4)).slates, made.act(seen))


def test_listeners_are_served_alone_as_in_company():
    made, seen = policy(), listeners(70)
    alone = [made.act({name: column[row : row + 1] for name, column in seen.items()})[0] for row in (0, 1, 69)]
    assert np.array_equal(made.act(seen)[[0, 1, 69]], alone)


def test_a_content_that_is_no_candidate_has_no_chance():
    seen = listeners(2)
    outside = next(row for row in range(CONTENTS) if row not in seen["candidates"][1])
    slates = seen["candidates"][:, :4].astype(np.int64)
    slates[1, 2] = outside
    with pytest.raises(UserError, match=f"content row {outside} "):
        policy().chances(seen, slates)


def test_without_weights_all_candidates_are_alike():
    made = replace(policy(), weights=no_weights(), penalties=Penalties())
    drawn = made.draw(listeners(2), np.random.default_rng(0))
    # The first listener has an empty place.
    assert drawn.propensities[0] == pytest.approx(1.0 / (CANDIDATES - 1 - np.arange(4)), rel=1e-5)
    assert drawn.propensities[1] == pytest.approx(1.0 / (CANDIDATES - np.arange(4)), rel=1e-5)
