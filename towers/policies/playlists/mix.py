"""A mix: known and new contents, in the styles that a listener listens to."""

from dataclasses import dataclass

import numpy as np

from towers.policies.calibration import listener_mix
from towers.policies.candidates import candidates
from towers.policies.playlist import Playlist
from towers.policies.reasons import reasons_for
from towers.policies.request import Request
from towers.policies.rules import Candidates, Rules, dial
from towers.policies.sequencing import ordered
from towers.policies.slate import in_styles, pick, pick_near

LOOKED_AT = 500
"""Number of heard candidates and of new ones, those of the highest utility, that the list is chosen from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Settings of a mix.

    Args:
        k: number of places, unless the request has another.
        max_per_artist: largest number of contents of one artist; null: no limit.
        calibrated: whether the list has the listener's styles in their shares.

    Raises:
        UserError: as `Rules`.
    """

    k: int = 50
    max_per_artist: int | None = 4
    calibrated: bool = True

    def __post_init__(self) -> None:
        Rules(k=self.k, max_per_artist=self.max_per_artist)

    def make(self, request: Request) -> Playlist:
        """Makes the list of one listener; the request's `familiar` is the exact share of contents that they know."""
        listener, export = request.listener, request.export
        query = request.query(k=self.k, include_heard=True)
        rows = candidates(listener, query)
        utility = listener.utility(rows)
        is_heard = np.isin(rows, listener.standing.heard)
        order = np.lexsort((rows, -utility))
        kept = np.zeros(len(rows), bool)
        for part in (is_heard[order], ~is_heard[order]):
            kept |= part & (np.cumsum(part) <= LOOKED_AT)
        kept = order[kept]
        found = Candidates.of(rows[kept], utility[kept], export.facts.artists, export.recordings)
        rules = Rules(k=query.k, max_per_artist=self.max_per_artist)
        heard = np.isin(found.rows, listener.standing.heard)
        quotas = () if query.familiar is None else dial(query.familiar, heard, query.k)
        if self.calibrated and export.styles is not None and len(listener.chosen):
            styles = export.styles.of(found.rows)
            wanted = listener_mix(export.styles.of(listener.chosen))
            picked = pick_near(found, rules, quotas, in_styles(found, rules, styles, wanted))
        else:
            picked = pick(found, rules, quotas)
        chosen = found.at(picked.places)
        order = ordered(export.vectors[chosen.rows], chosen.utility, chosen.artists)
        rows = chosen.rows[order]
        reasons = reasons_for(listener, rows)
        return Playlist(rows=rows, scores=chosen.utility[order], reasons=reasons, remark=picked.remark)
