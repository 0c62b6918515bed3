"""Kinds of lists as configurations name them; each takes what it needs from a `Request`.

Discover Weekly (`playlists/discover_weekly`) and the mix (`playlists/mix`) are defined in their own modules; the others
here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from towers.errors import UserError
from towers.policies.journey.asked import asked_ends
from towers.policies.journey.ends import NowhereToLead
from towers.policies.playlist import Playlist
from towers.policies.playlists.algotorial import personalise
from towers.policies.playlists.arithmetic import add_and_subtract
from towers.policies.playlists.blend import BlendSettings, blend
from towers.policies.playlists.continuation import ContinuationSettings, continuation
from towers.policies.playlists.discover_weekly import DiscoverWeekly
from towers.policies.playlists.journey import JourneySettings, journey
from towers.policies.playlists.mix import Mix
from towers.policies.playlists.on_repeat import OnRepeatSettings, on_repeat
from towers.policies.playlists.path import path
from towers.policies.playlists.proposal import ProposalSettings, propose_pool
from towers.policies.playlists.radio import RadioSettings, radio
from towers.policies.playlists.similar_artists import SimilarArtistsSettings, similar_artists
from towers.policies.request import Kind, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """Makes one list for several listeners, or for listeners with artists, playlists or curators; see
    `playlists/blend`.

    Args:
        k, candidates, max_per_artist, reach: as in `BlendSettings`; the request's `k` comes first, and there are at
            least as many candidates as places.
    """

    k: int = 50
    candidates: int = 300
    max_per_artist: int | None = None
    reach: int | float = 0.25

    def make(self, request: Request) -> Playlist:
        """Makes the list for all members."""
        query = request.query(k=self.k, include_heard=True)
        settings = BlendSettings(
            query=query,
            candidates=max(self.candidates, query.k),
            max_per_artist=self.max_per_artist,
            reach=self.reach,
            left_out=request.left_out,
        )
        return blend((*request.listeners, *request.partners), settings, request.shared.matches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Algotorial:
    """Makes a list from an editors' pool, ordered for a listener, under the editors' rules; see
    `playlists/algotorial`."""

    def make(self, request: Request) -> Playlist:
        """Makes the list for one listener."""
        if request.pool is None:
            raise UserError("pool: give an editor's pool, such as pool=FILE.yaml or pool=PLAYLIST_ID")
        return personalise(request.pool, request.listener, request.weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnRepeat(OnRepeatSettings):
    """Lists what a listener plays again and again; see `playlists/on_repeat`."""

    def make(self, request: Request) -> Playlist:
        """Makes the list for one listener."""
        query = request.query(k=self.k, include_heard=True)
        return on_repeat(request.listener, query=query, settings=replace(self, k=query.k))


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarArtists(SimilarArtistsSettings):
    """Lists artists who are similar to an artist; see `playlists/similar_artists`.

    Args:
        k: largest number of artists, unless the request has another.
    """

    k: int = 10

    def make(self, request: Request) -> Playlist:
        """Makes the list of artists, the most similar first."""
        (artist,) = request.some_contents("the artist", most=1).tolist()
        return similar_artists(request.export, artist, k=request.query(k=self.k).k, settings=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Radio(RadioSettings):
    """Continues from a piece or an artist, with or without a listener; see `playlists/radio`.

    Args:
        k: number of places, unless the request has another.
    """

    k: int = 25

    def make(self, request: Request) -> Playlist:
        """Makes the list that continues from the contents of the request."""
        seeds = request.some_contents("the pieces or artists that the radio goes on from")
        query = request.query(k=self.k, include_heard=True)
        return radio(request.export, seeds, listener=request.listener_if_any, query=query, settings=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Leads from one piece to another in even steps; see `playlists/path`.

    Args:
        steps: number of moves, unless the request has a number of pieces, which includes both ends.
    """

    steps: int = 10

    def make(self, request: Request) -> Playlist:
        """Makes the list of pieces, both ends included."""
        start, end = request.some_contents("the two pieces that the path leads between", least=2, most=2).tolist()
        query = request.query(k=self.steps + 1, include_heard=True)
        if query.k < 2:
            raise UserError(f"k={query.k}: a path has at least 2 pieces, its ends")
        return path(request.export, start, end, steps=query.k - 1, query=query)


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey(JourneySettings):
    """Leads a listener from what they know to where they have not been; see `playlists/journey`.

    Args:
        steps: number of moves, unless the request has a number of pieces, which includes both ends.
    """

    steps: int = 10

    def make(self, request: Request) -> Playlist:
        """Makes the list of pieces, both ends included; by default from what the listener likes most to a region that
        they would adopt."""
        query = request.query(k=self.steps + 1, include_heard=True)
        if query.k < 2:
            raise UserError(f"k={query.k}: a journey has at least 2 pieces, its ends")
        try:
            ends = asked_ends(request, query)
            if "kind" not in request.asked:
                query = replace(query, kind=ends.kinds)
            found = journey(request.export, ends.start, ends.end, steps=query.k - 1, listener=request.listener_if_any,
                            query=query, settings=self, apart=request.shared.apart)  # fmt: skip
        except NowhereToLead as nowhere:
            if len(request.contents) or request.to is not None:
                raise
            return Playlist(rows=np.zeros(0, np.int64), scores=np.zeros(0), remark=str(nowhere))
        return replace(found, facts=found.facts | {"region": ends.region})


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """Lists the contents nearest to the sum of some contents less others; see `playlists/arithmetic`.

    Args:
        k: number of places, unless the request has another.
    """

    k: int = 20

    def make(self, request: Request) -> Playlist:
        """Makes the list of the nearest contents, without those that are added or subtracted."""
        plus = request.some_contents("the contents that are added")
        return add_and_subtract(request.export, plus, request.minus, query=request.query(k=self.k))


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation(ContinuationSettings):
    """Continues a playlist, or some pieces; see `playlists/continuation`.

    Args:
        k: number of places, unless the request has another.
    """

    k: int = 100

    def make(self, request: Request) -> Playlist:
        """Makes the list of pieces, best first; a playlist of the export is left out of what it is continued by."""
        contents = request.some_contents("a playlist, or the pieces that it goes on from")
        playlists = request.export.playlists
        place = playlists.place(int(contents[0])) if len(contents) == 1 else -1
        return continuation(
            request.export,
            contents if place < 0 else playlists.members[place].astype(np.int64),
            playlists=request.shared.known_playlists,
            without=None if place < 0 else place,
            listener=request.listener_if_any,
            query=request.query(k=self.k, include_heard=True),
            settings=self,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolProposal(ProposalSettings):
    """Proposes a pool around an editor's few pieces, for the editor to edit; see `playlists/proposal`."""

    def make(self, request: Request) -> Playlist:
        """Makes the list of pieces, the given ones first."""
        seeds = request.some_contents("a few pieces that the pool is made around")
        return propose_pool(request.export, seeds, replace(self, k=request.query(k=self.k).k))


KINDS: Mapping[str, type[Kind]] = {
    "discover_weekly": DiscoverWeekly,
    "mix": Mix,
    "blend": Blend,
    "algotorial": Algotorial,
    "on_repeat": OnRepeat,
    "similar_artists": SimilarArtists,
    "radio": Radio,
    "path": Path,
    "journey": Journey,
    "arithmetic": Arithmetic,
    "continuation": Continuation,
    "pool_proposal": PoolProposal,
}
"""All kinds of lists, by name; built without arguments, a kind has its default settings."""
