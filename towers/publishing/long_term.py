"""Long-term value of a listen of each content, as part of an export: fitted to the log of the training period."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from towers.contract.durations import DAY_US
from towers.contract.schema import PLAY
from towers.data.store import Store
from towers.errors import DataLacks, UserError
from towers.features.content_facts import artist_codes
from towers.features.ragged import Ragged
from towers.policies.long_term.fitting import Fitted, fit_returns
from towers.policies.long_term.outcomes import DelayedOutcomes, outcomes_of_streams
from towers.policies.long_term.progressive import Evidence, evidence_of, expected_returns
from towers.retrieval.long_term import LongTerm, ReturnsTo

AT_ONCE = 4_000_000
"""Number of events whose outcomes are computed at once, and that the model is fitted to; listeners are drawn where
there are more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LongTermSettings:
    """Settings of what counts as coming back.

    Args:
        returns_to: what listeners discover and come back to. For music the artist: a listener who was won for an artist
            plays other tracks of theirs, and the same track is seldom played on many days.
        days: number of days after the discovery that count.
        least_days: least number of these that the log has to cover; without them there are no values.
        burn_in_days: number of days after a listener's first stream whose discoveries do not count, since what they
            knew before is not in the log.
        day_weights: weight of each day of coming back; null: 1.

    Raises:
        UserError: a number of days is out of range, or weights are not as many as days, or below 0.
    """

    returns_to: ReturnsTo = "artist"
    days: int = 59
    least_days: int = 7
    burn_in_days: int = 14
    day_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.least_days <= self.days:
            raise UserError(
                f"export.long_term.least_days={self.least_days}: must be 1 to export.long_term.days={self.days}"
            )
        if self.burn_in_days < 0:
            raise UserError(f"export.long_term.burn_in_days={self.burn_in_days}: must be 0 or more days")
        weights = self.day_weights
        if weights is not None and (len(weights) != self.days or min(weights) < 0 or not max(weights) > 0):
            raise UserError(
                f"export.long_term.day_weights: must be export.long_term.days={self.days} numbers, 0 or more, and not "
                "all 0"
            )


def write_long_term(
    folder: Path,
    store: Store,
    vectors: Float[np.ndarray, "contents dim"],
    artist_rows: Ragged,
    space_id: str,
    until_us: int | None,
    settings: LongTermSettings | None,
) -> dict[str, Any]:
    """Fits the values and writes them.

    Args:
        folder: folder to create, unless the data does not allow a fit.
        store: store with the log.
        vectors: exported vectors, by row of the store.
        artist_rows: rows of each content's artists, to which its outcomes count, too.
        space_id: id of the exported space.
        until_us: end of the training, in microseconds since 1970; no later event is read. Null: there is no end that
            holds for all listeners.
        settings: what counts as coming back; null: nothing is written.

    Returns:
        For the manifest: facts about the fit, or the `reason` why there is none.
    """
    if settings is None:
        return {"reason": "export.long_term is null"}
    try:
        if until_us is None or not store.has_clock:
            raise DataLacks("the data has no clock, or training ends at another time for each listener")
        found = long_term(store, vectors, artist_rows, until_us, settings)
    except DataLacks as error:
        return {"reason": str(error)}
    found.write(folder, space_id)
    return {"days": found.days, "returns_to": found.returns_to, **found.fitted}


