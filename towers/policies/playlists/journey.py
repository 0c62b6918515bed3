"""A journey: from what a listener knows to where they have not been, in steps that are small by ear and by audience.

Like a path (`playlists/path`) it follows the great circle between two points of the space. A path takes the piece
nearest to each point, and two such pieces may be far from each other; a journey weighs each step from piece to piece,
so that no step is much longer than the others.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.errors import UserError
from towers.policies.journey.apart import Apart, blended
from towers.policies.journey.ends import End, NowhereToLead
from towers.policies.journey.way import cheapest_way
from towers.policies.listener import Listener
from towers.policies.playlist import Playlist, Reason
from towers.policies.playlists.path import MAX_STEPS, OPPOSITE, arc
from towers.policies.reasons import TOGETHER, reasons_for
from towers.retrieval.export import Export
from towers.retrieval.listen_chance import chance
from towers.retrieval.query import Query, allowed
from towers.retrieval.search import EXACT_BELOW

LOOKED_AT = 300
"""Number of contents nearest to each point of the way that are candidates, beside what the listener has heard."""
KEPT = 120
"""Number of best candidates of each place whose steps are weighed."""
UNWANTED = 1_000.0
"""Cost of a step that is to be taken only if unavoidable; more than all other costs of a journey together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JourneySettings:
    """Weights of a journey. Distances are relative to the mean of random pairs of pieces (`journey/apart`).

    Args:
        ear_share: share of a distance that is by ear, 0 to 1; the rest is by audience.
        evenness: exponent of the distances, 1 or more: the higher, the more long steps are avoided.
        pull: weight of a piece's distance from its point of the way, beside that of a step.
        liking: weight of the probability that the listener plays a piece.
        knowing: cost of a piece that is unknown before `known_until`, or known after it.
        known_until: share of the way, from its start, up to which it passes pieces that the listener knows.

    Raises:
        UserError: a share is outside 0 to 1, `evenness` is below 1, or another weight is below 0.
    """

    ear_share: int | float = 0.3
    evenness: int | float = 2.0
    pull: int | float = 0.2
    liking: int | float = 0.2
    knowing: int | float = 0.05
    known_until: int | float = 0.5

    def __post_init__(self) -> None:
        for name in ("ear_share", "known_until"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name}={getattr(self, name)}: must be a share, 0 to 1")
        if not self.evenness >= 1:
            raise UserError(f"evenness={self.evenness}: must be 1 or more")
        for name in ("pull", "liking", "knowing"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name}={getattr(self, name)}: must be 0 or more")


def journey(
    export: Export,
    start: End,
    end: End,
    *,
    steps: int = 10,
    listener: Listener | None = None,
    query: Query | None = None,
    settings: JourneySettings | None = None,
    apart: Apart | None = None,
) -> Playlist:
    """Returns the pieces from one end to the other, both included.

    It minimises (`journey/way`) the sum of the costs of steps and places: the distances between neighbours and from the
    points of the way, to the power of `evenness`, less what the listener likes. Two pieces by one artist in succession,
    and a known piece after an unknown one, are used only if unavoidable; no recording is repeated, except at the two
    ends. Scores are the cosines of the pieces with their points.

    Its `facts` are `by_audience` and `by_ear`: the length of each step, null where it is not known.

    Args:
        export: export of the contents.
        start: where the journey begins.
        end: where it leads.
        steps: number of moves, 1 to 200.
        listener: listener of the journey; null: none in particular.
        query: which contents are allowed (its `k` is ignored); null: all that can be played, heard or not.
        settings: weights; null: the defaults.
        apart: distances in the export, to be shared by many journeys; null: built here.

    Raises:
        UserError: `steps` is out of range, both ends are one content or opposite to each other, or no content is
            allowed.
    """
    if not 1 <= steps <= MAX_STEPS:
        raise UserError(f"steps={steps}: must be 1 to {MAX_STEPS}")
    if start.is_asked_for and end.is_asked_for and start.rows[0] == end.rows[0]:
        raise UserError(f"a journey from {export.content_ids[start.rows[0]]} to itself has no steps; give another end")
    layers = _Layers(
        export, start, end, steps, listener, query or Query(include_heard=True), settings or JourneySettings(),
        apart or Apart(export),
    )  # fmt: skip
    return layers.playlist()


