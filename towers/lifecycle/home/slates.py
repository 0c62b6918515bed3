"""Slates of a log that a policy can be judged by: their rows, and the cards that they could have shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int

from towers.contract.durations import DAY_US
from towers.contract.slate import NOTHING
from towers.errors import UserError
from towers.lifecycle.home.log import CANDIDATES, numbered
from towers.policies.bandit.home_cards import HomeCards
from towers.policies.bandit.log_outcomes import slates_of

NEW_DAYS: Final = 7
"""Days for which a card is new after a page could first show it."""
_ROWS: Final = 2_000
"""Rows whose candidates are processed together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Logged:
    """Candidates of each row of a log, as numbers of a list of ids.

    Args:
        ids: ids of all contents that could have been shown.
        codes: candidates of one row after the other, as places in `ids`; the number of ids for null.
        offsets: `[rows + 1]`, place of each row's first candidate.
    """

    ids: list[str]
    codes: Int[np.ndarray, " candidates"]
    offsets: Int[np.ndarray, " rows_and_one"]

    @classmethod
    def of(cls, impressions: pa.Table) -> "Logged":
        """Numbers the candidate lists of impressions, whose ids are text or already numbers."""
        column = numbered(impressions)[CANDIDATES].combine_chunks()
        values = column.flatten()
        lengths = np.diff(column.offsets.to_numpy())
        lengths = np.where(column.is_valid().to_numpy(zero_copy_only=False), lengths, 0)
        ids = values.dictionary.to_pylist()
        return cls(
            ids=ids,
            codes=values.indices.fill_null(len(ids)).to_numpy(),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        )

    def first_us(self, times_us: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " ids"]:
        """Returns the time when each id was first a candidate."""
        first = np.full(len(self.ids) + 1, np.iinfo(np.int64).max)
        for begin in range(0, len(times_us), _ROWS):
            end = min(begin + _ROWS, len(times_us))
            codes = self.codes[self.offsets[begin] : self.offsets[end]]
            is_first = first[codes] == np.iinfo(np.int64).max
            if is_first.any():
                lengths = np.diff(self.offsets[begin : end + 1])
                np.minimum.at(first, codes[is_first], np.repeat(times_us[begin:end], lengths)[is_first])
        return first[:-1]


