"""Settings of episodes and evaluations; each refusal names its key."""

import pytest

from towers.errors import UserError
from towers.lifecycle.agent.trials import Evaluating
from towers.lifecycle.agent.worlds import Episodes

EPISODES = {"days": 3.0, "slate": 3, "candidates": 9, "own_pull": 5.0, "weights": {"skips": -0.1}}
EVALUATING = {"member": 4, "listeners": 9, "seeds": (1,), "worlds": None, "baselines": None, "in_worlds": None,
              "workers": None}  # fmt: skip


@pytest.mark.parametrize(
    ("made", "given", "change", "said"),
    [
        (Episodes, EPISODES, {"days": 0.0}, "days=0: must be above 0"),
        (Episodes, EPISODES, {"slate": 0}, "slate=0: must be at least 1"),
        (Episodes, EPISODES, {"candidates": 2}, "candidates=2: must be at least slate=3"),
        (Episodes, EPISODES, {"weights": {"clicks": 1.0}}, "reward.clicks: no part of the reward; there are streams"),
        (Evaluating, EVALUATING, {"listeners": 0}, "evaluate.listeners=0: must be at least one"),
        (Evaluating, EVALUATING, {"seeds": ()}, r"evaluate.seeds=\(\): must be at least one"),
        (Evaluating, EVALUATING, {"seeds": (-1,)}, r"evaluate.seeds=\[-1\]: must be 0 or more"),
        (Evaluating, EVALUATING, {"worlds": ("flat",)}, "evaluate.worlds: no 'flat'; there are satiation_half"),
        (Evaluating, EVALUATING, {"baselines": ("best",)}, "evaluate.baselines: no 'best'; there are greedy"),
        (Evaluating, EVALUATING, {"in_worlds": ("best",)}, "evaluate.in_worlds: no 'best'"),
    ],
)
def test_what_cannot_be(made, given, change, said):
    made(**given)
    with pytest.raises(UserError, match=f"^{said}"):
        made(**{**given, **change})
