"""Episodes that a policy serves in a simulated world, with what a learner needs of each step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.contract.durations import DAY_US
from towers.policies.agent.features import FEATURES, TRIED_PLAYS, context_of
from towers.policies.agent.policy import AgentPolicy
from towers.policies.agent.slates import Slot
from towers.simulation.environment.observation import MOMENT, Observation
from towers.simulation.environment.rewards import PARTS
from towers.simulation.environment.world import ListeningWorld, Step
from towers.training.agent.credit import Credit
from towers.training.agent.serving import seen_of

_SATIATION, _TRIED = FEATURES.index("satiation"), FEATURES.index("tried_artist")


@dataclass(frozen=True, slots=True, kw_only=True)
class Episodes:
    """Steps of listeners' episodes, sorted by listener, then time.

    Args:
        row: `[steps]`, row of the listener in the world.
        now_us: `[steps]`, start of the step, microseconds since the epoch.
        context: `[steps, CONTEXT]`, the policy's context of the listener.
        known: `[steps, known]`, input of the critic, see `known_of`.
        gradient: `[steps, columns]`, gradient of the choices, see `Credit.of`.
        counts: `[steps]`, weight of each gradient, see `Credit.of`.
        is_picked: `[steps]`, whether the played content was in the slate.
        streams: `[steps]`, like all fields below a part of the reward, see `rewards.PARTS`.
        finishes: see `rewards.PARTS`.
        saves: see `rewards.PARTS`.
        likes: see `rewards.PARTS`.
        skips: see `rewards.PARTS`.
        active_days: see `rewards.PARTS`.
        adopted_artists: see `rewards.PARTS`.
        kept_artists: see `rewards.PARTS`.
    """

    row: Int[np.ndarray, " steps"]
    now_us: Int[np.ndarray, " steps"]
    context: Float[np.ndarray, "steps context"]
    known: Float[np.ndarray, "steps known"]
    gradient: Float[np.ndarray, "steps columns"]
    counts: Float[np.ndarray, " steps"]
    is_picked: Bool[np.ndarray, " steps"]
    streams: Int[np.ndarray, " steps"]
    finishes: Int[np.ndarray, " steps"]
    saves: Int[np.ndarray, " steps"]
    likes: Int[np.ndarray, " steps"]
    skips: Int[np.ndarray, " steps"]
    active_days: Int[np.ndarray, " steps"]
    adopted_artists: Int[np.ndarray, " steps"]
    kept_artists: Int[np.ndarray, " steps"]

    def __len__(self) -> int:
        return len(self.row)

    @property
    def goes_on(self) -> Bool[np.ndarray, " steps"]:
        """True where the next row is the next step of the same listener."""
        return np.append(self.row[1:] == self.row[:-1], False)

    def figures(self, num_listeners: int) -> dict[str, float]:
        """Returns means per listener's episode, by name."""
        found = {name: float(getattr(self, name).sum()) / num_listeners for name in PARTS}
        return found | {"clicks": float(self.is_picked.sum()) / num_listeners, "plays": len(self) / num_listeners}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A step of all listeners whose episodes are still running.

    Args:
        rows: rows of the listeners in the world.
        observation: observation before the step.
        features: features of the candidates.
        context: the policy's context of the listeners.
        slots: slots of the slates, in order.
        places: `[listeners, slots]`, places of the shown contents among the candidates.
        now_us: start of the step, microseconds since the epoch.
        step: result of the step.
        slot: `[listeners]`, slot of the picked content; -1 where the listener chose a content outside the slate.
    """

    rows: Int[np.ndarray, " listeners"]
    observation: Observation
    features: Float[np.ndarray, "listeners candidates features"]
    context: Float[np.ndarray, "listeners context"]
    slots: list[Slot]
    places: Int[np.ndarray, "listeners slots"]
    now_us: Int[np.ndarray, " listeners"]
    step: Step
    slot: Int[np.ndarray, " listeners"]


def turns(world: ListeningWorld, policy: AgentPolicy, seed: Sequence[int]) -> Iterator[Turn]:
    """Lets a policy serve an episode of every listener of a world, turn by turn.

    Args:
        world: world of listeners.
        policy: policy that draws the slates.
        seed: seed of the listeners and of all random draws.
    """
    world.reset(np.arange(len(world)), np.random.default_rng([*seed, 0]))
    rng = np.random.default_rng([*seed, 1])
    is_on = np.ones(len(world), bool)
    while is_on.any():
        rows = np.flatnonzero(is_on)
        observation = world.observe(rows)
        seen = seen_of(observation)
        features, context = policy.features(seen), context_of(seen)
        slots = policy.slot_by_slot(policy.scores(features, seen), seen, rng)
        places = np.stack([slot.place for slot in slots], axis=1)
        slates = np.take_along_axis(seen["candidates"], places, axis=1).astype(np.int64)
        now_us = world.now_us[rows].copy()
        step = world.step(rows, slates)
        slot = np.where(step.is_own, -1, (slates == step.content[:, None]).argmax(axis=1))
        yield Turn(
            rows=rows, observation=observation, features=features, context=context, slots=slots, places=places,
            now_us=now_us, step=step, slot=slot,
        )  # fmt: skip
        is_on[rows] = ~(step.terminated | step.truncated)


def play(world: ListeningWorld, policy: AgentPolicy, credit: Credit, seed: Sequence[int]) -> Episodes:
    """Lets a policy serve an episode of every listener of a world and collects the steps; see `turns`.

    Args:
        world: world of listeners.
        policy: policy that draws the slates.
        credit: rule that assigns credit to choices.
        seed: seed of the listeners and of all random draws.
    """
    found: list[dict[str, np.ndarray]] = []
    for turn in turns(world, policy, seed):
        gradient, counts = credit.of(turn.slots, turn.features, turn.slot)
        found.append(
            {
                "row": turn.rows, "now_us": turn.now_us, "context": turn.context,
                "known": known_of(turn.observation, turn.features, (world.end_us - turn.now_us) / DAY_US),
                "gradient": gradient, "counts": counts, "is_picked": turn.slot >= 0,
                **{name: turn.step.parts[name] for name in PARTS},
            }
        )  # fmt: skip
    columns = {each.name: np.concatenate([one[each.name] for one in found]) for each in fields(Episodes)}
    order = np.lexsort((columns["now_us"], columns["row"]))
    return Episodes(**{name: column[order] for name, column in columns.items()})


def known_of(
    observation: Observation,
    features: Float[np.ndarray, "listeners candidates features"],
    days_left: Float[np.ndarray, " listeners"],
) -> Float[np.ndarray, "listeners known"]:
    """Returns the critic's input: predictors of the rest of an episode that a service could know, float64."""
    moment = {name: observation["moment"][:, place].astype(float) for place, name in enumerate(MOMENT)}
    position = moment["position"]
    is_here = np.arange(observation["recent"].shape[1]) < position[:, None]
    skipped = ((observation["recent_skipped"] > 0) & is_here).sum(axis=1) / np.maximum(is_here.sum(axis=1), 1)
    lately = (observation["recent_skipped"][:, :5] > 0).mean(axis=1)
    heard = observation["candidate_artist_plays"]
    is_tried = (heard > 0) & (heard <= TRIED_PLAYS)
    hour = moment["hour"] * (2.0 * np.pi / 24.0)
    columns = (
        np.ones(len(position)), days_left, np.exp(-days_left / 3.0), np.exp(-days_left), np.exp(-position / 4.0),
        np.exp(-position / 15.0), skipped, skipped * np.minimum(position, 10.0) / 10.0, lately,
        np.log1p(moment["sessions"]), moment["skips"] / np.maximum(moment["plays"], 1.0),
        np.minimum(moment["days_away"], 7.0), features[..., _SATIATION].mean(axis=1),
        np.minimum(features[..., _TRIED].sum(axis=1), 10.0), np.minimum(is_tried.sum(axis=1), 20.0), np.cos(hour),
        np.sin(hour),
    )  # fmt: skip
    return np.stack(columns, axis=1)
