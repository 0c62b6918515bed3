"""Outcomes of listeners of two invented worlds under three policies, with known differences."""

from functools import cache
from math import nan

import numpy as np

from towers.lifecycle.agent.figures import AgentEvaluation, told_of, world_figures
from towers.simulation.environment.judging import BY_DAY, FIGURES, Judged
from towers.simulation.environment.rewards import RETURN_WEIGHTS
from towers.simulation.listeners.space import Space

LISTENERS, DAYS, SLOTS = 40, 7, 10
GAIN = {"agent": 2.0, "greedy": 0.0, "random": -1.0}
"""Excess of active days over greedy's, by policy, of each listener who is not new."""


def space() -> Space:
    """Two contents in two regions."""
    return Space(
        space_id="made", content_ids=["a", "b"], vectors=np.eye(2, dtype=np.float32), region=np.array([0, 1]),
        region_names=("Slow <jazz>", "Fast folk"), artist=np.array([0, 1]), duration_ms=np.full(2, 1e5),
        released_us=np.zeros(2, np.int64), kind=np.zeros(2, int), kinds=("track",), is_playable=np.ones(2, bool),
        plays=np.ones(2),
    )  # fmt: skip


def judged(policy: str, world: str, *, scale: float = 1.0) -> Judged:
    """Returns figures of a policy: half of the listeners are new and lose a day by the agent; all others gain
    `GAIN`.
    """
    rng = np.random.default_rng(3)
    is_new = np.arange(LISTENERS) % 2 == 0
    gain = np.where(is_new, -np.abs(GAIN[policy]) / 2, GAIN[policy]) * scale
    figures = {name: np.zeros(LISTENERS) for name in FIGURES}
    figures |= {
        "active_days": 10 + rng.integers(6, size=LISTENERS) + gain, "skips": np.full(LISTENERS, 20.0),
        "clicks": np.full(LISTENERS, 50.0), "slots": np.full(LISTENERS, 60.0 * SLOTS),
        "shown_new_artists": np.where(is_new, 0.5, 0.25), "shown_popularity": np.full(LISTENERS, 1.5),
    }  # fmt: skip
    shown = np.tile([3.0, 1.0, 0.0] if policy == "agent" else [1.0, 3.0, 0.0], (LISTENERS, 1))
    by_day = {name: np.tile(np.arange(DAYS) / DAYS, (LISTENERS, 1)) for name in BY_DAY}
    before = {"plays": np.where(is_new, 0.0, 500.0), "sessions_a_week": np.full(LISTENERS, 5.0),
              "main_region": np.full(LISTENERS, 0.2)}  # fmt: skip
    return Judged(policy=policy, world=world, who=np.arange(LISTENERS), figures=figures, before=before, shown=shown,
                  streamed=shown / 4, by_day=by_day)  # fmt: skip


@cache
def evaluation() -> AgentEvaluation:
    """Returns the evaluation of the agent beside greedy and random, and in another world, where it gains half as much,
    beside greedy alone.
    """
    scales = {"as fitted": 1.0, "faster drift": 0.5}
    found = {name: [judged(policy, name, scale=scale) for policy in GAIN] for name, scale in scales.items()}
    del found["faster drift"][2]
    return AgentEvaluation(
        agent="agent", weights=RETURN_WEIGHTS, days=float(DAYS),
        worlds=tuple(world_figures(ones, "agent", f"the world {name}", RETURN_WEIGHTS) for name, ones in found.items()),
        told=tuple(told_of(one, space()) for one in found["as fitted"][:2]),
        learning={"step": [1.0, 2.0, 3.0], "return": [1.0, nan, 3.0], "skips": [1.0, nan, nan]},
    )  # fmt: skip
