"""The kinds of lists as configurations name them, each of which takes what it needs from a `Request`.

Discover Weekly (`playlists/discover_weekly`) and the mix (`playlists/mix`) are kinds by themselves; the rest is here.
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
    """One list for several listeners, or for listeners with artists, playlists or curators; see `playlists/blend`.

    Args:
        k, candidates, max_per_artist, reach: as `BlendSettings`; `k` unless another number is asked for, and no fewer
            candidates than places.
    """

    k: int = 50
    candidates: int = 300
    max_per_artist: int | None = None
    reach: int | float = 0.25

    def make(self, request: Request) -> Playlist:
        """The list of all members."""
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
    """An editor's pool, in the order of a listener, under the editor's rules; see `playlists/algotorial`."""

    def make(self, request: Request) -> Playlist:
        """The list of one listener."""
        if request.pool is None:
            raise UserError("pool: give an editor's pool, such as pool=FILE.yaml or pool=PLAYLIST_ID")
        return personalise(request.pool, request.listener, request.weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnRepeat(OnRepeatSettings):
    """What a listener plays again and again; see `playlists/on_repeat`."""

    def make(self, request: Request) -> Playlist:
        """The list of one listener."""
        query = request.query(k=self.k, include_heard=True)
        return on_repeat(request.listener, query=query, settings=replace(self, k=query.k))


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarArtists(SimilarArtistsSettings):
    """Artists like an artist; see `playlists/similar_artists`.

    Args:
        k: at most so many, unless another number is asked for.
    """

    k: int = 10

    def make(self, request: Request) -> Playlist:
        """The artists, the most alike first."""
        (artist,) = request.some_contents("the artist", most=1).tolist()
        return similar_artists(request.export, artist, k=request.query(k=self.k).k, settings=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Radio(RadioSettings):
    """What goes on from a piece or an artist, for a listener or for nobody; see `playlists/radio`.

    Args:
        k: places, unless others are asked for.
    """

    k: int = 25

    def make(self, request: Request) -> Playlist:
        """The list that goes on from the contents of the request."""
        seeds = request.some_contents("the pieces or artists that the radio goes on from")
        query = request.query(k=self.k, include_heard=True)
        return radio(request.export, seeds, listener=request.listener_if_any, query=query, settings=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """From one piece to another in even steps; see `playlists/path`.

    Args:
        steps: moves that it takes, unless a number of pieces is asked for, which has both ends in it.
    """

    steps: int = 10

    def make(self, request: Request) -> Playlist:
        """The pieces, both ends included."""
        start, end = request.some_contents("the two pieces that the path leads between", least=2, most=2).tolist()
        query = request.query(k=self.steps + 1, include_heard=True)
        if query.k < 2:
            raise UserError(f"k={query.k}: a path has at least 2 pieces, its ends")
        return path(request.export, start, end, steps=query.k - 1, query=query)


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey(JourneySettings):
    """From what somebody knows to where they have not been; see `playlists/journey`.

    Args:
        steps: moves that it takes, unless a number of pieces is asked for, which has both ends in it.
    """

    steps: int = 10

    def make(self, request: Request) -> Playlist:
        """The pieces, both ends included; of a listener from what they like most, to a region that they would adopt,
        unless it is said from where and to where."""
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
    """What lies at the sum of some contents less others; see `playlists/arithmetic`.

    Args:
        k: places, unless others are asked for.
    """

    k: int = 20

    def make(self, request: Request) -> Playlist:
        """The nearest contents, those that are added and subtracted left out."""
        plus = request.some_contents("the contents that are added")
        return add_and_subtract(request.export, plus, request.minus, query=request.query(k=self.k))


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation(ContinuationSettings):
    """What goes on from a playlist, or from some pieces; see `playlists/continuation`.

    Args:
        k: places, unless others are asked for.
    """

    k: int = 100

    def make(self, request: Request) -> Playlist:
        """The pieces, the best first; a playlist of the export is not learnt from itself."""
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
    """A pool around an editor's few pieces, for the editor to edit; see `playlists/proposal`."""

    def make(self, request: Request) -> Playlist:
        """The pieces, the given ones first."""
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
"""All of them, by name; made without arguments, a kind has its default settings."""
