"""A real part of 30Music, written as its owners publish it, becomes the store that the part itself becomes."""

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.data.read_back import histories_by_id
from tests.data.sets.test_public_sets import SETTINGS, source
from towers.data.sources.timed_events import TimedEvents

PART = Path(os.environ.get("TOWERS_SHARED_DATA", "../shared/data")) / "thirtymusic/events.parquet"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not PART.exists(), reason="the part of 30Music is not at hand")]


def write(root):
    """Writes sessions as idomaar lines, each play so many seconds after its session's first."""
    (root / "relations").mkdir(parents=True)
    sessions = {}
    for row in pq.read_table(PART).to_pylist():
        sessions.setdefault((row["user"], row["session"]), []).append(row)
    with (root / "relations/sessions.idomaar").open("w") as file:
        for number, ((user, _), rows) in enumerate(sessions.items()):
            first = min(row["ts"] for row in rows)
            plays = [{"type": "track", "id": row["track"], "playstart": row["ts"] - first, "playtime": -1,
                      "playratio": None, "action": "play"} for row in rows]  # fmt: skip
            facts = json.dumps({"numtracks": len(rows), "playtime": -1}, separators=(",", ":"))
            links = json.dumps({"subjects": [{"type": "user", "id": user}], "objects": plays}, separators=(",", ":"))
            file.write(f"event.session\t{number}\t{first}\t{facts} {links}\n")


def test_thirtymusic(tmp_path, make_builder):
    write(tmp_path / "set")
    ours, _ = make_builder(source("thirtymusic_idomaar", tmp_path / "set"), tmp_path / "a", **SETTINGS).build()
    part = TimedEvents(str(PART), content="track", timestamp="ts")
    theirs, _ = make_builder(part, tmp_path / "b", **SETTINGS).build()
    assert ours.manifest["counts"]["events"] == theirs.manifest["counts"]["events"] > 60_000
    found = {user: sorted((content, *rest[1:2]) for content, *rest in events)
             for user, events in histories_by_id(ours).items()}  # fmt: skip
    expected = {user: sorted((f"track-{content}", *rest[1:2]) for content, *rest in events)
                for user, events in histories_by_id(theirs).items()}  # fmt: skip
    assert found == expected
