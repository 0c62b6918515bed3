"""The world that `blend.py` measures on: listeners as of a day, groups of them, and what they chose afterwards."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int

from benchmarks.playlists.past_export import PastExport
from towers.contract.events import is_positive
from towers.contract.schema import ACTIONS, UNKNOWN_PLAYED_FRACTION
from towers.policies.listener import Listener
from towers.policies.match import Matches
from towers.publishing.styles import styles
from towers.retrieval.export import Export
from towers.retrieval.query import Query, allowed


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """Listeners as of a day, and what came.

    Args:
        export: as of that day.
        query: what may come.
        counts: `[users, contents]` by number of days, positive events within so many days from that day on.
    """

    export: PastExport
    query: Query
    counts: dict[int, Int[np.ndarray, "users contents"]]
    _listeners: dict[int, Listener] = field(default_factory=dict)
    _utilities: dict[int, np.ndarray] = field(default_factory=dict)
    _own_lists: dict[int, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, data: Path, as_of: date, k: int) -> "World":
        """Of an export in a folder, and the raw tables that it was made from, or of the same contents and listeners."""
        export = PastExport(folder, as_of)
        counts = {days: chosen_between(export, data, as_of, as_of + timedelta(days)) for days in (7, 14)}
        return cls(export=export, query=Query(k=k, include_heard=True), counts=counts)

    @cached_property
    def with_targets(self) -> Int[np.ndarray, " users"]:
        """Listeners who chose something within seven days."""
        return np.flatnonzero(self.targets.any(axis=1))

    @cached_property
    def targets(self) -> Bool[np.ndarray, "users contents"]:
        """Returns what was chosen within seven days."""
        return self.counts[7] > 0

    @cached_property
    def may_come(self) -> Bool[np.ndarray, " contents"]:
        """Contents that are allowed for every listener."""
        return allowed(self.export, self.query, None)

    def listener(self, user: int) -> Listener:
        """In a row; kept."""
        if user not in self._listeners:
            self._listeners[user] = Listener.of_row(self.export, user)
        return self._listeners[user]

    def utilities(self, user: int) -> Float[np.ndarray, " contents"]:
        """Returns scores of all contents; least where a content is not allowed for every listener; kept."""
        if user not in self._utilities:
            rows = np.flatnonzero(self.may_come)
            found = np.full(len(self.may_come), -np.inf, np.float64)
            found[rows] = self.listener(user).utility(rows)
            self._utilities[user] = found
        return self._utilities[user]

    def chances(self, user: int) -> Float[np.ndarray, " contents"]:
        """Returns log-odds of a listen."""
        return 1 / (1 + np.exp(-self.utilities(user)))

    def for_all(self, members: Int[np.ndarray, " members"]) -> Int[np.ndarray, " contents"]:
        """Rows of what may come to all members."""
        may_come = self.may_come.copy()
        for member in members.tolist():
            may_come[self.listener(member).standing.disliked] = False
        return np.flatnonzero(may_come)

    def own_list(self, user: int) -> Int[np.ndarray, " k"]:
        """The list of `k` of one listener, by utility alone; kept."""
        if user not in self._own_lists:
            rows = self.for_all(np.array([user]))
            best = np.argsort(-self.utilities(user)[rows], kind="stable")[: self.query.k]
            self._own_lists[user] = rows[best]
        return self._own_lists[user]

    def groups(self, size: int, count: int, seed: int) -> list[Int[np.ndarray, " members"]]:
        """Random listeners with targets, all different within a group."""
        random = np.random.default_rng([seed, size])
        return [np.sort(random.choice(self.with_targets, size, replace=False)) for _ in range(count)]

    @cached_property
    def matches(self) -> Matches:
        """With the styles of the export, or where it is too old to have any, those that it would have."""
        export = self.export
        return Matches(export, export.styles or styles(export, export.contents["genres"]))


def chosen_between(export: Export, data: Path, start: date, end: date) -> Int[np.ndarray, "users contents"]:
    """Positive events of the raw tables from the first second of `start` to that of `end`, in UTC."""
    is_between = [("timestamp", ">=", datetime(start.year, start.month, start.day, tzinfo=UTC)),
                  ("timestamp", "<", datetime(end.year, end.month, end.day, tzinfo=UTC))]  # fmt: skip
    events = pq.read_table(data / "events", filters=is_between)
    users, contents = export.user_ids.rows(events["user_id"]), export.content_ids.rows(events["content_id"])
    action = pc.call_function("index_in", [events["action"]], pc.SetLookupOptions(value_set=pa.array(ACTIONS)))
    played_ms = events["played_ms"].cast(pa.float64()).fill_null(np.nan).to_numpy()
    durations = export.durations_ms[contents]
    is_known = np.isfinite(played_ms) & (durations > 0) & (contents >= 0)
    fraction = np.where(is_known, np.minimum(played_ms / np.where(is_known, durations, 1), 1), UNKNOWN_PLAYED_FRACTION)
    is_chosen = is_positive(
        content_row=contents,
        action=action.to_numpy(),
        played_fraction=fraction,
        min_played_fraction=export.features.min_played_fraction,
    )
    found = np.zeros((len(export.user_ids), len(export.contents)), np.int64)
    np.add.at(found, (users[is_chosen & (users >= 0)], contents[is_chosen & (users >= 0)]), 1)
    return found
