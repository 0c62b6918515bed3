"""Rules for which contents may be recommended, the same for the command line, Python and HTTP.

A `Query` holds the request and a `Standing` the listener's relation to the contents of their history; `allowed` returns
the contents that may be recommended. How they are searched is elsewhere.

| a content that the listener | may be recommended |
|---|---|
| disliked, and neither liked nor saved after that | never |
| played (however briefly), liked, saved, or removed from their library | with `include_heard` or `familiar` |
| only skipped | once the last skip is `skip_cooldown_days` old |
| searched for or looked at, or never met | always |

`familiar` sets the share of the list that was heard before; with `include_heard` the chance of a listen decides. The
latest of like, save and dislike counts. A play does not revoke a dislike, because much is played automatically while a
dislike is deliberate. Nor does `unsave` revoke a like: a content that leaves the library still counts as heard. In all
cases the content must also pass `kind`, `explicit`, `released_by`, `among` and `deny`.
"""

from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
from jaxtyping import Bool, Int, Integer

from towers.contract import schema
from towers.contract.durations import DAY_US
from towers.contract.events import LIKES, is_heard, is_refused
from towers.errors import UserError
from towers.features.events import NUM_ACTIONS
from towers.retrieval.catalogue import kinds_in_order
from towers.retrieval.encoders import Events
from towers.retrieval.export import Export

SKIP_COOLDOWN_DAYS = 30.0
_IS_WORD = np.isin(np.arange(NUM_ACTIONS), (*LIKES, schema.DISLIKE))
"""True for the actions that state an opinion of a content; the latest of them counts."""