class _Layers:
    """Candidates of each place of a journey, with their costs."""

    def __init__(
        self,
        export: Export,
        start: End,
        end: End,
        steps: int,
        listener: Listener | None,
        query: Query,
        settings: JourneySettings,
        apart: Apart,
    ):
        self._export, self._listener, self._settings, self._apart = export, listener, settings, apart
        self._ends = (start, end)
        among = allowed(export, query, None if listener is None else listener.standing)
        self._fixed = [int(one.rows[0]) for one in self._ends if one.is_asked_for]
        among[self._of_recordings(np.array(self._fixed, np.int64))] = False
        self._asked = steps
        points = arc(start.point, end.point, np.arange(steps + 1) / steps)
        self._rows = self._candidates(points, among)
        free = len(np.unique(self._recordings(self._rows)))
        self._steps = min(steps, free + len(self._fixed) - 1)
        if self._steps < 1:
            raise NowhereToLead("no content is allowed on this way; allow more kinds, or deny less")
        self._shares = np.arange(self._steps + 1) / self._steps
        self._points = arc(start.point, end.point, self._shares)
        self._costs = self._of_places()

    def playlist(self) -> Playlist:
        """Returns the journey."""
        rows, places = self._layers()
        same = [self._recordings(layer) for layer in rows]
        for which in (0, -1):  # an end that is asked for may have the recording of the other
            if self._is_fixed(which):
                same[which] = np.array([-1 + which])
        steps = [self._of_step(before, after, place) for place, (before, after) in enumerate(pairwise(rows))]
        way = cheapest_way(places, steps, same)
        chosen = np.array([layer[at] for layer, at in zip(rows, way, strict=True)], np.int64)
        by_audience, by_ear = (
            [_known(measure(chosen[[at]], chosen[[at + 1]])[0, 0]) for at in range(self._steps)]
            for measure in (self._apart.by_audience, self._apart.by_ear)
        )
        return Playlist(
            rows=chosen,
            scores=np.einsum("pd,pd->p", self._points, self._export.vectors[chosen].astype(np.float64)),
            reasons=self._reasons(chosen),
            remark=self._remark(chosen),
            facts={"by_audience": by_audience, "by_ear": by_ear},
        )

    def _candidates(
        self, points: Float[np.ndarray, "places dim"], among: Bool[np.ndarray, " contents"]
    ) -> Int[np.ndarray, " candidates"]:
        """Returns what is allowed anywhere on the way except at fixed ends, ascending."""
        export = self._export
        index = export.exact_index if np.count_nonzero(among) < EXACT_BELOW else export.index
        nearest, _ = index.search(points.astype(np.float32), LOOKED_AT, among)
        found = [nearest.ravel(), *(one.rows for one in self._ends)]
        if self._listener is not None:
            found.append(self._listener.standing.heard)
        if export.co_listening is not None:
            found.append(export.co_listening.rows[self._fixed].ravel())
        rows = np.unique(np.concatenate(found)).astype(np.int64)
        rows = rows[rows >= 0]
        return rows[among[rows]]

    def _of_places(self) -> Float[np.ndarray, "places candidates"]:
        """Returns the cost of each candidate at each place."""
        settings, rows = self._settings, self._rows
        far = blended(
            self._apart.audience_from(self._points, rows),
            self._apart.ear_from(self._sound_points(), rows),
            settings.ear_share,
        )
        costs = settings.pull * far**settings.evenness
        if self._listener is not None and len(rows):
            costs -= settings.liking * chance(self._listener.utility(rows))
            is_early = self._shares <= settings.known_until
            costs += settings.knowing * (is_early[:, None] != self._knows(rows))
        return costs

    def _sound_points(self) -> Float[np.ndarray, "places sound_dim"]:
        """Returns the sound at each place of the way; zeros where one of its ends has no sound."""
        start, end = (one.sound for one in self._ends)
        if not (start.any() and end.any()) or float(start @ end) < OPPOSITE:
            return np.zeros((len(self._shares), len(start)))
        return arc(start, end, self._shares)

    def _layers(self) -> tuple[list[Int[np.ndarray, " _"]], list[Float[np.ndarray, " _"]]]:
        """Returns the candidates of each place, and their costs."""
        kept = max(KEPT, self._steps + 1)
        layers, costs = [], []
        for place, cost in enumerate(self._costs):
            which, rows = {0: 0, self._steps: -1}.get(place), self._rows
            if which is not None and self._is_fixed(which):
                rows, cost = self._ends[which].rows, np.zeros(1)
            elif which is not None and len(self._ends[which].rows):
                is_there = np.isin(rows, self._ends[which].rows)
                if not is_there.any():
                    raise NowhereToLead("from, to: one of the two ends has no allowed contents left; name another one")
                rows, cost = rows[is_there], cost[is_there]
            best = np.argsort(cost, kind="stable")[:kept]
            layers.append(rows[best])
            costs.append(cost[best])
        return layers, costs

    def _of_step(
        self, before: Int[np.ndarray, " before"], after: Int[np.ndarray, " after"], place: int
    ) -> Float[np.ndarray, "before after"]:
        """Returns the cost of each step from one place to the next."""
        settings = self._settings
        cost = self._apart.both(before, after, settings.ear_share) ** settings.evenness
        cost += UNWANTED * self._share_artists(before, after)
        is_asked_for = (place == 0 and self._is_fixed(0)) or (place == self._steps - 1 and self._is_fixed(-1))
        if self._listener is not None and not is_asked_for:
            cost += UNWANTED * (~self._knows(before)[:, None] & self._knows(after))
        return cost

    def _is_fixed(self, which: int) -> bool:
        """Returns whether the first (0) or the last (-1) piece is fixed by the request."""
        return self._ends[which].is_asked_for

    def _share_artists(
        self, before: Int[np.ndarray, " before"], after: Int[np.ndarray, " after"]
    ) -> Bool[np.ndarray, "before after"]:
        """Returns which pairs have an artist in common."""
        artists = self._export.facts.artists
        codes, place = np.unique(artists.take(np.concatenate([before, after])).values, return_inverse=True)
        has = np.zeros((len(before) + len(after), len(codes)), np.float32)
        has[artists.take(np.concatenate([before, after])).list_of_value, place] = 1
        return has[: len(before)] @ has[len(before) :].T > 0

    def _knows(self, rows: Int[np.ndarray, " rows"]) -> Bool[np.ndarray, " rows"]:
        """Returns which contents the listener has heard."""
        assert self._listener is not None
        return np.isin(rows, self._listener.standing.heard)

    def _recordings(self, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
        """Returns a number for each content that contents of the same recording share."""
        recordings = self._export.recordings
        return rows if recordings is None else recordings[rows].astype(np.int64)

    def _of_recordings(self, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " more"]:
        """Returns the rows of all contents with the recording of a given content."""
        recordings = self._export.recordings
        return rows if recordings is None else np.flatnonzero(np.isin(recordings, recordings[rows]))

    def _reasons(self, chosen: Int[np.ndarray, " pieces"]) -> tuple[Reason, ...]:
        """Returns the reason of each piece: what the listener did with it, or how it continues the one before."""
        export, listener = self._export, self._listener
        own = (None,) * len(chosen) if listener is None else reasons_for(listener, chosen)
        own = [
            one if one is not None and one.because == row else None
            for one, row in zip(own, chosen.tolist(), strict=True)
        ]
        first = None if self._is_fixed(0) else own[0]
        found = [first or Reason(kind=self._ends[0].reason)]
        for at, (before, row) in enumerate(pairwise(chosen.tolist()), start=1):
            if at == self._steps:
                found.append(Reason(kind=self._ends[1].reason))
            else:
                found.append(own[at] or Reason(kind=_link(export, before, row), because=before))
        return tuple(found)

    def _remark(self, chosen: Int[np.ndarray, " pieces"]) -> str:
        remarks = []
        if self._steps < self._asked:
            left = self._steps + 1 - 2
            remarks.append(
                f"only {left} pieces are allowed in between, {self._asked - self._steps} fewer than asked for"
            )
        together = sum(bool(self._share_artists(chosen[[at]], chosen[[at + 1]])) for at in range(self._steps))
        if together:
            remarks.append(f"{together} times an artist follows themselves, as no other piece is allowed there")
        return "; ".join(remarks)


def _link(export: Export, before: int, row: int) -> str:
    """Returns how a piece continues the one before it, as a name of `reasons.WORDS`."""
    if export.sound_likeness.are_close(np.array([row]), np.array([before]))[0, 0]:
        return "close_in_sound"
    near = export.co_listening
    if near is not None:
        _, _, weights = near.among(np.array([before]), np.array([row]))
        if len(weights) and weights[0] >= TOGETHER:
            return "listened_with"
    return "after"


def _known(length: float) -> float | None:
    return None if np.isnan(length) else float(length)
