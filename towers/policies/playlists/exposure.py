"""Weights that give each content of a pool its floor of attention over all listeners.

A place of a list gets attention by its discount (Singh and Joachims 2018, "Fairness of Exposure in Rankings"); with the
editor's order kept, all places get the same. The lists with the largest sum of values under a floor for each content
are those with the largest sum of values and weights, one weight a content: the Lagrange multipliers of the floors (the
dual, by projected subgradients). They are added to the probability of a listen, so that a content below its floor is
added first where it costs the fewest listens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.errors import UserError
from towers.manifest import read_json, write_json
from towers.policies.listener import Listener
from towers.policies.playlists.algotorial import DISLIKED, OpenPool, values_of
from towers.policies.playlists.pool import Pool
from towers.retrieval.export import Export

ROUNDS, RAISES = 60, 60
"""Rounds of the descent, and of the raises that follow it, for contents that are still below the floor."""
STEP, FADING, RAISE = 0.2, 0.95, 0.1
"""Step of the descent in its first round, in units of the mean probability of a listen; factor by which it shrinks from
round to round; and step of the rounds that raise weights, in the same units."""
MARGIN = 1.003
"""Factor on the floor that the fit aims at."""
SAMPLE = 20_000
"""Largest number of listeners from whose lists weights are fitted."""
AGAIN = "towers playlists user=all makes it again"
"""Advice where weights do not fit the pool."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """Weights of a pool's contents, with facts about their fit.

    Args:
        values: `[pool]`, 0 or more.
        pool: fingerprint of the pool.
        version: version of the export.
        floor: requested floor.
        reached: least attention of any content, as a share of what it would get if all got the same.
        listeners: number of listeners whose lists were fitted.
    """

    values: Float[np.ndarray, " pool"]
    pool: str
    version: str
    floor: float
    reached: float
    listeners: int

    def write(self, path: Path, pool: Pool) -> None:
        """Writes the weights as JSON, atomically, with the contents by id."""
        facts = {name: getattr(self, name) for name in ("pool", "version", "floor", "reached", "listeners")}
        write_json(path, {**facts, "weights": dict(zip(pool.content_ids, self.values.tolist(), strict=True))})

    @classmethod
    def read(cls, path: Path, pool: Pool, export: Export) -> "Weights":
        """Reads what `write` wrote.

        Raises:
            UserError: there is no such file, or it was made for another pool or version.
        """
        told = read_json(path)
        try:
            for what, found, wanted in (
                ("pool", told["pool"], pool.fingerprint),
                ("version", told["version"], export.version),
            ):
                if found != wanted:
                    other = f"another {what} ({found[:12]}, not {wanted[:12]})"
                    raise UserError(f"{path}: made for {other}; {AGAIN}")
            values = np.array([told["weights"][content_id] for content_id in pool.content_ids], np.float64)
            facts = {name: told[name] for name in ("pool", "version", "floor", "reached", "listeners")}
        except KeyError as error:
            raise UserError(f"{path}: {error} is missing; {AGAIN}") from error
        return cls(values=values, **facts)


def weights_path(pool_path: Path) -> Path:
    """Returns the path of the weights of a pool's file."""
    return pool_path.with_suffix(".weights.json")


def weights_beside(pool_path: Path, pool: OpenPool) -> Weights:
    """Returns the weights beside a pool's file; fits and writes them where none are there for this pool and version."""
    path = weights_path(pool_path)
    try:
        return Weights.read(path, pool.pool, pool.export)
    except UserError:  # none, or of another pool or version
        num_users = len(pool.export.user_ids)
        some = np.random.default_rng(0).choice(num_users, min(SAMPLE, num_users), replace=False)
        weights = fit_weights(pool, [Listener.of_row(pool.export, row) for row in np.sort(some).tolist()])
        weights.write(path, pool.pool)
        return weights


def fit_weights(pool: OpenPool, listeners: Sequence[Listener]) -> Weights:
    """Fits weights for the lists of these listeners: all, or a large sample.

    With few listeners, many cold ones, or pins and quotas that take the attention, a floor may be out of reach; the
    closest weights are returned then, and `reached` says how close. Rules that cross others are ignored in the search,
    but not in `reached`.
    """
    values = values_of(pool, listeners)
    is_warm = np.array([len(listener.met) > 0 for listener in listeners], bool)
    weights = fitted(pool, values, is_warm) if pool.pool.floor > 0 else np.zeros(len(pool.pool))
    reached = attention(pool, pool.lists(values + np.where(is_warm[:, None], weights, 0)))
    return Weights(
        values=weights,
        pool=pool.pool.fingerprint,
        version=pool.export.version,
        floor=pool.pool.floor,
        reached=float(reached[pool.may_come].min()),
        listeners=len(listeners),
    )


def fitted(
    pool: OpenPool, values: Float[np.ndarray, "listeners pool"], is_warm: Bool[np.ndarray, " listeners"]
) -> Float[np.ndarray, " pool"]:
    """Returns the weights.

    Args:
        pool: pool with rules and a floor.
        values: value of each content for each listener.
        is_warm: listeners to whose values the weights are added.
    """
    weights = np.zeros(len(pool.pool))
    if not is_warm.any():
        return weights
    chances = values[is_warm]
    unit = float(chances[chances > -DISLIKED / 2].mean())

    def short(aim: float) -> Float[np.ndarray, " pool"]:
        got = attention(pool, pool.lists(values + np.where(is_warm[:, None], weights, 0), nearly=True))
        return np.where(pool.may_come, aim - got, 0)

    floor = pool.pool.floor
    for turn in range(ROUNDS):
        weights = np.maximum(weights + unit * STEP * FADING**turn * short(MARGIN * floor), 0)
        weights = np.where(pool.may_come, weights - weights[pool.may_come].min(), 0)  # does not change the lists
    best, least = weights, np.inf
    for _ in range(RAISES):
        lacking = short(floor)
        if lacking.max() < least:
            best, least = weights, lacking.max()
        if least <= 0:
            break
        weights = weights + unit * RAISE * np.maximum(lacking + (MARGIN - 1) * floor, 0)
    return best


def attention(pool: OpenPool, lists: Int[np.ndarray, "lists length"]) -> Float[np.ndarray, " pool"]:
    """Returns the attention of each content of the pool over all lists, relative to what it would get if all released
    contents got the same."""
    place_weights = pool.place_weights
    got = np.bincount(lists.ravel(), np.tile(place_weights, len(lists)), minlength=len(pool.pool))
    return got * pool.may_come.sum() / (place_weights.sum() * max(len(lists), 1))
