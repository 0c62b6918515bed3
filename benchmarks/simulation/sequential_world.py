"""Simulated listeners who are served by a policy whose chances are known, and what of it a log holds."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from towers.contract.slate import NOTHING
from towers.evaluation.off_policy.sequential.log import SequentialLog
from towers.simulation.environment.observation import Observation
from towers.simulation.environment.rewards import PARTS
from towers.simulation.environment.world import ListeningWorld
from towers.simulation.listeners.session_log import FINISH, PARTIAL, SKIP, SessionLog, joined
from towers.simulation.listeners.space import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Slates:
    """Slates and the chance of each slot, given those before."""

    slates: Int[np.ndarray, "listeners slots"]
    propensities: Float[np.ndarray, "listeners slots"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPolicy:
    """Draws slates by Plackett-Luce among candidates, the likelier the nearer to what was played lately.

    Args:
        space: contents.
        slots: of a slate.
        sharpness: logarithm of how much likelier a content is whose cosine is greater by 1.
        known: the same for contents that the listener has played.
        mixed: chance, in each slot, that any candidate is drawn instead.
    """

    space: Space
    slots: int
    sharpness: float = 0.0
    known: float = 0.0
    mixed: float = 0.0

    def chances(
        self, seen: Observation, slates: Int[np.ndarray, "listeners slots"]
    ) -> Float[np.ndarray, "listeners slots"]:
        """Chance of each content of given slates."""
        found = np.zeros(slates.shape)
        is_open = seen["candidates"] >= 0
        for slot in range(slates.shape[1]):
            is_it = seen["candidates"] == slates[:, [slot]]
            found[:, slot] = (self._of_slot(seen, is_open) * is_it).sum(axis=1)
            is_open = is_open & ~is_it
        return found

    def draw(self, seen: Observation, rng: np.random.Generator) -> Slates:
        """Slates, and the chance of each slot; `NOTHING` where no candidate is left."""
        number = len(seen["candidates"])
        slates, propensities = np.full((number, self.slots), NOTHING), np.ones((number, self.slots))
        is_open = seen["candidates"] >= 0
        for slot in range(self.slots):
            chances = self._of_slot(seen, is_open)
            place = (rng.random((number, 1)) * chances.sum(axis=1, keepdims=True) > chances.cumsum(axis=1)).sum(axis=1)
            place = np.minimum(place, chances.shape[1] - 1)
            at = np.arange(number), place
            has_one = is_open[at]
            slates[has_one, slot] = seen["candidates"][at][has_one]
            propensities[has_one, slot] = chances[at][has_one]
            is_open[at] = False
        return Slates(slates=slates, propensities=propensities)

    def _of_slot(self, seen: Observation, is_open: np.ndarray) -> Float[np.ndarray, "listeners candidates"]:
        cosine = np.einsum("ncd,nd->nc", self.space.vectors[np.maximum(seen["candidates"], 0)], seen["taste"])
        score = self.sharpness * cosine.astype(float) + self.known * (seen["candidate_plays"] > 0)
        weight = np.where(is_open, np.exp(score - score.max(axis=1, keepdims=True)), 0.0)
        even = is_open / np.maximum(is_open.sum(axis=1, keepdims=True), 1)
        return (1 - self.mixed) * weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300) + self.mixed * even


STATES = ("plays", "skip share", "sessions", "position", "days away", "days", "skipped last")
FEATURES = ("cosine", "known", "known artist", "popularity")


def described(space: Space, seen: Observation) -> tuple[np.ndarray, np.ndarray]:
    """States of listeners and features of their candidates, for models."""
    moment, candidates = seen["moment"].astype(float), np.maximum(seen["candidates"], 0)
    position, away, days, plays, skips, sessions = (moment[:, at] for at in (0, 3, 4, 5, 6, 7))
    states = np.column_stack([
        np.log1p(plays), skips / np.maximum(plays, 1), np.log1p(sessions), np.log1p(position), np.log1p(away), days,
        seen["recent_skipped"][:, 0],
    ])  # fmt: skip
    cosine = np.einsum("ncd,nd->nc", space.vectors[candidates], seen["taste"])
    features = [
        cosine,
        seen["candidate_plays"] > 0,
        seen["candidate_artist_plays"] > 0,
        space.log_popularity[candidates],
    ]
    return states, np.stack(features, axis=-1).astype(float)


def mean_features(
    features: np.ndarray, candidates: np.ndarray, slates: np.ndarray
) -> Float[np.ndarray, "some features"]:
    """The mean of the features of each slate's contents."""
    is_shown = (candidates[:, :, None] == slates[:, None]).any(axis=2) & (candidates >= 0)
    weights = is_shown / np.maximum(is_shown.sum(axis=1, keepdims=True), 1)
    return np.einsum("sc,scf->sf", weights, features)


