"""The raw table `impressions/`: what was shown, with what chance, and what came of it; one row for each slot shown.

It is what policies log and what they are judged by off-policy. `towers prepare` checks every row as `Impression` does,
and keeps what is valid beside the histories (`Store.impressions`). Of a request, all rows name one listener, and a slot
stands once.
"""

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from towers.contract import schema
from towers.contract.tables import CONTRACT, Column

IMPRESSION_COLUMNS: Final[dict[str, Column]] = CONTRACT[schema.IMPRESSIONS]
_ARROW: Final = {
    "VARCHAR": pa.string(),
    "VARCHAR[]": pa.list_(pa.string()),
    "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
}
IMPRESSION_SCHEMA: Final = pa.schema([(name, _ARROW[column.sql]) for name, column in IMPRESSION_COLUMNS.items()])
"""The columns as a prepared store has them: ids as text, times in microseconds, UTC."""
OUTCOMES: Final = ("clicked", "played_ms", "skipped", "finished", "saved")
"""The columns that say what the listener did with what was shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Impression:
    """A slot of an answer to a listener. Fields that were not logged are null.

    Args:
        request_id: id of the request, the same for all slots of its answer.
        user_id: the listener.
        timestamp_us: time at which it was shown, in microseconds since 1970, UTC.
        candidate_ids: contents that could have been chosen.
        chosen_id: the content shown in the slot.
        slot: number of the slot, from 0, the uppermost or leftmost.
        shelf: the row of the page, or the list, that the slot belongs to.
        propensity: chance with which the policy chose this content for the slot, as `Slate` has it; in (0, 1].
        policy_id: the policy that chose.
        space_id: the space of the vectors that it chose by.
        clicked: whether the listener opened it.
        played_ms: played time, in milliseconds.
        skipped: whether the listener skipped it.
        finished: whether it played to its end.
        saved: whether the listener saved it.

    Raises:
        ValueError: a propensity outside (0, 1], a slot or a time below 0, or a chosen content that is no candidate.
    """

    request_id: str
    user_id: str
    timestamp_us: int
    candidate_ids: tuple[str, ...] | None = None
    chosen_id: str | None = None
    slot: int | None = None
    shelf: str | None = None
    propensity: float | None = None
    policy_id: str | None = None
    space_id: str | None = None
    clicked: bool | None = None
    played_ms: int | None = None
    skipped: bool | None = None
    finished: bool | None = None
    saved: bool | None = None

    def __post_init__(self) -> None:
        if self.propensity is not None and not 0 < self.propensity <= 1:
            raise ValueError(f"propensity must be above 0 and at most 1, got {self.propensity}")
        if self.slot is not None and self.slot < 0:
            raise ValueError(f"slot must be 0 or more, got {self.slot}")
        if self.played_ms is not None and self.played_ms < 0:
            raise ValueError(f"played_ms must be 0 or more, got {self.played_ms}")
        candidate_ids = self.candidate_ids
        if self.chosen_id is not None and candidate_ids is not None and self.chosen_id not in candidate_ids:
            raise ValueError(f"chosen_id {self.chosen_id!r} is not among the {len(candidate_ids)} candidate_ids")
