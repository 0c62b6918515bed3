"""Reads the start and the destination of a journey from a request."""

from dataclasses import dataclass, replace

from towers.errors import UserError
from towers.policies.journey.ends import Destination, End, NowhereToLead, regions_of
from towers.policies.journey.regions import RegionView
from towers.policies.listener import Listener
from towers.policies.request import Request
from towers.retrieval.query import Query, allowed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AskedEnds:
    """Both ends of a journey, as requested.

    Args:
        start: where the journey begins.
        end: where it leads.
        region: name of the region that it leads to; null where it leads to a content.
    """

    start: End
    end: End
    region: str | None

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of contents at both ends."""
        return (*self.start.kinds, *self.end.kinds)


def asked_ends(request: Request, query: Query) -> AskedEnds:
    """Returns the ends of a journey: up to two contents and `to`. A missing start is the listener's home, and a missing
    destination a region that they would adopt; one given end decides the kind of contents of the other.

    Args:
        request: the request.
        query: query that says which contents are allowed.

    Raises:
        UserError: more than two ends are named, or fewer without a listener; or as the ends raise it.
    """
    named = request.some_contents("the pieces that a journey leads between", least=0, most=2).tolist()
    if request.to is not None and len(named) == 2:
        raise UserError("to: contents names both ends of the journey; leave one of them out")
    to = Destination(row=named[1]) if len(named) == 2 else request.to
    listener = request.listener_if_any
    if listener is None and not named:
        raise UserError("contents: give the piece that the journey begins at, or user= whose journey it is")
    if listener is None and to is None:
        raise UserError("to: say where the journey leads, a content or a region, or user= whose journey it is")
    start = End.of_content(request.shared.apart, request.export, named[0], "sets_out") if named else None
    if to is not None:
        end = _end_at(request, query, to)
        return AskedEnds(
            start=start or _home(request, _of_kinds(request, query, end)), end=end, region=_name(request, to)
        )
    start = start or _home(request, query)
    try:
        region = _adopted(request.listener, request, _of_kinds(request, query, start))
    except NowhereToLead:  # with contents of this kind
        region = _adopted(request.listener, request, query)
    adopted = Destination(region=region)
    return AskedEnds(start=start, end=_end_at(request, query, adopted), region=_name(request, adopted))


def _end_at(request: Request, query: Query, to: Destination) -> End:
    if to.row >= 0:
        return End.of_content(request.shared.apart, request.export, to.row, "leads")
    listener = request.listener_if_any
    may_come = allowed(request.export, query, None if listener is None else listener.standing)
    return End.of_region(request.shared.apart, request.export, to.region, may_come)


def _home(request: Request, query: Query) -> End:
    listener = request.listener
    return End.of_home(request.shared.apart, listener, allowed(request.export, query, listener.standing))


def _adopted(listener: Listener, request: Request, query: Query) -> int:
    return RegionView.of(listener, query, apart=request.shared.apart).destination(query.k - 1).regions[-1]


def _of_kinds(request: Request, query: Query, end: End) -> Query:
    """Returns the query for the other end: of the kind of this one, unless the request names kinds."""
    return query if "kind" in request.asked else replace(query, kind=end.kinds)


def _name(request: Request, to: Destination) -> str | None:
    return None if to.region < 0 else regions_of(request.export).names[to.region]
