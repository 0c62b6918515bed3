"""Rollback: puts an earlier version back and marks the served one as bad for ever.

The plan is written down first and removed last, so that after a kill the same command, or the next night, does the
rest of it and no more.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from towers.errors import Unreachable, UserError
from towers.lifecycle.ledger import Entry, Ledger
from towers.lifecycle.opening import opened, problem_of
from towers.lifecycle.replaced import readable_manifest
from towers.lifecycle.switching import lead_to
from towers.lifecycle.who import who
from towers.manifest import read_json, write_json
from towers.publishing.describing import space_told
from towers.publishing.sinks.sink import Progress, Sink
from towers.retrieval.export import Export
from towers.retrieval.files import MANIFEST
from towers.secrets import masked

BEGUN = ".rollback.json"
"""File in the ledger's folder while a rollback is under way."""
LISTED = 10
"""Most versions that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Plan of a rollback.

    Args:
        bad: version that serves and is marked bad; null where none serves.
        to: version that is put back.
        who: who asks for it.
        why: reason in words.
    """

    bad: str | None
    to: str
    who: str
    why: str


def roll_back(ledger: Ledger, sink: Sink, to: str | None, why: str, on_progress: Progress) -> list[str]:
    """Puts a version back, engines included, and marks the served one bad; does not wait for a running night.

    Args:
        ledger: ledger of the data set.
        sink: engine that readers query.
        to: version to put back; null: the last one that served, is not marked bad and opens.
        why: reason why the served version is bad.
        on_progress: called with the progress of filling an engine again.

    Returns:
        Lines for people.

    Raises:
        UserError: there is no such version or it may not serve, and nothing has changed; or an engine refuses, and the
            same command continues.
    """
    with ledger.alone():
        begun = _begun(ledger)
        if begun is not None and to in (None, begun.to):
            return ["continues a rollback that was interrupted", *_carry_out(ledger, sink, begun, on_progress)]
        champion = ledger.settle()
        if to is None and champion is not None and (last := champion.remarks[-1]).event == "put back":
            told = f"{champion.version} serves: it was put back by {last.who} at {last.when[:19]}Z"
            return [f"{told}; to go further back, name the version: to=VERSION ({_listed(ledger.entries())})"]
        target = _named(ledger, to) if to is not None else _previous(ledger)
        served = ledger.served()
        bad = None if champion is None or served is None else served.name
        plan = Plan(bad=bad, to=target.name, who=who(), why=masked(why.strip()) or "no reason was given")
        write_json(ledger.folder / BEGUN, asdict(plan))
        return _carry_out(ledger, sink, plan, on_progress)


def finish(ledger: Ledger, sink: Sink, on_progress: Progress) -> list[str]:
    """Completes a rollback that was killed, which every night does first; returns lines for people.

    Raises:
        UserError: the version to put back does not open, or an engine refuses.
    """
    if _begun(ledger) is None:
        return []
    with ledger.alone():
        begun = _begun(ledger)
        return [] if begun is None else _carry_out(ledger, sink, begun, on_progress)


def interrupted(ledger: Ledger) -> Path | None:
    """Returns the folder, which may be missing, of the version that an interrupted rollback was moving readers away
    from; null where no rollback was interrupted."""
    begun = _begun(ledger)
    return None if begun is None or begun.bad is None else ledger.exports / begun.bad


def _carry_out(ledger: Ledger, sink: Sink, plan: Plan, on_progress: Progress) -> list[str]:
    """Does all steps; steps that are done already change nothing."""
    served = ledger.served()
    if served is not None and served.exists() and served.name not in (plan.bad, plan.to):
        ledger.settle()
        _mark(ledger, plan, readable_manifest(ledger.exports / plan.to))
        (ledger.folder / BEGUN).unlink(missing_ok=True)
        return [f"{served.name} has been published since, and stays; to replace it, roll back once more"]
    try:
        export = opened(ledger.exports / plan.to)
    except UserError as error:
        raise UserError(f"{error}; another version can be put back: action=rollback to=VERSION") from None
    told = _marked(ledger, plan, export)
    try:
        told += lead_to(ledger, sink, export, on_progress)
    except UserError as error:
        kind = Unreachable if isinstance(error, Unreachable) else UserError
        raise kind(f"{error}; the same command goes on, with sink=none without the engine") from error
    ledger.settle("put back", plan.why, plan.who)
    (ledger.folder / BEGUN).unlink(missing_ok=True)
    return told


def _marked(ledger: Ledger, plan: Plan, export: Export) -> list[str]:
    """Marks the bad version; returns lines that say so, and what readers must know of the version that is put back."""
    if plan.bad is None:
        return [f"current moves to {plan.to}"]
    _mark(ledger, plan, export.manifest)
    told = f"{plan.bad} is marked bad ({plan.why}) and never published again; current moves BACK from it to {plan.to}"
    before = ledger.exports / plan.bad / MANIFEST
    space = space_told(read_json(before), export.manifest) if before.exists() else None
    return [told if space is None else f"{told}, {space}"]


def _mark(ledger: Ledger, plan: Plan, good: Mapping[str, Any]) -> None:
    record = None if plan.bad is None else ledger.of_version(plan.bad)
    if record is not None:
        ledger.mark_bad(record, plan.why, plan.who, good)


def _previous(ledger: Ledger) -> Path:
    """Returns the version that served last before the present one.

    Raises:
        UserError: there is none.
    """
    passed_over = []
    for entry in ledger.retired():
        assert entry.export is not None  # else it is not among these
        fault = _fault(ledger, entry.export)
        if fault is None:
            return entry.export
        passed_over.append(f"{entry.export.name}: {fault}")
    told = "; ".join([_listed(ledger.entries()), *passed_over])
    raise UserError(f"{ledger.exports}: no version that served before and may serve again ({told})")


def _named(ledger: Ledger, to: str) -> Path:
    """Returns the folder of a named version.

    Raises:
        UserError: there is no version of this name, or it may not serve.
    """
    entries = ledger.entries()
    entry = next((entry for entry in entries if to in _names(entry)), None)
    folder = ledger.exports / to if entry is None or entry.export is None else entry.export
    if folder.resolve() == ledger.served() and not folder.is_symlink():  # first: the ledger has its whole path
        raise UserError(f"to={to}: it serves already; there are: {_listed(entries)}")
    if not (folder / MANIFEST).exists() or folder.parent != ledger.exports or folder.is_symlink():
        raise UserError(f"to={to}: no such version in {ledger.exports}; there are: {_listed(entries)}")
    if entry is not None and not entry.record.serving_s:
        raise UserError(f"to={to}: it has never served; there are: {_listed(entries)}")
    if fault := _fault(ledger, folder):
        raise UserError(f"to={to}: {fault}; there are: {_listed(entries)}")
    return folder


def _fault(ledger: Ledger, folder: Path) -> str | None:
    """Returns why a version may not serve again; null where it may."""
    problem = problem_of(folder)
    return ledger.why_barred(read_json(folder / MANIFEST)) if problem is None else problem


def _names(entry: Entry) -> set[str | None]:
    return {entry.record.version, entry.export and entry.export.name}


def _listed(entries: list[Entry]) -> str:
    there = [f"{entry.export.name} ({entry.state})" for entry in entries if entry.export is not None]
    more = [f"{len(there) - LISTED} more"] if len(there) > LISTED else []
    return ", ".join([*there[:LISTED], *more]) or "none"


def _begun(ledger: Ledger) -> Plan | None:
    path = ledger.folder / BEGUN
    return Plan(**read_json(path)) if path.exists() else None