def _no_rows() -> np.ndarray:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Query:
    """A request for recommendations, without the listener.

    Args:
        k: largest number of contents to return.
        kind: kinds of the contents, from `schema.KINDS`.
        among: content rows of the candidates, -1 for one that the export does not have; null: the whole catalogue.
        deny: content rows to exclude; -1 as in `among`.
        explicit: whether explicit contents may be returned.
        include_heard: whether contents that the listener has heard may be returned.
        familiar: share of the list that the listener has heard, 0 to 1: at 0 all contents are new, at 1 none is. In
            between, if there are too few of one sort, the other fills the list. Null: `include_heard` decides.
        released_by: latest release date to return; null: the day of the export's last event. A content of unknown
            release date counts as released, and so do all contents if the export has no timestamps.
        skip_cooldown_days: days after which contents that were only skipped may be returned again, counted back from
            the last event of the export, or of a given history. 0: at once; above 0 without timestamps: never.

    Raises:
        UserError: `k` is below 1, a kind is unknown or none is given, days are negative, or `familiar` is outside 0 to
            1.
    """

    k: int = 20
    kind: tuple[str, ...] = schema.PLAYABLE_KINDS
    among: Integer[np.ndarray, " candidates"] | None = None
    deny: Integer[np.ndarray, " denied"] = field(default_factory=_no_rows)
    explicit: bool = True
    include_heard: bool = False
    familiar: int | float | None = None
    released_by: date | None = None
    skip_cooldown_days: int | float = SKIP_COOLDOWN_DAYS

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UserError(f"k={self.k}: must be at least 1")
        if not self.skip_cooldown_days >= 0:
            raise UserError(f"skip_cooldown_days={self.skip_cooldown_days}: must be 0 or more days")
        if self.familiar is not None and not 0 <= self.familiar <= 1:
            raise UserError(f"familiar={self.familiar}: must be a share, 0 (all new) to 1 (all familiar)")
        object.__setattr__(self, "kind", kinds_in_order(self.kind))

    @property
    def may_be_heard(self) -> bool:
        """True if contents that the listener has heard may be returned."""
        return self.include_heard if self.familiar is None else self.familiar > 0

    @property
    def num_familiar(self) -> int:
        """Number of heard contents among `k` that `familiar` requests; it must not be null."""
        assert self.familiar is not None
        return int(self.familiar * self.k + 0.5)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Standing:
    """A listener's relation to the contents of their history; each row is in at most one of the three lists.

    Args:
        disliked: rows of disliked contents, sorted.
        heard: rows of heard contents, sorted.
        skipped: rows of contents that were only skipped, sorted.
        skipped_us: `[skipped]`, time of the last skip of each, in microseconds since 1970.
        until_us: time from which days are counted back, in microseconds since 1970; null without timestamps.
        events: all events of the listener, in time order.
    """

    disliked: Int[np.ndarray, " disliked"]
    heard: Int[np.ndarray, " heard"]
    skipped: Int[np.ndarray, " skipped"]
    skipped_us: Int[np.ndarray, " skipped"]
    until_us: int | None
    events: Events

    @classmethod
    def of(cls, events: Events, until_us: int | None) -> "Standing":
        """Builds the standing after `events`, which are in time order."""
        rows, action = events.content_row, events.action
        refused = is_refused(content_row=rows, action=action)
        # A dictionary keeps the latest value of a content that occurs several times.
        words = _by_row(rows, action, (rows >= 0) & _IS_WORD[action])
        disliked = {row for row, word in words.items() if word == schema.DISLIKE}
        heard = {*rows[is_heard(content_row=rows, action=action) & ~refused].tolist()} - disliked
        skips = _by_row(rows, events.timestamp_us, refused & (action == schema.SKIP))
        skipped = sorted(skips.keys() - heard - disliked)
        return cls(
            disliked=np.array(sorted(disliked), np.int64),
            heard=np.array(sorted(heard), np.int64),
            skipped=np.array(skipped, np.int64),
            skipped_us=np.array([skips[row] for row in skipped], np.int64),
            until_us=until_us,
            events=events,
        )

    def moved(self, row_of: Int[np.ndarray, " own_contents"]) -> "Standing":
        """Returns this standing in rows of another version.

        Args:
            row_of: row in the other version of each content of this one; -1 if it does not have the content.
        """
        disliked, heard, skipped = row_of[self.disliked], row_of[self.heard], row_of[self.skipped]
        met = self.events.content_row
        # An event whose content the other version lacks becomes an event without content, and is not positive.
        rows = np.where(met >= 0, row_of[met], -1)
        events = replace(self.events, content_row=rows, is_positive=self.events.is_positive & (rows >= 0))
        return replace(
            self,
            disliked=disliked[disliked >= 0],
            heard=heard[heard >= 0],
            skipped=skipped[skipped >= 0],
            skipped_us=self.skipped_us[skipped >= 0],
            events=events,
        )

    def withheld(self, query: Query) -> Int[np.ndarray, " withheld"]:
        """Returns the rows that are excluded because of the listener's own events."""
        kept_out = [self.disliked, self.skipped[~self._is_back(query.skip_cooldown_days)]]
        return np.concatenate(kept_out if query.may_be_heard else [*kept_out, self.heard])

    def _is_back(self, cooldown_days: int | float) -> Bool[np.ndarray, " skipped"]:
        if self.until_us is None or cooldown_days == 0:
            return np.full(len(self.skipped), cooldown_days == 0)
        return self.skipped_us <= self.until_us - cooldown_days * DAY_US


def standing_of(export: Export, user_row: int) -> Standing:
    """Returns the standing of a listener of the export, as of its last event."""
    return Standing.of(export.events(user_row), export.until_us)


def allowed(export: Export, query: Query, standing: Standing | None) -> Bool[np.ndarray, " contents"]:
    """Returns which contents of the export may be recommended.

    Args:
        export: export that holds the contents.
        query: request.
        standing: standing of the listener, in rows of that export; null for a query without a listener.
    """
    passing = export.catalogue.passing(query.kind, query.explicit, query.released_by or export.last_day)
    if query.among is None:
        found = passing.copy()
    else:
        found = np.zeros(len(passing), bool)
        among = query.among[query.among >= 0]
        found[among] = passing[among]
    found[query.deny[query.deny >= 0]] = False
    if standing is not None:
        found[standing.withheld(query)] = False
    return found


def _by_row(rows: np.ndarray, values: np.ndarray, where: np.ndarray) -> dict[int, int]:
    """Returns the last value of each row, among the events that `where` marks."""
    return dict(zip(rows[where].tolist(), values[where].tolist(), strict=True))
