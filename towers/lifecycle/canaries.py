"""Requests that try a version before it serves, drawn from what both it and the served version know."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle, islice, product
from typing import Any, Final

import numpy as np
from jaxtyping import Int

from towers.contract import schema
from towers.retrieval.export import Export
from towers.retrieval.files import CONTENT_TOWER, HISTORIES, HISTORY_OFFSETS, mapped_array

K: Final = 20
"""Length of every list."""
LENGTHS: Final = (1, 6, 21, 101)
"""Least number of events of each group of listeners; the last group has no upper bound."""
TOLD: Final = (1, 5, 20)
"""Lengths of the histories of new listeners, in contents."""
LOOKED_AT: Final = 4_096
"""Rows that are drawn first, of which those that both versions know are taken."""
OF_LISTENERS: Final = ("discover_weekly", "mix", "on_repeat")
OF_CONTENTS: Final = ("radio", "continuation")
"""Kinds of lists that need a listener or a track and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A request that tries a version.

    Args:
        group: kind of the request, such as `listener` or `similar track`.
        path: path of the request in HTTP: `health`, `recommend`, `similar` or `playlists/KIND`.
        asked: arguments by name, the same over HTTP and in Python.
        is_for_both: whether the served version knows what the request names, and is asked, too.
        is_compared: whether the lists of both must be alike.
        may_be_declined: whether a version may answer that its data does not allow the request.
    """

    group: str
    path: str
    asked: Mapping[str, Any]
    is_for_both: bool = True
    is_compared: bool = True
    may_be_declined: bool = False


def drawn(candidate: Export, champion: Export | None, count: int, seed: int) -> list[Canary]:
    """Draws canaries, the same ones for the same versions.

    Args:
        candidate: version that is tried.
        champion: version that serves; null: none, and nothing is compared.
        count: canaries of each group; fewer where there are no more listeners or contents.
        seed: seed of the draw.
    """
    return [*_Draw(candidate, champion, count, np.random.default_rng(seed)).all()]


class _Draw:
    def __init__(self, candidate: Export, champion: Export | None, count: int, random: np.random.Generator):
        self._candidate, self._count, self._random = candidate, count, random
        self._champion = champion or candidate

    def all(self) -> Iterator[Canary]:
        yield Canary(group="health", path="health", asked={}, is_compared=False)
        listeners, is_known = self._listeners(), self._known_contents()
        ids = self._candidate.content_ids
        for row in listeners:
            yield Canary(group="listener", path="recommend", asked={"user": self._candidate.user_ids[row], "k": K})
        for history in islice(self._histories(listeners), self._count):
            yield Canary(group="newcomer", path="recommend", asked={"history": history, "k": K})
        for kind, rows in is_known.items():
            for row in rows:
                yield Canary(group=f"similar {kind}", path="similar", asked={"content": ids[row], "k": K})
        played = [row for kind in schema.PLAYABLE_KINDS for row in is_known.get(kind, [])]
        yield from self._described(played)
        for row in self._new_contents():
            asked = {"content": ids[row], "k": K}
            yield Canary(group="new content", path="similar", asked=asked, is_for_both=False, is_compared=False)
        yield from self._lists(listeners, played, is_known.get("artist", []))

    def _listeners(self) -> list[int]:
        """Returns rows of listeners that both versions know, from the groups of `LENGTHS` in turn."""
        export = self._candidate
        lengths = np.diff(mapped_array(export.folder / HISTORIES / HISTORY_OFFSETS))
        rows = [row for row in self._some(len(lengths)).tolist() if export.user_ids[row] in self._champion.user_ids]
        groups = np.searchsorted(LENGTHS, lengths[rows], side="right")
        each = [[row for row, of in zip(rows, groups.tolist(), strict=True) if of == group] for group in range(1, 5)]
        return _in_turn(each, self._count)

    def _known_contents(self) -> dict[str, list[int]]:
        """Returns, by kind, rows of contents that both versions may show; only kinds of which each has at least two."""
        found: dict[str, list[int]] = {}
        for kind in schema.KINDS:
            ours, theirs = (export.catalogue.of_kinds((kind,)) for export in (self._candidate, self._champion))
            if min(ours.sum(), theirs.sum()) < 2:
                continue
            rows = np.flatnonzero(ours)
            there = ((row, self._theirs(row)) for row in rows[self._some(len(rows))].tolist())
            known = [row for row, other in there if other >= 0 and theirs[other]]
            if known:
                found[kind] = known[: self._count]
        return found

    def _theirs(self, row: int) -> int:
        return self._champion.content_ids.get(self._candidate.content_ids[row], -1)

    def _new_contents(self) -> list[int]:
        """Returns rows of contents that the served version does not know, starting with the last ones."""
        shown = np.flatnonzero(self._candidate.catalogue.of_kinds(schema.KINDS))
        last = shown[::-1][:LOOKED_AT].tolist()
        drawn_rows = shown[self._some(len(shown))].tolist()
        rows = [row for row in dict.fromkeys([*last, *drawn_rows]) if self._theirs(row) < 0]
        return rows[: self._count]

    def _histories(self, listeners: list[int]) -> Iterator[list[str]]:
        """Yields histories of new listeners: the end of a known listener's history."""
        ids = self._candidate.content_ids
        for row, length in zip(listeners, cycle(TOLD), strict=False):
            known = [at for at in self._candidate.chosen(row).tolist() if self._theirs(at) >= 0]
            if known:
                yield [ids[at] for at in known[-length:]]

    def _described(self, rows: list[int]) -> Iterator[Canary]:
        """Yields requests for contents as if they were new, described by kind and genres alone."""
        if not all((export.folder / CONTENT_TOWER).exists() for export in (self._candidate, self._champion)):
            return
        columns = [name for name in ("kind", "genres") if name in self._candidate.contents.column_names]
        table = self._candidate.contents.select(columns)
        for row in self._random.permutation(rows)[: self._count].tolist():
            metadata = {name: value for name, value in table.slice(row, 1).to_pylist()[0].items() if value}
            yield self._optional("described content", "similar", {"metadata": metadata})

    def _lists(self, listeners: list[int], played: list[int], artists: list[int]) -> Iterator[Canary]:
        """Yields requests for lists of the kinds that need few arguments."""
        for kind in OF_LISTENERS:
            for row in listeners[-2:]:
                yield self._optional("lists", f"playlists/{kind}", {"users": [self._candidate.user_ids[row]]})
        rows = [*product(OF_CONTENTS, played[:2]), *product(["similar_artists"], artists[:2])]
        for kind, row in rows:
            yield self._optional("lists", f"playlists/{kind}", {"contents": [self._candidate.content_ids[row]]})

    def _optional(self, group: str, path: str, asked: Mapping[str, Any]) -> Canary:
        """Makes a request that must be answered if the served version answers it, with any list: the lists of two weeks
        differ anyway, and many contents have the same few genres and so the same distance."""
        return Canary(group=group, path=path, asked={**asked, "k": K}, is_compared=False, may_be_declined=True)

    def _some(self, length: int) -> Int[np.ndarray, " some"]:
        return self._random.permutation(length)[:LOOKED_AT]


def _in_turn(groups: list[list[int]], count: int) -> list[int]:
    """Returns the first item of each group, then the second of each, until there are `count`."""
    longest = max(map(len, groups), default=0)
    return [group[place] for place in range(longest) for group in groups if place < len(group)][:count]
