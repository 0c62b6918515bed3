"""Nights that are reported to watchers as the command does it, around small real exports."""

from contextlib import nullcontext, redirect_stderr, suppress
from io import StringIO

from tests.lifecycle.versions import ledger_in, night
from tests.lifecycle.watching.states import state_in
from tests.publishing.sink_export import change_manifest
from towers.errors import GateRefused
from towers.lifecycle.record import Record
from towers.lifecycle.watching.watcher import Watch

STEPS = ("dry_run", "prepare", "evaluation")
ROWS = {"events": 20, "users": 3, "contents": 4, "rejected_events": 2, "duplicate_users": 1, "withdrawn_contents": 0}
METRICS = {"recall@20": 0.25, "recall@20/discovery": 0.5}


def outcome(rule, status, words="as it should be", limit=None):
    return {"rule": rule, "status": status, "words": words, "limit": limit}


def verdict(*refused, forced=None):
    return {
        "passed": not refused or forced is not None,
        "refused": list(refused),
        "forced": forced,
        "outcomes": [
            outcome("honest", "passed"),
            outcome("drift", "does not apply"),
            outcome("canaries", "not yet"),
            *(outcome(rule, "refused", f"{rule} finds 0.1 < 0.2", 0.2) for rule in refused),
        ],
    }


def ledger_of(folder):
    """A ledger whose first version serves, with data up to the evening of 2026-07-01."""
    ledger = ledger_in(folder)
    ledger.folder.mkdir(parents=True)
    ledger.exports.mkdir()
    night(ledger, 1)
    window = {"start": "2026-06-01T00:00:00+00:00", "end": "2026-07-01T23:00:00+00:00"}
    change_manifest(ledger.exports / "v1", window=window)
    return ledger


def told(watcher, ledger, folder, raises=None, after=None, said=None, steps=STEPS, silent="", **facts):
    """Reports a night of the data set `small` to a watcher, from its beginning to its end, and returns the last state.

    Args:
        watcher: watcher that is called.
        ledger: ledger of the data set.
        folder: folder of all results.
        raises: exception that ends the night within its last step; None: none does.
        after: is called with the watch in the last step.
        said: verdict of its record.
        steps: steps of the night.
        silent: expected lines on standard error about the watcher itself.
        facts: fields of the state that are known after the last step.
    """
    watch, complaints = Watch({"watcher": watcher}, state_in(folder)), StringIO()
    unless = suppress(type(raises)) if raises is not None else nullcontext()
    with redirect_stderr(complaints), unless, watch.process(ledger), watch.night(ledger):
        for name in steps:
            with watch.step(name) as found:
                if name == "prepare":
                    found["rows"] = ROWS
                if name == "evaluation":
                    record = Record(night="2026-07-02-night", metrics=METRICS, verdict=said or verdict())
                    ledger.write(record)
                    watch.knows(record=record)
                if name == steps[-1]:
                    watch.knows(**facts)
                    if after is not None:
                        after(watch)
                    if raises is not None:
                        raise raises
        watch.knows(ending="published", why="published v2")
    assert complaints.getvalue() == silent
    return watch.state


def refused(watcher, ledger, folder, *rules, **facts):
    """Reports to a watcher a night that the gate refuses."""
    error = GateRefused(f"tonight's version is refused by {', '.join(rules)}; current stays at v1")
    return told(watcher, ledger, folder, raises=error, said=verdict(*rules), **facts)
