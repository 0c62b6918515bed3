"""Small real exports as nights leave them, with their ledger; and kills at every call of the file system."""

import os
import shutil

import numpy as np

from tests.publishing.sink_export import change_manifest
from tests.retrieval.small_export import content, small_export
from towers.lifecycle.ledger import Ledger
from towers.lifecycle.opening import opened
from towers.lifecycle.record import Record
from towers.lifecycle.switching import publish
from towers.publishing.sinks.sink import NoSink
from towers.retrieval.export import Export


def quietly(stage, done, total):
    """Discards a report of progress."""


def version_in(exports, name, **changes):
    """Makes a version of four contents and one listener, with its own weights."""
    vectors = np.eye(4, dtype=np.float32)
    small_export(exports / name, [content(f"c{row}") for row in range(4)], vectors, {"u": [1]})
    facts = {"version": name, "weights": f"weights of {name}", "source": f"source of {name}"}
    change_manifest(exports / name, **facts | changes)
    return exports / name


def ledger_in(folder):
    return Ledger(folder=folder / "nights" / "small", exports=folder / "exports", runs=folder / "runs")


def night(ledger, number, *, published=True, **facts):
    """Makes a night whose version is `v<number>`."""
    name, day = f"v{number}", f"2026-07-{number:02d}"
    version_in(ledger.exports, name)
    record = Record(
        night=f"{day}-night", version=name, data_end=f"{day}T23:00:00+00:00", started=f"{day}T23:30:00+00:00",
        judged=f"default/judged{number}", refit=f"default/refit{number}", store=f"store{number}",
        metrics={"recall@20": number / 10}, verdict={"passed": True, "refused": []},
    )  # fmt: skip
    with ledger.alone():
        ledger.write(Record.from_json(record.to_json() | facts))
        if published:
            publish(ledger, NoSink(), Export(ledger.exports / name), quietly, champion=ledger.champion())


def copied(ledger, folder):
    """Returns a copy in another folder, by links to its files: none of them is ever written to."""
    shutil.copytree(ledger.exports.parent, folder, symlinks=True, copy_function=os.link)
    return ledger_in(folder)


def states(ledger):
    return {entry.record.version: entry.state for entry in ledger.entries()}


class Killed(BaseException):
    """Stands for the end of the process."""


CALLS = ("replace", "rename", "symlink", "unlink", "mkdir", "fsync", "truncate")


def killed_at(number, monkeypatch, work):
    """Runs `work` until its process dies before the call of the file system with this number; returns whether it
    finished first.

    Args:
        number: number of the call, from 0.
        monkeypatch: pytest's fixture.
        work: function whose process dies.
    """
    done = 0

    def dying(call):
        def called(*arguments, **named):
            nonlocal done
            if done >= number:  # dead for good: nothing is tidied up either
                raise Killed
            done += 1
            return call(*arguments, **named)

        return called

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, dying(getattr(os, name)))
        try:
            work()
        except Killed:
            return False
    return True


def check_whole(ledger):
    """Checks that every record can be read, that `current` opens, and that the states agree with the folders."""
    served = opened(ledger.exports / "current")
    champions = [entry.record.version for entry in ledger.entries() if entry.state == "champion"]
    assert champions == [served.version]
