"""Personalised lists from an editor's pool: the editor's rules hold for all listeners, and within them the listener's
taste decides.

A list has the largest sum of the probabilities of a listen, discounted by place as in DCG, that its rules allow; where
the editor's order is kept, all places count equally, as the order is not the listener's to change. A listener without a
history gets the editor's order, as far as pins and quotas allow. Disliked contents are included only if they are
pinned, or if the rules cannot be kept otherwise, and then last. Contents that are not released yet are left out.

Weights are added to the probabilities so that each content of the pool is heard by some listeners (`exposure`). They
are fitted once from all listeners and then read, so that a list requested alone equals the one that the batch makes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.errors import UserError
from towers.policies.listener import Listener
from towers.policies.playlist import Playlist, Reason
from towers.policies.playlists.pool import Pool
from towers.policies.playlists.pool_rules import Chooser
from towers.policies.reasons import reasons_for
from towers.retrieval.export import Export
from towers.retrieval.listen_chance import chance

DISLIKED = 1_000.0
"""Penalty on the probability of a disliked content; more than all probabilities of a list together."""
TOGETHER = 256
"""Number of listeners whose lists are made at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenPool:
    """A pool on one day and one export, ready for making lists.

    Args:
        export: export of the pool's contents.
        pool: the editor's pool.
        may_come: `[pool]`, which contents are released on that day.
        chooser: chooses lists that obey the rules.
    """

    export: Export
    pool: Pool
    may_come: Bool[np.ndarray, " pool"]
    chooser: Chooser

    @classmethod
    def of(cls, export: Export, pool: Pool, today: date | None = None) -> "OpenPool":
        """Opens a pool on a day; null: today.

        Raises:
            UserError: the pool is outside its window, none of its contents is released, or a rule needs one that is
                not.
        """
        today = today or date.today()
        pool.refuse_outside_window(today)
        released = export.catalogue.released[pool.rows]
        may_come = ~(released > np.datetime64(today, "D"))  # an unknown day compares as false
        if not may_come.any():
            raise UserError(f"{pool.name}: contents: none of them is released on {today}")
        late = {pool.content_ids[at]: f"comes out on {released[at]}" for at in np.flatnonzero(~may_come)}
        length = min(pool.k, int(may_come.sum()))
        last = max(pool.pins, key=lambda pin: pin.place, default=None)
        if last and last.place > length:
            where = f"{pool.name}: pins: {last.content_id} is at place {last.place}"
            raise UserError(f"{where}, and on {today} only {length} contents are released")
        rules = pool.rules(late)
        pool.refuse_clashes(rules)
        pinned = np.zeros(len(pool), bool)
        pinned[pool.pinned[pool.pinned >= 0]] = True
        free = discounts(length)[pool.pinned[:length] < 0]
        chooser = Chooser(rules=rules, discounts=None if pool.keeps_order else free, pinned=pinned)
        return cls(export=export, pool=pool, may_come=may_come, chooser=chooser)

    @property
    def length(self) -> int:
        """Number of contents in a list."""
        return self.chooser.rules[0].most

    @property
    def place_weights(self) -> Float[np.ndarray, " length"]:
        """Attention that each place of a list gets."""
        return np.ones(self.length) if self.pool.keeps_order else discounts(self.length)

    def values(self, listener: Listener) -> Float[np.ndarray, " pool"]:
        """Returns each content's value for a listener with a history: the probability of a listen, 0 to 1; far below
        that where they disliked it."""
        values = chance(listener.utility(self.pool.rows))
        return np.where(np.isin(self.pool.rows, listener.standing.disliked), values - DISLIKED, values)

    @property
    def editors_values(self) -> Float[np.ndarray, " pool"]:
        """Values under which the editor's order is the best."""
        return -np.arange(len(self.pool), dtype=np.float64)

    def lists(self, values: Float[np.ndarray, "lists pool"], nearly: bool = False) -> Int[np.ndarray, "lists length"]:
        """Returns the best lists, as places in the pool from 0; `nearly`: without the rules that cross others."""
        chosen = self.chooser.nearly_best(values) if nearly else self.chooser.best(values)
        if self.pool.keeps_order:
            return np.nonzero(chosen)[1].reshape(len(values), self.length)
        pinned = self.pool.pinned[: self.length]
        own = np.where(chosen & ~self.chooser.pinned, values, -np.inf)
        best = np.argsort(-own, axis=1, kind="stable")
        lists = np.repeat(pinned[None], len(values), axis=0)
        lists[:, pinned < 0] = best[:, : int((pinned < 0).sum())]
        return lists


def personalise(pool: OpenPool, listener: Listener, weights: Float[np.ndarray, " pool"] | None = None) -> Playlist:
    """Makes the list of one listener; the same that `personalise_all` makes with these weights."""
    return next(personalise_all(pool, [listener], weights))


def personalise_all(
    pool: OpenPool, listeners: Sequence[Listener], weights: Float[np.ndarray, " pool"] | None = None
) -> Iterator[Playlist]:
    """Makes the lists of many listeners, in their order.

    Args:
        pool: the opened pool.
        listeners: listeners of the pool's export.
        weights: weights of the contents, from `exposure.fit_weights`; null: none, so that the floor may not be reached.
    """
    for start in range(0, len(listeners), TOGETHER):
        some = listeners[start : start + TOGETHER]
        is_cold = np.array([not len(listener.met) for listener in some])
        raw = values_of(pool, some)
        values = raw if weights is None else np.where(is_cold[:, None], raw, raw + weights)
        for listener, cold, own, value, places in zip(some, is_cold, raw, values, pool.lists(values), strict=True):
            yield _playlist(pool, listener, bool(cold), own, value, places)


def values_of(pool: OpenPool, listeners: Sequence[Listener]) -> Float[np.ndarray, "listeners pool"]:
    """Returns each content's value for each listener; without a history, values in the editor's order."""
    found = [pool.values(listener) if len(listener.met) else pool.editors_values for listener in listeners]
    return np.stack(found) if found else np.zeros((0, len(pool.pool)))


def discounts(length: int) -> Float[np.ndarray, " length"]:
    """Returns the weight of each place: 1 / log2(1 + place), as in DCG."""
    return 1 / np.log2(np.arange(2, length + 2))


def _playlist(
    pool: OpenPool,
    listener: Listener,
    is_cold: bool,
    own: Float[np.ndarray, " pool"],
    values: Float[np.ndarray, " pool"],
    places: Int[np.ndarray, " length"],
) -> Playlist:
    rows = pool.pool.rows[places]
    worst = np.sort(own[pool.may_come])[-pool.length]  # a content with a lower value is included by a rule or a weight
    is_pinned = pool.chooser.pinned[places]
    kinds = np.select([is_pinned, is_cold | (own[places] < worst)], ["pinned", "editor"], "")
    of_listener = iter(reasons_for(listener, rows[kinds == ""]))
    reasons = tuple(Reason(kind=kind) if kind else next(of_listener) for kind in kinds.tolist())
    remarks = []
    if pool.length < pool.pool.k:
        remarks.append(f"{pool.length} of {pool.pool.k} contents: the pool has no more that are released")
    disliked = int(((own[places] < -DISLIKED / 2) & ~is_cold & ~is_pinned).sum())
    if disliked:
        remarks.append(f"{disliked} that the listener disliked, which the rules of the pool ask for")
    return Playlist(rows=rows, scores=values[places], reasons=reasons, remark="; ".join(remarks))
