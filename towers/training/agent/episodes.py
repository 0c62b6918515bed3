"""Episodes that a policy serves in a simulated world, and what learning needs of each step."""

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
    """Steps of listeners' episodes, by listener and then by time.

    Args:
        row: `[steps]`, of the listener.
        now_us: `[steps]`, when it began.
        context: `[steps, CONTEXT]`.
        known: `[steps, known]`, what a critic reads.
        gradient: `[steps, columns]`, see `Credit`.
        counts: `[steps]`, what each gradient counts, see there.
        is_picked: `[steps]`, whether what was played stood in the slate.
        streams: `[steps]`, this and what follows: parts of the reward (`rewards.PARTS`).
        finishes: see there.
        saves: see there.
        likes: see there.
        skips: see there.
        active_days: see there.
        adopted_artists: see there.
        kept_artists: see there.
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
        """Whether the next row is the same listener's next step."""
        return np.append(self.row[1:] == self.row[:-1], False)

    def figures(self, num_listeners: int) -> dict[str, float]:
        """Means of a listener's episode, by name."""
        found = {name: float(getattr(self, name).sum()) / num_listeners for name in PARTS}
        return found | {"clicks": float(self.is_picked.sum()) / num_listeners, "plays": len(self) / num_listeners}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A step of all listeners whose episodes go on.

    Args:
        rows: of the listeners.
        observation: before the step.
        features: of the candidates.
        context: of the listeners.
        slots: of the slates.
        places: `[listeners, slots]`, of what is shown among the candidates.
        now_us: when the step began.
        step: what came of it.
        slot: `[listeners]`, of what was picked; -1 where they put something on themselves.
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
        world: of listeners.
        policy: draws the slates.
        seed: of who the listeners are and of all that is drawn.
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
    """Lets a policy serve an episode of every listener of a world; see `turns`.

    Args:
        world: of listeners.
        policy: draws the slates.
        credit: where it goes.
        seed: of who the listeners are and of all that is drawn.
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
    """What tells how the rest of an episode will go, as far as a service knows it, float64."""
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
