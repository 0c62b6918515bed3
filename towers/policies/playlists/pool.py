"""An editor's pool: contents from which every listener gets a list of their own, and the rules of these lists."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int

from towers.errors import UserError
from towers.manifest import digest_of
from towers.policies.playlists.pool_rules import Rule, clashing

LONGEST_CLASH = 4
"""Largest number of rules in an error message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A content with a fixed place in every list.

    Args:
        place: place in the list, from 1.
        content_id: id of a content of the pool.
    """

    place: int
    content_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Bounds on the number of contents of a group in a list.

    Args:
        by: what defines the group: `genre`, `artist` or `kind`, or `contents` for ids.
        of: the genre, artist or kind; for `contents` the ids.
        members: ids of the pool's contents in the group.
        minimum: least number of them in a list.
        maximum: largest number of them in a list; null: no limit.
    """

    by: str
    of: str | tuple[str, ...]
    members: frozenset[str]
    minimum: int = 0
    maximum: int | None = None

    @property
    def name(self) -> str:
        """The group in words."""
        if isinstance(self.of, str):
            return f"{self.by} {self.of}"
        return f"{self.by} {', '.join(self.of[:3])}{' and others' if len(self.of) > 3 else ''}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """A pool whose rules do not contradict each other.

    Args:
        name: name of the pool in messages: its file or playlist.
        title: title for listeners.
        content_ids: ids of the contents, in the editor's order.
        rows: `[pool]`, rows of the contents in the contents table.
        k: number of contents in a list; fewer where the pool has fewer.
        keeps_order: whether lists keep the editor's order, so that only their contents are personal.
        pins: contents with a fixed place in every list.
        quotas: bounds on the numbers of contents of groups in a list.
        valid_from: first day on which lists are made; null: no limit.
        valid_until: last day on which lists are made; null: no limit.
        floor: least attention of each content over all listeners, as a share of what it would get if all got the same:
            0 for none, below 1.

    Raises:
        UserError: a value is invalid, or rules contradict each other; the message names them in one line.
    """

    name: str
    title: str = ""
    content_ids: tuple[str, ...]
    rows: Int[np.ndarray, " pool"]
    k: int = 30
    keeps_order: bool = False
    pins: tuple[Pin, ...] = ()
    quotas: tuple[Quota, ...] = ()
    valid_from: date | None = None
    valid_until: date | None = None
    floor: int | float = 0.0

    def __post_init__(self) -> None:
        if not self.content_ids:
            raise UserError(f"{self.name}: contents: the pool is empty")
        if self.k < 1:
            raise UserError(f"{self.name}: k={self.k}: must be at least 1")
        if not 0 <= self.floor < 1:
            raise UserError(f"{self.name}: floor={self.floor:g}: must be a share, from 0 to below 1")
        if self.valid_from and self.valid_until and self.valid_until < self.valid_from:
            raise UserError(
                f"{self.name}: window: it ends on {self.valid_until}, before it begins on {self.valid_from}"
            )
        _refuse_repeats(
            f"{self.name}: contents: {{0}} is listed at {{1}} and again at {{2}}", enumerate(self.content_ids, 1)
        )
        self._check_pins()
        self.refuse_clashes(self.rules())

    def __len__(self) -> int:
        return len(self.content_ids)

    def _check_pins(self) -> None:
        for pin in self.pins:
            if pin.content_id not in self.places:
                raise UserError(
                    f"{self.name}: pins: {pin.content_id} at place {pin.place} is not among the {len(self)} contents"
                )
            if not 1 <= pin.place <= self.length:
                reason = f"k={self.k}" if self.length == self.k else f"the pool has {self.length} contents"
                raise UserError(f"{self.name}: pins: {pin.content_id} is at place {pin.place}, and {reason}")
        _refuse_repeats(
            f"{self.name}: pins: place {{0}} is given to {{1}} and to {{2}}",
            ((pin.content_id, pin.place) for pin in self.pins),
        )
        _refuse_repeats(
            f"{self.name}: pins: {{0}} is at place {{1}} and at place {{2}}",
            ((pin.place, pin.content_id) for pin in self.pins),
        )

    @cached_property
    def places(self) -> dict[str, int]:
        """Place of each content in the pool, from 0."""
        return {content_id: place for place, content_id in enumerate(self.content_ids)}

    @property
    def length(self) -> int:
        """Length of a list, where all contents of the pool are allowed."""
        return min(self.k, len(self))

    @cached_property
    def pinned(self) -> Int[np.ndarray, " length"]:
        """By place of a list, from 0, the place in the pool of its pinned content; -1 where none is pinned."""
        pinned = np.full(self.length, -1)
        for pin in self.pins:
            pinned[pin.place - 1] = self.places[pin.content_id]
        return pinned

    def rules(self, withheld: dict[str, str] | None = None) -> tuple[Rule, ...]:
        """Returns the rules of a list, its length first.

        Args:
            withheld: contents that are not allowed, with the reason.
        """
        withheld = withheld or {}
        pool, everything = len(self), np.ones(len(self), bool)
        length = min(self.k, pool - len(withheld))
        found = [Rule(words=f"k: {length} contents", among=everything, least=length, most=length)]
        for content_id, why in withheld.items():
            found.append(Rule(words=f"{content_id} {why}", among=self._among({content_id}), least=0, most=0))
        for pin in self.pins:
            found.extend(self._rules_of(pin))
        for quota in self.quotas:
            among = self._among(quota.members)
            if quota.minimum > 0:
                words = f"quotas: at least {quota.minimum} of {quota.name}, of which there are {len(quota.members)}"
                found.append(Rule(words=words, among=among, least=quota.minimum, most=pool))
            if quota.maximum is not None:
                words = f"quotas: at most {quota.maximum} of {quota.name}"
                found.append(Rule(words=words, among=among, least=0, most=quota.maximum))
        return tuple(found)

    def _rules_of(self, pin: Pin) -> list[Rule]:
        words = f"pins: {pin.content_id} at place {pin.place}{' in the order kept' * self.keeps_order}"
        found = [Rule(words=words, among=self._among({pin.content_id}), least=1, most=1)]
        if self.keeps_order:  # as many of the contents before it are chosen as there are places before it
            before = np.arange(len(self)) < self.places[pin.content_id]
            found.append(Rule(words=words, among=before, least=pin.place - 1, most=pin.place - 1))
        return found

    def _among(self, content_ids: frozenset[str] | set[str]) -> Bool[np.ndarray, " pool"]:
        return np.array([content_id in content_ids for content_id in self.content_ids])

    def refuse_clashes(self, rules: tuple[Rule, ...]) -> None:
        """Raises `UserError` with rules that contradict each other, or leave no room for the floor."""
        found = clashing(rules)
        floor = ""
        if not found and self.floor > 0:
            may_come = ~np.any([rule.among & (rule.most == 0) for rule in rules], axis=0)
            found = clashing(rules, self.floor * rules[0].most / max(may_come.sum(), 1) * may_come)
            floor = f"floor: {self.floor:g} of equal attention for each content"
        if found:
            words = list(dict.fromkeys(filter(None, (*(rule.words for rule in found), floor))))
            more = f"; and {len(words) - LONGEST_CLASH} more" if len(words) > LONGEST_CLASH else ""
            verb = "cannot hold together" if len(words) > 1 else "cannot hold"
            raise UserError(f"{self.name}: {verb}: {'; '.join(words[:LONGEST_CLASH])}{more}")

    def refuse_outside_window(self, today: date) -> None:
        """Raises `UserError` where no lists are made on that day."""
        if self.valid_from and today < self.valid_from:
            raise UserError(f"{self.name}: window: lists are made from {self.valid_from} on, and it is {today}")
        if self.valid_until and today > self.valid_until:
            raise UserError(f"{self.name}: window: lists were made until {self.valid_until}, and it is {today}")

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all that decides the lists: the contents in their order, and every rule except the window."""
        pins = sorted((pin.place, pin.content_id) for pin in self.pins)
        quotas = [(sorted(quota.members), quota.minimum, quota.maximum) for quota in self.quotas]
        return digest_of([self.content_ids, self.k, self.keeps_order, pins, quotas, self.floor])


def _refuse_repeats(message: str, pairs: Iterable[tuple[object, object]]) -> None:
    """Raises `UserError` where two pairs have the same second part; `message` is given it and both first parts."""
    first_of: dict[object, object] = {}
    for first, second in pairs:
        if second in first_of:
            raise UserError(message.format(second, first_of[second], first))
        first_of[second] = first
