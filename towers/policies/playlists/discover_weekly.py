"""Discover Weekly: a weekly list of contents that a listener has never met."""

from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.errors import UserError
from towers.policies.candidates import candidates
from towers.policies.listener import Listener
from towers.policies.playlist import Playlist
from towers.policies.reasons import reasons_for
from towers.policies.request import Request
from towers.policies.rules import Candidates, Quota, Rules
from towers.policies.sequencing import ordered
from towers.policies.soft_quotas import pick_leaning

LOOKED_AT = 400
"""Number of candidates, those of the highest utility, that the rules choose from; quotas are met with far fewer."""
COLD_CHANCE = 0.8
"""Share of places for contents without plays, relative to their share of what listeners come to choose."""

LEAST_RETURN = 0.01
"""Least expected return, in days; lower ones are raised to it, since the logarithm has no bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverWeekly:
    """Settings of Discover Weekly.

    Args:
        k: number of places.
        max_per_artist: largest number of contents of one artist.
        new_artists: least share of the list that is by artists whom the listener never met.
        taste_share: each taste gets at least this part of its share of the places, where possible, 0 to 1.
        weeks_apart: number of weeks in which shown contents are not repeated; callers read them from earlier lists
            (`policies/shown`) and pass them in the request.
        long_term: weight of the logarithm of the expected return (how often listeners who discover something through a
            content come back) beside the log odds of a listen. 0: not used; 1: contents are ranked by the probability
            of a listen times the return.

    Raises:
        UserError: a share is outside 0 to 1, weeks or a weight are below 0, or as `Rules`.
    """

    k: int = 30
    max_per_artist: int = 2
    new_artists: int | float = 0.6
    taste_share: int | float = 0.25
    weeks_apart: int = 8
    long_term: int | float = 0.0

    def __post_init__(self) -> None:
        for name in ("new_artists", "taste_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name}={getattr(self, name)}: must be a share, 0 to 1")
        if self.weeks_apart < 0:
            raise UserError(f"weeks_apart={self.weeks_apart}: must be 0 or more weeks")
        if not self.long_term >= 0:
            raise UserError(f"long_term={self.long_term}: must be 0 or more")
        Rules(k=self.k, max_per_artist=self.max_per_artist)

    def make(self, request: Request) -> Playlist:
        """Makes the list of one listener.

        It leaves out contents in any of their events, contents shown lately, and contents not released yet. Cold
        contents have a share of the places: without plays, utility alone would include them too rarely for any listener
        to play them.
        """
        listener, export = request.listener, request.export
        query = request.query(k=self.k)
        if query.may_be_heard:
            raise UserError("familiar: Discover Weekly holds nothing that its listener knows; playlist=mix has a dial")
        # Skipped contents are among those they met, however long ago.
        query = replace(query, deny=np.concatenate([query.deny, request.shown]), skip_cooldown_days=0)
        rows = candidates(listener, query)
        rows = rows[~listener.has_met(rows)]
        utility = listener.utility(rows) + self._later(listener, rows)
        if len(rows) > LOOKED_AT:
            rows, utility = self._best(listener, rows, utility)
        found = Candidates.of(rows, utility, export.facts.artists, export.recordings)
        rules = Rules(k=query.k, max_per_artist=self.max_per_artist)
        firm = [Quota(name="of artists never met", mask=new_to(listener, found.rows), share=self.new_artists)]
        picked = pick_leaning(found, rules, firm, self._soft_quotas(listener, found.rows, query.k))
        chosen = found.at(picked.places)
        order = ordered(export.vectors[chosen.rows], chosen.utility, chosen.artists)
        rows, utility = chosen.rows[order], chosen.utility[order]
        return Playlist(rows=rows, scores=utility, reasons=reasons_for(listener, rows), remark=picked.remark)

    def _later(self, listener: Listener, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """Returns what contents' expected returns add to their utility; raises `UserError` where they are not known."""
        if not self.long_term:
            return np.zeros(len(rows))
        expected = listener.export.known_long_term().expected[rows].astype(np.float64)
        return self.long_term * np.log(np.maximum(expected, LEAST_RETURN))

    def _best(
        self, listener: Listener, rows: Int[np.ndarray, " rows"], utility: Float[np.ndarray, " rows"]
    ) -> tuple[Int[np.ndarray, " best"], Float[np.ndarray, " best"]]:
        """Returns the best candidates, with some more whose artists are new, and some more cold ones."""
        order = np.lexsort((rows, -utility))
        is_new, is_cold = new_to(listener, rows[order]), listener.export.is_cold[rows[order]]
        kept = np.zeros(len(order), bool)
        kept[:LOOKED_AT] = True
        for mask in (is_new, is_cold):
            kept |= mask & (np.cumsum(mask) <= LOOKED_AT // 2)
        return rows[order[kept]], utility[order[kept]]

    def _soft_quotas(self, listener: Listener, rows: Int[np.ndarray, " rows"], k: int) -> list[Quota]:
        """Returns quotas for cold contents and for each taste."""
        export, quotas = listener.export, []
        cold_share = 0.0 if export.mixture is None else export.mixture.fitted["cold_share"]
        is_cold = export.is_cold[rows] & (export.facts.recent_positives[rows] == 0)
        if cold_share:
            least = min(int(COLD_CHANCE * cold_share * k + _drawn(listener)), int(is_cold.sum()))
            quotas.append(Quota(name="that no listener has chosen yet", mask=is_cold, least=least))
        tastes = listener.tastes
        nearest = tastes.affinity(export.vectors[rows]).argmax(axis=1)
        for taste, share in enumerate(tastes.shares.tolist()):
            mask = nearest == taste
            least = min(int(self.taste_share * share * k), int(mask.sum()))
            quotas.append(Quota(name=f"of taste {taste + 1}", mask=mask, least=least))
        return quotas


def _drawn(listener: Listener) -> float:
    """Returns a fixed number in [0, 1) for each listener, so that a third of a place is one for every third
    listener."""
    if listener.user_row is None:
        return 0.5
    return crc32(listener.export.user_ids[listener.user_row].encode()) / 2**32


def new_to(listener: Listener, rows: Int[np.ndarray, " rows"]) -> Bool[np.ndarray, " rows"]:
    """Returns whether the listener met none of a content's artists; true for contents without a known artist."""
    return listener.export.facts.artist_plays(listener.met, rows) == 0
