"""The one rule of what may be recommended, whichever door somebody comes through.

A `Query` says what is asked for and a `Standing` what is known of who asks; `allowed` is the contents that may come.
Nothing here knows of the command line, of HTTP, or of how contents are searched.

| a content that the listener | comes |
|---|---|
| disliked, and neither liked nor saved after that | never |
| played (however short), liked, saved or took out of their library | with `include_heard` or `familiar` |
| did nothing with but skip | once their last skip is `skip_cooldown_days` old |
| searched for or looked at, or never met | always |

`familiar` says which share of the list was heard; with `include_heard` the chance of a listen decides. Of like, save
and dislike the last one counts. A play takes no dislike back: much is played that nobody asked for, and a dislike is
said on purpose. So does an `unsave` say nothing of liking: a content that leaves a library stays heard. Whatever its
listener did, a content comes only where `kind`, `explicit`, `released_by`, `among` and `deny` let it.
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
"""By action, whether somebody says by it what they think of a content; of these the last counts."""


def _no_rows() -> np.ndarray:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Query:
    """What is asked for.

    Args:
        k: at most so many contents.
        kind: kinds of the contents, some of `schema.KINDS`.
        among: rows to choose from, -1 for what the export does not have; null: the whole catalogue.
        deny: rows that must not come; -1 as in `among`.
        explicit: whether contents that are marked explicit may come.
        include_heard: whether what the listener has heard may come again.
        familiar: share of the list that the listener has heard, 0 to 1: at 0 all of it is new, at 1 nothing. Between,
            where one side has too few, the other fills the list. Null: `include_heard` says whether any may come.
        released_by: the last day of release that may come; null: the day of the export's last event. A content
            without a known day is taken for released, and so is everything where the export has no clock.
        skip_cooldown_days: after so many days what was only skipped may come again, counted back from the last event
            of the export, or of a history that was given. 0: at once; without a clock and above 0: never.

    Raises:
        UserError: `k` below 1, an unknown kind or none, days below 0, `familiar` outside 0 to 1.
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
        """Whether what the listener has heard may come."""
        return self.include_heard if self.familiar is None else self.familiar > 0

    @property
    def num_familiar(self) -> int:
        """Of `k`, how many `familiar` asks for; it must not be null."""
        assert self.familiar is not None
        return int(self.familiar * self.k + 0.5)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Standing:
    """How a listener stands to the contents that they met; every row is in one of the three at most.

    Args:
        disliked: rows, sorted.
        heard: rows, sorted.
        skipped: rows of what they did nothing with but skip, sorted.
        skipped_us: `[skipped]`, when they last did, in microseconds since 1970.
        until_us: from when days are counted back, likewise; null without a clock.
        events: all that they did, in time order.
    """

    disliked: Int[np.ndarray, " disliked"]
    heard: Int[np.ndarray, " heard"]
    skipped: Int[np.ndarray, " skipped"]
    skipped_us: Int[np.ndarray, " skipped"]
    until_us: int | None
    events: Events

    @classmethod
    def of(cls, events: Events, until_us: int | None) -> "Standing":
        """After `events`, in time order."""
        rows, action = events.content_row, events.action
        refused = is_refused(content_row=rows, action=action)
        # Of a content that stands in several places a dictionary keeps the last, and one listener's events are few.
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
        """This standing in rows of another version; `row_of` gives its row of each content, -1 where it has none."""
        disliked, heard, skipped = row_of[self.disliked], row_of[self.heard], row_of[self.skipped]
        met = self.events.content_row
        # An event of a content that the other version lacks names none there, and is no positive one.
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
        """Rows that must not come because of what the listener did with them."""
        kept_out = [self.disliked, self.skipped[~self._is_back(query.skip_cooldown_days)]]
        return np.concatenate(kept_out if query.may_be_heard else [*kept_out, self.heard])

    def _is_back(self, cooldown_days: int | float) -> Bool[np.ndarray, " skipped"]:
        if self.until_us is None or cooldown_days == 0:
            return np.full(len(self.skipped), cooldown_days == 0)
        return self.skipped_us <= self.until_us - cooldown_days * DAY_US


def standing_of(export: Export, user_row: int) -> Standing:
    """A listener of the export, who is as they were at its last event."""
    return Standing.of(export.events(user_row), export.until_us)


def allowed(export: Export, query: Query, standing: Standing | None) -> Bool[np.ndarray, " contents"]:
    """Which contents of the export may come.

    Args:
        export: whose contents are asked for.
        query: what is asked for.
        standing: of who asks, in rows of that export; null where nobody does.
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
    """The last value of each row, among the events that `where` marks."""
    return dict(zip(rows[where].tolist(), values[where].tolist(), strict=True))
