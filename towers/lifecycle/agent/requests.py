"""Slates of an agent's log, each as one decision: listener, time, candidates, and propensity."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from towers.contract.slate import NOTHING
from towers.errors import UserError
from towers.lifecycle.home.log import CANDIDATES
from towers.lifecycle.home.slates import Logged
from towers.policies.bandit.log_outcomes import slates_of
from towers.simulation.listeners.space import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Slates that were shown, a row for each, by listener and then by time.

    Args:
        user_ids: raw ids; a listener's row is the place in it.
        listener: `[requests]`, row of the listener.
        time_us: `[requests]`, time when it was shown, in microseconds since 1970, UTC.
        candidates: `[requests, candidates]`, rows of contents that could have been shown, int32; -1 in empty places,
            and for contents that the space lacks.
        slates: `[requests, slots]`, rows of contents that were shown; `NOTHING` in empty slots.
        is_known: `[requests]`, whether the space has every content of the slate, among its candidates.
        propensities: `[requests]`, propensity of the whole slate: the product over its slots.
        clicks: `[requests]`, number of slots that the listener opened, where the log records it.
        policy_ids: policies that chose, without repeats.
        ids: `[requests]`, ids of the requests.
    """

    user_ids: tuple[str, ...]
    listener: Int[np.ndarray, " requests"]
    time_us: Int[np.ndarray, " requests"]
    candidates: Int[np.ndarray, "requests candidates"]
    slates: Int[np.ndarray, "requests slots"]
    is_known: Bool[np.ndarray, " requests"]
    propensities: Float[np.ndarray, " requests"]
    clicks: Int[np.ndarray, " requests"]
    policy_ids: tuple[str, ...]
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.listener)

    def taken(self, kept: Int[np.ndarray, " kept"]) -> "Requests":
        """Returns some of the requests, in the given order."""
        columns: dict[str, Any] = {
            each.name: getattr(self, each.name)[kept]
            for each in fields(self)
            if isinstance(getattr(self, each.name), np.ndarray)
        }
        return replace(self, **columns, ids=tuple(self.ids[row] for row in kept.tolist()))

    @classmethod
    def of(cls, impressions: pa.Table, space: Space, user_ids: tuple[str, ...], shelf: str | None = None) -> "Requests":
        """Reads impressions.

        Args:
            impressions: table of `LOGGED_SCHEMA` or `IMPRESSION_SCHEMA`, as `read_log` returns it.
            space: contents that the new policy may show.
            user_ids: listeners who are known already; others are numbered after them.
            shelf: row of the page to read; null: pages have one.

        Raises:
            UserError: no slate was shown, a request has several shelves, or does not say what could have been shown.
        """
        if shelf is not None:
            impressions = impressions.filter(pa.array([one == shelf for one in impressions["shelf"].to_pylist()]))
        if not len(impressions):
            raise UserError(
                "the log has no slate" + (f" on the shelf {shelf}" if shelf else "") + ": nothing to judge by"
            )
        of, slot = slates_of(impressions)
        request_ids, users = impressions["request_id"].to_pylist(), impressions["user_id"].to_pylist()
        first = np.unique(of, return_index=True)[1]
        ids = tuple(request_ids[row] for row in first.tolist())
        _check_shelves(ids)
        row_of = {one: row for row, one in enumerate(space.content_ids)}
        row_of_user = {one: row for row, one in enumerate(user_ids)}
        listener = np.array([row_of_user.setdefault(users[row], len(row_of_user)) for row in first.tolist()], np.int64)
        candidates = _candidates(impressions, first, row_of, ids)
        shown = np.array([row_of.get(one, NOTHING) for one in impressions["chosen_id"].to_pylist()], np.int64)
        is_candidate = (candidates[of] == shown[:, None]).any(axis=1) & (shown >= 0)
        slates = np.full((len(first), int(slot.max()) + 1), NOTHING)
        slates[of, slot] = np.where(is_candidate, shown, NOTHING)
        propensities = np.ones(len(first))
        np.multiply.at(propensities, of, impressions["propensity"].to_numpy())
        clicked = impressions["clicked"].fill_null(False).to_numpy().astype(bool)
        found = cls(
            user_ids=tuple(row_of_user), listener=listener,
            time_us=impressions["timestamp"].cast(pa.int64()).to_numpy()[first], candidates=candidates, slates=slates,
            is_known=np.bincount(of, ~is_candidate, len(first)) == 0, propensities=propensities,
            clicks=np.bincount(of, clicked, len(first)).astype(np.int64),
            policy_ids=tuple(dict.fromkeys(one or "" for one in impressions["policy_id"].to_pylist())), ids=ids,
        )  # fmt: skip
        return found.taken(np.lexsort((found.time_us, found.listener)))


def _check_shelves(ids: tuple[str, ...]) -> None:
    if len({*ids}) < len(ids):
        seen: set[str] = set()
        twice = next(one for one in ids if one in seen or seen.add(one))
        raise UserError(f"request {twice} has several shelves, and an agent chooses for one: give by_log.shelf=NAME")


def _candidates(
    impressions: pa.Table, first: Int[np.ndarray, " requests"], row_of: Mapping[str, int], ids: tuple[str, ...]
) -> Int[np.ndarray, "requests candidates"]:
    """Returns the candidates of each request, as its first slot has them."""
    is_null = impressions[CANDIDATES].is_null().to_numpy()[first]
    if is_null.any():
        raise UserError(
            f"request {ids[int(is_null.argmax())]} has no {CANDIDATES}: what else could have been shown must be logged"
        )
    logged = Logged.of(impressions)
    rows = np.array([*(row_of.get(one, -1) for one in logged.ids), -1], np.int32)
    begin, end = logged.offsets[first], logged.offsets[first + 1]
    lengths = end - begin
    found = np.full((len(first), int(lengths.max(initial=1))), -1, np.int32)
    place = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    request = np.repeat(np.arange(len(first)), lengths)
    found[request, place] = rows[logged.codes[np.repeat(begin, lengths) + place]]
    return found