@dataclass(kw_only=True)
class Served:
    """Steps that a policy served, in the order in which they came.

    Args:
        rows: listeners of each step.
        seen: before it.
        shown: in it.
        parts: what came of it.
        plays: columns of a `SessionLog`.
    """

    rows: list[np.ndarray]
    seen: list[Observation]
    shown: list[Slates]
    parts: list[dict[str, np.ndarray]]
    plays: list[dict[str, np.ndarray]]


def served(world: ListeningWorld, policy: NearPolicy, seed: int, most_steps: int | None = None) -> Served:
    """Lets a policy serve all listeners for an episode, or for a number of steps."""
    rng = np.random.default_rng([seed, 33])
    world.reset(np.arange(len(world)), np.random.default_rng([seed, 32]))
    found = Served(rows=[], seen=[], shown=[], parts=[], plays=[])
    rows, state = np.arange(len(world)), world.listeners.state
    while len(rows) and (most_steps is None or len(found.rows) < most_steps):
        seen = world.observe(rows)
        shown = policy.draw(seen, rng)
        before = {"start_us": state.now_us[rows].copy()}
        before |= {"session": state.sessions[rows].astype(np.int64), "context": state.context[rows].astype(np.int64)}
        before |= {"device": state.device[rows].astype(np.int64)}
        step = world.step(rows, shown.slates)
        found.rows.append(rows)
        found.seen.append(seen)
        found.shown.append(shown)
        found.parts.append(step.parts)
        played_us = state.ended_us[rows] - before["start_us"]
        outcome = np.where(step.parts["skips"] > 0, SKIP, np.where(step.parts["finishes"] > 0, FINISH, PARTIAL))
        found.plays.append(before | {
            "listener": rows, "content": step.content, "outcome": outcome.astype(np.int8),
            "fraction": (played_us / 1_000 / world.space.duration_ms[step.content]).astype(np.float32),
            "liked": step.parts["likes"] > 0, "saved": step.parts["saves"] > 0, "disliked": np.zeros(len(rows), bool),
        })  # fmt: skip
        rows = rows[~(step.terminated | step.truncated)]
    return found


def sequential_log(
    found: Served, space: Space, new: NearPolicy, weights: dict[str, float], draws: int = 4, seed: int = 0
) -> SequentialLog:
    """Returns what was served as a log that is judged for another policy."""
    rng = np.random.default_rng([seed, 34])
    pieces = []
    for step, (rows, seen, shown, parts) in enumerate(
        zip(found.rows, found.seen, found.shown, found.parts, strict=True)
    ):
        states, features = described(space, seen)
        drawn = [mean_features(features, seen["candidates"], new.draw(seen, rng).slates) for _ in range(draws)]
        pieces.append((
            rows, np.full(len(rows), step), shown.propensities.prod(axis=1),
            np.minimum(new.chances(seen, shown.slates).prod(axis=1), 1.0),
            np.stack([parts[name] for name in PARTS], axis=1).astype(float), states,
            mean_features(features, seen["candidates"], shown.slates), np.mean(drawn, axis=0),
        ))  # fmt: skip
    rows, steps, old, chances, parts, states, actions, new_actions = (
        np.concatenate(column) for column in zip(*pieces, strict=True)
    )
    return SequentialLog(
        listeners=rows, steps=steps, propensities=old, new_propensities=chances,
        parts=dict(zip(PARTS, parts.T, strict=True)), reward_weights=weights, states=states, actions=actions,
        new_actions=new_actions,
    )  # fmt: skip


def session_log(
    found: Served, user_ids: tuple[str, ...], contexts: tuple[str, ...], devices: tuple[str, ...]
) -> SessionLog:
    """The plays of what was served."""
    parts = {name: [piece[name] for piece in found.plays] for name in found.plays[0]}
    return joined(parts, user_ids, contexts, devices)
