"""What is known of one night of a data set, as it stands in its file of the ledger."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal

Event = Literal[
    "published", "forced", "found serving", "put back", "rolled back", "retired", "marked bad", "refused", "note"
]
SERVES: Final[tuple[Event, ...]] = ("published", "found serving", "put back")
"""After these a version serves."""
ENDS: Final[tuple[Event, ...]] = ("retired", "rolled back")
"""After these it serves no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something that happened to a version.

    Args:
        when: ISO 8601 in UTC, to the microsecond.
        who: `user@host`.
        event: what happened.
        why: in words; null: nobody said.
    """

    when: str
    who: str
    event: Event
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Why something is never published again.

    Args:
        when: ISO 8601 in UTC.
        who: `user@host`.
        why: in words.
        source: fingerprint of what the export followed from; null in old formats.
        weights: of its network, whose other exports are barred, too; null where a good version has the same.
    """

    when: str
    who: str
    why: str
    source: str | None = None
    weights: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One night, or a version that was found serving.

    Args:
        night: its name, which is also that of its file.
        version: name of its export; null while there is none.
        data_end: last event of its data, ISO 8601 in UTC; null without a clock.
        started: ISO 8601 in UTC; null for a version that no night made.
        ended: likewise; null for a night that has not come to its end.
        told: whether those who watch have heard of its end; null for a night of before they were there.
        judged: folder of the judged twin's run, below the folder of runs; null while there is none.
        refit: folder of the run that is exported, likewise.
        store: fingerprint of its store.
        metrics: means of the judged twin.
        verdict: what the gate said, as JSON values; empty while it said nothing.
        space_id: space of the export.
        space_told: what consumers must know of a change of the space; null where it did not change.
        bar: why it is never published again; null: it may be.
        remarks: what happened to it, the oldest first.
    """

    night: str
    version: str | None = None
    data_end: str | None = None
    started: str | None = None
    ended: str | None = None
    told: bool | None = None
    judged: str | None = None
    refit: str | None = None
    store: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    verdict: Mapping[str, Any] = field(default_factory=dict)
    space_id: str | None = None
    space_told: str | None = None
    bar: Bar | None = None
    remarks: tuple[Remark, ...] = ()

    @property
    def runs(self) -> tuple[str, ...]:
        """Its runs, below the folder of runs."""
        return tuple(run for run in (self.judged, self.refit) if run is not None)

    @property
    def serving_s(self) -> str:
        """When it last began to serve, ISO 8601; empty where it never did."""
        return max((remark.when for remark in self.remarks if remark.event in SERVES), default="")

    @property
    def is_said_to_serve(self) -> bool:
        """Whether its remarks end with it serving."""
        events = [remark.event for remark in self.remarks if remark.event in (*SERVES, *ENDS)]
        return bool(events) and events[-1] in SERVES

    @property
    def is_refused(self) -> bool:
        """Whether the gate refused it, and nobody forced it."""
        return self.verdict.get("passed") is False

    def to_json(self) -> dict[str, Any]:
        """JSON values; `from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Record":
        """Reads what `to_json` gave; what a newer Towers wrote besides is left out.

        Raises:
            TypeError: a part lacks what it must have.
        """
        own = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        own["remarks"] = tuple(Remark(**remark) for remark in own.get("remarks", ()))
        own["bar"] = None if own.get("bar") is None else Bar(**own["bar"])
        return cls(**own)
