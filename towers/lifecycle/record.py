"""The record of one night of a data set, as its file in the ledger has it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal

Event = Literal[
    "published", "forced", "found serving", "put back", "rolled back", "retired", "marked bad", "refused", "note"
]
SERVES: Final[tuple[Event, ...]] = ("published", "found serving", "put back")
"""Events after which a version serves."""
ENDS: Final[tuple[Event, ...]] = ("retired", "rolled back")
"""Events after which it no longer serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """An event in the life of a version.

    Args:
        when: time, ISO 8601 in UTC, to the microsecond.
        who: `user@host`.
        event: what happened.
        why: reason in words; null: none was given.
    """

    when: str
    who: str
    event: Event
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """The reason why a version must never be published again.

    Args:
        when: time, ISO 8601 in UTC.
        who: `user@host`.
        why: reason in words.
        source: fingerprint of what the export was made from; null in old formats.
        weights: digest of its weights, whose other exports are barred, too; null where a good version has the same.
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
        night: name of the night, and of its file.
        version: name of its export; null while there is none.
        data_end: time of the last event of its data, ISO 8601 in UTC; null where events have no times.
        started: time of its start, ISO 8601 in UTC; null for a version that no night made.
        ended: time of its end; null for a night that has not ended.
        told: whether watchers have heard of its end; null for a night from before watchers existed.
        judged: folder of the judged twin's run, below the folder of runs; null while there is none.
        refit: folder of the run that is exported, below the folder of runs; null while there is none.
        store: fingerprint of its store.
        metrics: means of the judged twin.
        verdict: verdict of the gate, as JSON values; empty before there is one.
        space_id: space of the export.
        space_told: what consumers must know of a change of the space; null where it did not change.
        bar: reason why it must never be published again; null: it may be.
        remarks: events in its life, the oldest first.
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
        """Folders of its runs, below the folder of runs."""
        return tuple(run for run in (self.judged, self.refit) if run is not None)

    @property
    def serving_s(self) -> str:
        """Time when it last began to serve, ISO 8601; empty where it never did."""
        return max((remark.when for remark in self.remarks if remark.event in SERVES), default="")

    @property
    def is_said_to_serve(self) -> bool:
        """Returns whether its last remark on serving says that it serves."""
        events = [remark.event for remark in self.remarks if remark.event in (*SERVES, *ENDS)]
        return bool(events) and events[-1] in SERVES

    @property
    def is_refused(self) -> bool:
        """Returns whether the gate refused it and was not overruled."""
        return self.verdict.get("passed") is False

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values, which `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Record":
        """Reads the values of `to_json`; keys that a newer Towers wrote are left out.

        Raises:
            TypeError: a required key is missing.
        """
        own = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        own["remarks"] = tuple(Remark(**remark) for remark in own.get("remarks", ()))
        own["bar"] = None if own.get("bar") is None else Bar(**own["bar"])
        return cls(**own)
