"""Outcomes that a policy learns from, built from logged impressions and an export."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int, Integer

from towers.contract.policy import Context, Outcomes
from towers.policies.bandit.home_cards import HomeCards
from towers.policies.bandit.reward import Reactions, Reward
from towers.policies.bandit.satiation import satiation_of
from towers.retrieval.ids import Ids

Attention = Callable[[Float[np.ndarray, "slates slots"]], Bool[np.ndarray, "slates slots"]]
"""Function that says which slots of slates were looked at, given 1 for each slot that was streamed and 0 for others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """Outcomes that a policy learns from, and what of the log was left out.

    Args:
        outcomes: the outcomes, in time order.
        rows: `[outcomes]`, row of each one's impression.
        left_out: number of rows that were left out, by reason.
    """

    outcomes: Outcomes
    rows: Int[np.ndarray, " outcomes"]
    left_out: dict[str, int]


def outcomes_of(
    cards: HomeCards, impressions: pa.Table, reward: Reward, attention: Attention, after_us: int | None = None
) -> Learned:
    """Builds outcomes with the vectors and numbers of a policy.

    Args:
        cards: cards of an export; other contents of the export that the policy numbers count too.
        impressions: table of `IMPRESSION_SCHEMA`, in time order, with outcomes.
        reward: reward by which outcomes are valued.
        attention: model of which slots of a shelf were looked at.
        after_us: rows up to this time only count towards how tired listeners are; null: all rows are learned from.
    """
    export = cards.export
    user = _rows(export.user_ids, impressions["user_id"])
    content = _rows(export.content_ids, impressions["chosen_id"])
    number = np.array([cards.number_of.get(one, -1) for one in impressions["chosen_id"].to_pylist()], np.int64)
    has_chance = impressions["propensity"].is_valid().to_numpy()
    has_slot = impressions["slot"].is_valid().to_numpy()
    reasons = {
        "no propensity": ~has_chance,
        "no slot": ~has_slot,
        "no such listener in the export": user < 0,
        "no such content in the export": content < 0,
        "no card of this policy": number < 0,
    }
    times_us = impressions["timestamp"].cast(pa.int64()).to_numpy()
    is_out = np.zeros(len(impressions), bool) if after_us is None else times_us <= after_us
    left_out = {}
    for reason, is_so in reasons.items():
        left_out[reason] = int((is_so & ~is_out).sum())
        is_out |= is_so
    reactions = Reactions.of(impressions)
    is_stream = reward.is_stream(reactions)
    slate, slots = slates_of(impressions)
    is_seen = _is_seen(slate, slots, is_stream, attention)
    rows = np.flatnonzero(~is_out)
    tired = satiation_of(user, number, times_us, is_stream)
    familiarity, recency = _familiar(cards, user[rows], number[rows], times_us[rows])
    outcomes = Outcomes(
        context=Context(
            user_vectors=export.user_vectors[user[rows]],
            segments=np.full(len(rows), -1),
            times_us=times_us[rows],
        ),
        content_rows=number[rows],
        vectors=export.vectors[content[rows]],
        kinds=export.kinds[content[rows]].astype(np.int64),
        slots=slots[rows],
        propensities=impressions["propensity"].fill_null(1.0).to_numpy()[rows],
        is_seen=is_seen[rows],
        rewards=reward.of(reactions)[rows],
        pairs={"familiarity": familiarity, "recency": recency, "satiation": tired[rows]},
    )
    return Learned(outcomes=outcomes, rows=rows, left_out={name: count for name, count in left_out.items() if count})


def _rows(known: Ids, ids: pa.ChunkedArray) -> Int[np.ndarray, " rows"]:
    """Returns the row of each id in an export; -1 where the export does not have it."""
    return known.rows(ids.fill_null("")).astype(np.int64)


def slates_of(impressions: pa.Table) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " rows"]]:
    """Returns the slate of each row (a shelf of a request, numbered from 0) and its slot, counted from the shelf's
    first."""
    slot = impressions["slot"].fill_null(0).to_numpy()
    shelf = impressions["shelf"].fill_null("").to_pylist()
    number_of: dict[tuple[str, str], int] = {}
    keys = zip(impressions["request_id"].to_pylist(), shelf, strict=True)
    of = np.array([number_of.setdefault(key, len(number_of)) for key in keys], np.int64)
    first = np.full(len(number_of), np.iinfo(np.int64).max)
    np.minimum.at(first, of, slot)
    return of, slot - first[of]


def _is_seen(
    slate: Int[np.ndarray, " rows"],
    slot: Int[np.ndarray, " rows"],
    is_stream: Bool[np.ndarray, " rows"],
    attention: Attention,
) -> Bool[np.ndarray, " rows"]:
    """Returns whether each row was looked at."""
    streams = np.zeros((int(slate.max(initial=-1)) + 1, int(slot.max(initial=-1)) + 1))
    streams[slate, slot] = is_stream
    return attention(streams)[slate, slot]


def _familiar(
    cards: HomeCards,
    user: Integer[np.ndarray, " rows"],
    number: Integer[np.ndarray, " rows"],
    times_us: Int[np.ndarray, " rows"],
) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    """Returns familiarity and recency of each row's card by the listener's events before it; 0 for contents that are no
    cards today."""
    found = np.zeros((len(user), 2))
    places = cards.place_of_number[number]
    order = np.lexsort((times_us, user))
    is_new = (np.diff(user[order], prepend=-1) != 0) | (np.diff(times_us[order], prepend=-1) != 0)
    for own in np.split(order, np.flatnonzero(is_new)[1:]) if len(order) else ():
        pairs = np.stack(cards.familiar_at(int(user[own[0]]), int(times_us[own[0]])), axis=1)
        own = own[places[own] >= 0]
        found[own] = pairs[places[own]]
    return found[:, 0], found[:, 1]