def long_term(
    store: Store,
    vectors: Float[np.ndarray, "contents dim"],
    artist_rows: Ragged,
    until_us: int,
    settings: LongTermSettings,
) -> LongTerm:
    """Returns the values by events before a time; arguments as in `write_long_term`.

    Raises:
        DataLacks: the log is too short, or no listener came back.
    """
    groups = _groups(store, settings.returns_to)
    weights = None if settings.day_weights is None else np.array(settings.day_weights, np.float64)
    fitted = fit_returns(
        _outcomes(store, _drawn(store), groups, until_us, settings), vectors, weights=weights,
        least_days=settings.least_days,
    )  # fmt: skip
    model, size = fitted.model, len(vectors)
    evidence, discoveries = Evidence.none(size, model.days), 0
    for some in _blocks(store):
        outcomes = _outcomes(store, some, groups, until_us, settings).up_to(model.days)
        evidence += evidence_of(model, outcomes, size)
        discoveries += int((outcomes.observed > 0).sum())
    theirs = artist_rows.where(artist_rows.values != artist_rows.list_of_value)
    to_artists = sparse.csr_array((np.ones(len(theirs.values)), (theirs.values, theirs.list_of_value)), (size, size))
    evidence += Evidence(number=to_artists @ evidence.number, innovation=to_artists @ evidence.innovation)
    returns = expected_returns(model, evidence, vectors)
    return LongTerm(
        expected=np.clip(returns.expected, 0, model.weights.sum()).astype(np.float32),
        deviation=returns.deviation.astype(np.float32),
        days=model.days,
        returns_to=settings.returns_to,
        intercept=model.intercept,
        slope=model.slope,
        prior_deviation=model.deviation,
        fitted=_facts(fitted, discoveries, evidence),
    )


def _facts(fitted: Fitted, discoveries: int, evidence: Evidence) -> dict[str, Any]:
    model = fitted.model
    return {
        "discoveries": discoveries,
        "contents": int(np.count_nonzero(evidence.number[:, 0])),
        "mean_return": float(model.weights @ fitted.mean_outcome),
        "deviation_between_contents": model.deviation,
        "explained_by_vector": fitted.explained,
    }


def _groups(store: Store, returns_to: ReturnsTo) -> Int[np.ndarray, " contents"]:
    """Returns, by content, the group that it is a discovery of: its first artist, or a group of its own."""
    own = np.arange(len(store.contents), dtype=np.int64)
    if returns_to == "content":
        return own
    artists = artist_codes(store.contents["artist_ids"])
    has_some = artists.lengths > 0
    groups = own + int(artists.values.max(initial=-1)) + 1
    groups[has_some] = artists.values[artists.offsets[:-1][has_some]]
    return groups


def _outcomes(
    store: Store,
    listeners: Int[np.ndarray, " some"],
    groups: Int[np.ndarray, " contents"],
    until_us: int,
    settings: LongTermSettings,
) -> DelayedOutcomes:
    histories = store.histories
    events = Ragged(np.asarray(histories.offsets), np.arange(len(histories.action))).take(listeners)
    events = events.where(_is_stream(store, events.values, until_us))
    content = np.asarray(histories.content_row)[events.values].astype(np.int64)
    return outcomes_of_streams(
        listener=events.list_of_value,
        content=content,
        group=groups[content],
        day=np.asarray(histories.timestamp_us)[events.values] // DAY_US,
        end_day=until_us // DAY_US,
        days=settings.days,
        burn_in_days=settings.burn_in_days,
    )


def _is_stream(store: Store, places: Int[np.ndarray, " events"], until_us: int) -> Bool[np.ndarray, " events"]:
    """Returns whether each event is a play that was long enough, before the end of the training."""
    histories = store.histories
    is_play = (np.asarray(histories.action)[places] == PLAY) & np.asarray(histories.is_positive)[places]
    return is_play & (np.asarray(histories.timestamp_us)[places] < until_us)


def _drawn(store: Store) -> Int[np.ndarray, " some"]:
    """Returns listeners with at most `AT_ONCE` events together; all of them where they have no more."""
    lengths = np.diff(np.asarray(store.histories.offsets))
    drawn = np.random.default_rng(0).permutation(len(lengths))
    return np.sort(drawn[: max(1, int(np.searchsorted(np.cumsum(lengths[drawn]), AT_ONCE, side="right")))])


def _blocks(store: Store) -> Iterator[Int[np.ndarray, " some"]]:
    """Yields all listeners, in blocks of about `AT_ONCE` events."""
    offsets = np.asarray(store.histories.offsets)
    block = offsets[:-1] // AT_ONCE
    for number in np.unique(block):
        yield np.flatnonzero(block == number)
