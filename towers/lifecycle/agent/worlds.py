"""Worlds that an agent is trained and judged in: their listeners, and the models by which these behave."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from towers.errors import UserError
from towers.lifecycle.simulator.log import read_store
from towers.lifecycle.simulator.parts import EARLIEST_US, HeldOut, coded_as, with_plays
from towers.lifecycle.simulator.versions import SimulatorVersion
from towers.retrieval.export import Export
from towers.simulation.environment.making import make_world
from towers.simulation.environment.rewards import PARTS
from towers.simulation.environment.world import ListeningWorld
from towers.simulation.listeners.model import Simulator
from towers.simulation.listeners.session_log import SessionLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Episodes:
    """Settings of an episode.

    Args:
        days: length in days.
        slate: number of contents of a slate.
        candidates: number of candidates that a slate is chosen from.
        own_pull: see `picking.picked`.
        weights: weights of the reward's parts in the return, by the names of `rewards.PARTS`.

    Raises:
        UserError: an invalid value; the message names the key.
    """

    days: float
    slate: int
    candidates: int
    own_pull: float
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        if not self.days > 0:
            raise UserError(f"days={self.days:g}: must be above 0")
        if self.slate < 1:
            raise UserError(f"slate={self.slate}: must be at least 1")
        if self.candidates < self.slate:
            raise UserError(f"candidates={self.candidates}: must be at least slate={self.slate}")
        unknown = sorted({*self.weights} - {*PARTS})
        if unknown:
            raise UserError(f"reward.{unknown[0]}: no part of the reward; there are {', '.join(PARTS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Listeners of a store, as they were when the simulator's fit ended.

    Args:
        fitted: plays of the listeners that the simulator was fitted to; null: worlds have new listeners.
        left_out: plays of the listeners that the fit left out; null: worlds have new listeners.
        fingerprint: fingerprint of the store; null: worlds have new listeners.
    """

    fitted: SessionLog | None
    left_out: SessionLog | None
    fingerprint: str | None


NEW_LISTENERS = Audience(fitted=None, left_out=None, fingerprint=None)
"""Audience of new listeners, for whom there is no log."""


def audience_of(version: SimulatorVersion, store: Path | None, needs: Sequence[str] = ()) -> Audience:
    """Reads the listeners of a store.

    Args:
        version: version of the simulator, which says whom its fit left out.
        store: folder of the prepared store; null: new listeners.
        needs: `fitted`, `left_out` or both: the groups that must have a listener.

    Raises:
        UserError: the store cannot be read, or a required group has no listener.
    """
    if store is None:
        return NEW_LISTENERS
    simulator, origin = version.simulator, version.origin
    listened = read_store(store, simulator.space)
    log = coded_as(listened.log, simulator.contexts, simulator.devices).between(EARLIEST_US, simulator.until_us)
    is_left_out = HeldOut(share=origin.share, seed=origin.seed).among(log.user_ids)
    fitted, left_out = (with_plays(log.of_listeners(who)) for who in (~is_left_out, is_left_out))
    for name, words, part in (("fitted", "was fitted to", fitted), ("left_out", "has left out", left_out)):
        if name in needs and not len(part):
            raise UserError(
                f"store={store}: no listener that {version.folder} {words} plays before its fit's end; give the store "
                "of all listeners"
            )
    return Audience(fitted=fitted, left_out=left_out, fingerprint=listened.fingerprint)


def require_members(version: SimulatorVersion, key: str, members: Sequence[int]) -> None:
    """Checks that a simulator has the given models.

    Raises:
        UserError: no model is given, or one that the simulator does not have.
    """
    number = len(version.simulator.members)
    if not members:
        raise UserError(f"{key}=[]: give at least one model of the simulator's ensemble")
    for member in members:
        if not 0 <= member < number:
            raise UserError(f"{key}: {member} is no model of {version.folder}, which has {number}, from 0")


def require_space(version: SimulatorVersion, export: Path | None) -> Export | None:
    """Opens an export, which must be of the simulator's space.

    Args:
        version: version of the simulator.
        export: folder; null: none is given.

    Raises:
        UserError: it is of another space.
    """
    if export is None:
        return None
    found = Export(export)
    if found.space_id != version.origin.space_id:
        raise UserError(
            f"export={export}: is of space {found.space_id}, and {version.folder} of {version.origin.space_id}; fit a "
            "simulator in this space, or leave export out"
        )
    return found


def training_worlds(
    version: SimulatorVersion,
    audience: Audience,
    episodes: Episodes,
    members: Sequence[int],
    listeners: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> list[ListeningWorld]:
    """Makes a world for each model, of listeners that the simulator was fitted to, or of new ones.

    Args:
        version: version of the simulator, whose check was read.
        audience: audience with the listeners.
        episodes: settings of an episode.
        members: numbers of the models.
        listeners: number of listeners of each world.
        seed: seed of all random draws.
        progress: called with the progress in worlds.
    """
    found = []
    for place, member in enumerate(members):
        progress(place, len(members))
        drawn = drawn_seed(seed, member)
        found.append(world_of(version.simulator, audience.fitted, episodes, member, listeners, drawn))
    progress(len(members), len(members))
    return found


def world_of(
    simulator: Simulator,
    log: SessionLog | None,
    episodes: Episodes,
    member: int,
    listeners: int,
    seed: int,
) -> ListeningWorld:
    """Makes a world of one model.

    Args:
        simulator: fitted simulator.
        log: log of the listeners, encoded as the simulator's; null: new listeners.
        episodes: settings of an episode.
        member: number of the model.
        listeners: number of listeners.
        seed: seed of all random draws.
    """
    return make_world(
        simulator, listeners, log=log, member=member, days=episodes.days, slate_size=episodes.slate,
        num_candidates=episodes.candidates, own_pull=episodes.own_pull, seed=seed,
    )  # fmt: skip


def drawn_seed(seed: int, member: int) -> int:
    """Returns a seed for each model, so that the worlds of different models have different listeners."""
    return int(np.random.SeedSequence([seed, member]).generate_state(1)[0])
