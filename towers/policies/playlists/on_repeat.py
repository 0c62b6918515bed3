"""On repeat: what a listener has lately played again and again."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from towers.errors import UserError
from towers.features.familiarity import NAMES, Familiarity, ages
from towers.policies.listener import Listener
from towers.policies.playlist import Playlist, Reason
from towers.policies.rules import Candidates, Rules
from towers.policies.slate import pick
from towers.retrieval.query import Query, allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class OnRepeatSettings:
    """Settings of what counts as again and again, and as lately.

    Args:
        k: largest number of pieces.
        max_per_artist: largest number of pieces of one artist.
        min_times: least number of times that the listener chose a piece, overall.
        days: largest number of days since the last time; without a clock, of the listener's events.

    Raises:
        UserError: a number is below 1, or `days` is not above 0.
    """

    k: int = 30
    max_per_artist: int = 4
    min_times: int = 2
    days: int | float = 30.0

    def __post_init__(self) -> None:
        for name in ("k", "max_per_artist", "min_times"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: must be at least 1")
        if not self.days > 0:
            raise UserError(f"days={self.days}: must be above 0")


def on_repeat(listener: Listener, *, query: Query | None = None, settings: OnRepeatSettings | None = None) -> Playlist:
    """Lists what a listener chose several times and also lately, by how likely they are to listen to it again.

    The score is their utility where the export has a model of the probability of a listen, or else the activation of
    each piece in their memory (`features/familiarity`). Disliked pieces are left out.

    Args:
        listener: the listener.
        query: which contents are allowed (its `k` is ignored); null: all that can be played.
        settings: settings; null: the defaults.
    """
    settings = settings or OnRepeatSettings()
    rows, activation = _repeated(listener, settings)
    rows_may_come = allowed(listener.export, query or Query(include_heard=True), listener.standing)[rows]
    rows, activation = rows[rows_may_come], activation[rows_may_come]
    score = activation if listener.export.listen_chance is None else listener.utility(rows)
    export = listener.export
    candidates = Candidates.of(rows, score, export.facts.artists, export.recordings)
    places = pick(candidates, Rules(k=settings.k, max_per_artist=settings.max_per_artist)).places
    remark = "" if len(places) == settings.k else f"only {len(places)} pieces are played again and again lately"
    reasons = tuple(Reason(kind="often") for _ in places)
    return Playlist(rows=candidates.rows[places], scores=candidates.utility[places], reasons=reasons, remark=remark)


def _repeated(
    listener: Listener, settings: OnRepeatSettings
) -> tuple[Int[np.ndarray, " repeated"], Float[np.ndarray, " repeated"]]:
    """Returns the rows of what was chosen often enough and lately, and their activation."""
    events = listener.standing.events
    met = Familiarity.of(
        content_row=events.content_row,
        action=events.action,
        age=ages(events.timestamp_us, listener.standing.until_us),
        is_positive=events.is_positive,
    )
    activation, times, age = (met.features[:, NAMES.index(name)] for name in ("activation", "count", "recency"))
    is_often = np.rint(np.expm1(times)) >= settings.min_times
    kept = met.is_chosen & is_often & (np.exp(age) <= settings.days)
    return met.content_row[kept], activation[kept]