def ids_of(impressions: pa.Table) -> list[str]:
    """Returns the ids of all contents that were shown or could have been."""
    shown = impressions["chosen_id"].drop_null().unique().to_pylist()
    return [*dict.fromkeys([*numbered(impressions)[CANDIDATES].combine_chunks().values.dictionary.to_pylist(), *shown])]


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedSlates:
    """The first slots of the slates of a log, in time order.

    Args:
        rows: `[slates, slots]`, rows of the log; -1 where a slate is shorter.
        user: `[slates]`, row of the listener in the export.
        when_us: `[slates]`, time in microseconds since 1970, UTC.
        shelf: `[slates]`, number of the shelf.
        num_shelves: number of shelves.
        places: `[slates, slots]`, places of the cards shown among `HomeCards`; -1 for other cards.
        numbers: `[slates, slots]`, numbers by which a policy knows the cards; `NOTHING` for other cards.
        left_out: number of rows of these slots that belong to no slate here, by reason.
        user_of_row: `[rows]`, row of the listener in the export, for the whole log; -1 where the export has none.
        place_of_row: `[rows]`, place of the card, for the whole log; -1 for other cards.
        times_us: `[rows]`, time of each row of the whole log.
        is_earlier: `[rows]`, whether a row is earlier than those that are judged.
        is_new: `[rows]`, whether the card was new (`NEW_DAYS`). Cards of the log's first day are not, as their age is
            unknown.
        kinds: `[rows]`, kind of the card, index into `schema.KINDS`; -1 where the export has no such content.
    """

    rows: Int[np.ndarray, "slates slots"]
    user: Int[np.ndarray, " slates"]
    when_us: Int[np.ndarray, " slates"]
    shelf: Int[np.ndarray, " slates"]
    num_shelves: int
    places: Int[np.ndarray, "slates slots"]
    numbers: Int[np.ndarray, "slates slots"]
    left_out: Mapping[str, int]
    user_of_row: Int[np.ndarray, " rows"]
    place_of_row: Int[np.ndarray, " rows"]
    times_us: Int[np.ndarray, " rows"]
    is_earlier: Bool[np.ndarray, " rows"]
    is_new: Bool[np.ndarray, " rows"]
    kinds: Int[np.ndarray, " rows"]
    _logged: Logged
    _place_of_id: Int[np.ndarray, " ids_and_one"]

    def __len__(self) -> int:
        return len(self.rows)

    def could(self, some: Int[np.ndarray, " some"]) -> Bool[np.ndarray, "some cards"]:
        """Returns which cards some slates could have shown in their first slot."""
        num_cards = int(self._place_of_id[-1])
        found = np.zeros((len(some), num_cards + 1), bool)
        for at, row in enumerate(self.rows[some, 0].tolist()):
            codes = self._logged.codes[self._logged.offsets[row] : self._logged.offsets[row + 1]]
            found[at, self._place_of_id[codes]] = True
        return found[:, :num_cards]

    @classmethod
    def of(cls, cards: HomeCards, impressions: pa.Table, slots: int, after_us: int | None) -> "JudgedSlates":
        """Builds the slates of impressions, which are in time order.

        A slate is left out as a whole where one of its first slots lacks a value that judging needs.

        Args:
            cards: cards that policies choose from.
            impressions: impressions with outcomes.
            slots: number of the first slots of a slate that are judged.
            after_us: only later rows are judged; null: all.

        Raises:
            UserError: no slate is left.
        """
        logged, export = Logged.of(impressions), cards.export
        times_us = impressions["timestamp"].cast(pa.int64()).to_numpy()
        chosen = impressions["chosen_id"].to_pylist()
        number = np.array([cards.number_of.get(one, NOTHING) for one in chosen], np.int64)
        # The last element stands for all contents that are no card.
        place = np.append(cards.place_of_number, -1)[number]
        place_of_id = [int(cards.place_of_number[cards.number_of[one]]) if one in cards.number_of else -1
                       for one in logged.ids]  # fmt: skip
        none = len(cards.rows)
        user = export.user_ids.rows(impressions["user_id"].fill_null("")).astype(np.int64)
        content = export.content_ids.rows(impressions["chosen_id"].fill_null("")).astype(np.int64)
        slate, slot = slates_of(impressions)
        is_earlier = np.zeros(len(times_us), bool) if after_us is None else times_us <= after_us
        rows = np.full((int(slate.max(initial=-1)) + 1, slots), -1)
        is_first = ~is_earlier & (slot < slots)
        rows[slate[is_first], slot[is_first]] = np.flatnonzero(is_first)
        lacks = {
            "no propensity": impressions["propensity"].is_null().to_numpy(),
            "no slot": impressions["slot"].is_null().to_numpy(),
            "no candidates": np.diff(logged.offsets) == 0,
            "no such listener in the export": user < 0,
            "a slot before it is missing": _has_gap(rows)[slate],
        }
        is_out, left_out = np.zeros(len(rows), bool), {}
        for reason, is_so in lacks.items():
            of_slate = np.zeros(len(rows), bool)
            of_slate[slate[is_first & is_so]] = True
            left_out[reason] = int((is_first & (of_slate & ~is_out)[slate]).sum())
            is_out |= of_slate
        kept = rows[(rows >= 0).any(axis=1) & ~is_out]
        left_out = {reason: count for reason, count in left_out.items() if count}
        if not len(kept):
            why = "; ".join(f"{count:,} rows: {reason}" for reason, count in left_out.items())
            raise UserError(f"the log has no row that a policy could be judged by{f' ({why})' if why else ''}")
        first, is_there = kept[:, 0], kept >= 0
        shelves, shelf = np.unique(impressions["shelf"].fill_null("").to_numpy()[first], return_inverse=True)
        return cls(
            rows=kept,
            user=user[first],
            when_us=times_us[first],
            shelf=shelf,
            num_shelves=len(shelves),
            places=np.where(is_there, place[kept], -1),
            numbers=np.where(is_there & (place[kept] >= 0), number[kept], NOTHING),
            left_out=left_out,
            user_of_row=user,
            place_of_row=place,
            times_us=times_us,
            is_earlier=is_earlier,
            is_new=_is_new(logged, chosen, times_us),
            kinds=np.where(content >= 0, export.kinds[content].astype(np.int64), -1),
            _logged=logged,
            _place_of_id=np.array([*(none if one < 0 else one for one in place_of_id), none], np.int64),
        )


def _has_gap(rows: Int[np.ndarray, "slates slots"]) -> Bool[np.ndarray, " slates"]:
    """Returns whether a slot is empty before one that is not."""
    is_there = rows >= 0
    return np.asarray((~is_there[:, :-1] & is_there[:, 1:]).any(axis=1))


def _is_new(logged: Logged, chosen: list[str | None], times_us: Int[np.ndarray, " rows"]) -> Bool[np.ndarray, " rows"]:
    """Returns whether each row's card was new to the page."""
    if not len(times_us):
        return np.zeros(0, bool)
    first = dict(zip(logged.ids, logged.first_us(times_us).tolist(), strict=True))
    since_us = np.array([first.get(one, 0) if one is not None else 0 for one in chosen], np.int64)
    return (since_us >= times_us[0] + DAY_US) & (times_us - since_us < NEW_DAYS * DAY_US)
