"""The protocol on a toy that can be solved in the head, and candidates that are refused."""

import re

import numpy as np
import pytest

from tests.contracts.policy import CANDIDATES, PolicyContract, context_of
from towers.contract.policy import Candidates, Context, Outcomes, Policy
from towers.contract.slate import Slate
from towers.policies.bandit.drawing import Draws, chances_of, places_of, rankings_of, slate_of


class MostStreamed:
    """Shows the two cards with the most streams, and any card once in five times."""

    policy_id = "most streamed"
    slots = 2

    def __init__(self) -> None:
        self._streams = np.zeros(100)

    def select(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        scores = np.broadcast_to(self._streams[candidates.content_rows], (1, len(context), len(candidates)))
        rankings = rankings_of(scores, self.slots, candidates.is_allowed)
        draws = Draws.of(generator, len(context), self.slots)
        return slate_of(rankings, draws, 0.2, candidates.content_rows, candidates.is_allowed, "home")

    def chances(self, context: Context, candidates: Candidates, shown: np.ndarray) -> np.ndarray:
        scores = np.broadcast_to(self._streams[candidates.content_rows], (1, len(context), len(candidates)))
        rankings = rankings_of(scores, self.slots, candidates.is_allowed)
        places = places_of(candidates.content_rows, shown)
        return chances_of(rankings, places, 0.2, len(candidates), candidates.is_allowed)

    def update(self, outcomes: Outcomes) -> None:
        streams = self._streams.copy()
        np.add.at(streams, outcomes.content_rows[outcomes.is_seen], outcomes.rewards[outcomes.is_seen])
        self._streams = streams

    def state(self) -> dict[str, np.ndarray]:
        return {"streams": self._streams}

    def restore(self, state) -> None:
        if "streams" not in state:
            raise ValueError("streams are missing")
        self._streams = state["streams"]


class TestMostStreamed(PolicyContract):
    @pytest.fixture
    def policy(self):
        return MostStreamed()

    def test_by_hand(self, policy):
        policy.restore({"streams": np.arange(100.0)})
        slate = policy.select(context_of(200), CANDIDATES, np.random.default_rng(0))
        best = (slate.content_rows == [30, 11]).all(axis=1)
        assert slate.propensities[best] == pytest.approx(np.tile([0.8 + 0.2 / 4, 0.8 + 0.2 / 3], (best.sum(), 1)))
        assert 0.6 < best.mean() < 0.9


class Untrue(MostStreamed):
    def select(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        slate = super().select(context, candidates, generator)
        return Slate(content_rows=slate.content_rows, propensities=slate.propensities / 2, shelf=slate.shelf)


def test_the_check_of_propensities_is_itself_checked():
    with pytest.raises(AssertionError):
        PolicyContract().test_slates_come_as_often_as_their_propensities_say(Untrue(), is_taught=False)


def test_what_lacks_a_name_is_no_policy():
    class Nameless:
        select, chances, update, state, restore = (
            MostStreamed.select, MostStreamed.chances, MostStreamed.update, MostStreamed.state, MostStreamed.restore
        )  # fmt: skip

    assert not isinstance(Nameless(), Policy)


@pytest.mark.parametrize(
    ("others", "line"),
    [
        ({"content_rows": np.array([1, 1])}, "content_rows must differ"),
        ({"kinds": np.zeros(3, np.int64)}, "2 content_rows have 3 kinds"),
        ({"is_allowed": np.ones((5, 3), dtype=bool)}, "is_allowed must be [listeners, 2], got [5, 3]"),
        ({"pairs": {"familiarity": np.ones((5, 1))}}, "familiarity must be [listeners, 2], got [5, 1]"),
    ],
)
@pytest.mark.unhooked
def test_candidates_that_will_not_do(others, line):
    whole = {"content_rows": np.array([1, 2]), "vectors": np.zeros((2, 3)), "kinds": np.zeros(2, np.int64)}
    with pytest.raises(ValueError, match=f"^{re.escape(line)}"):
        Candidates(**whole | others)
