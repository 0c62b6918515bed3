"""Contract of every sink, in a real engine: serving finds what the export's exact search finds, and never a half of
it.
"""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
import pytest

from tests.publishing.sink_export import NUM_CONTENTS, change_manifest, sink_export
from towers.errors import UserError
from towers.publishing.leading import leading, share_of_export
from towers.publishing.sinks.sink import NotFilled
from towers.retrieval.index import ExactIndex

ROOT = Path(__file__).parents[2]
KINDS = ("contents_", "users_")
WITHHELD = ["it's 3", "it's 12", "it's 10"]
"""Contents that a listener must not be shown; the first is the nearest to the listener of the filter tests."""


def quietly(stage, done, total):
    """Discards a report of progress."""


class Reader(Protocol):
    """Reads an engine as serving does; filters are in the engine's own language."""

    def version(self) -> str | None: ...

    def search(self, vector: np.ndarray, k: int, filtered: str = "") -> list[tuple[str, float]]: ...

    def user(self, user_id: str) -> dict[str, Any]: ...

    def tables(self) -> list[str]: ...

    def facts(self) -> dict[str, str]: ...

    def make_foreign_table(self, name: str) -> None: ...


@dataclass(frozen=True)
class Engine:
    """A sink's class, its settings for a real engine, and the way serving reads that engine."""

    sink: type
    settings: dict[str, Any]
    reader: Reader

    def write(self, export, on_progress=quietly, **changes):
        return self.sink(**self.settings | changes).write(export, on_progress)

    def made(self):
        return self.sink(**self.settings)

    def versions(self):
        """Returns the versions that have a table of contents; each has one of listeners."""
        tables = [name.removeprefix("towers_") for name in self.reader.tables()]
        found = {kind: [name.removeprefix(kind) for name in tables if name.startswith(kind)] for kind in KINDS}
        assert found["contents_"] == found["users_"]
        return found["contents_"]

    def named_in_files(self, word):
        """Returns files below the engine's folder that hold a word's bytes."""
        files = (path for path in Path(self.settings["uri"]).rglob("*") if path.is_file())
        return [path for path in files if word.encode() in path.read_bytes()]


class SinkContract:
    """Inherit, and give fixtures: `exports`, three versions; `engine`, empty; `filled`, which holds the first.

    Args:
        filters: an engine's own words by name: `tracks`, `clean`, `folk`, `cold`, `since_2010`, and
            `released` (by the end of 2009) and `not_withheld` (none of `WITHHELD`), which a listener's rule asks for.
    """

    filters: ClassVar[dict[str, str]]

    def exact(self, export, vector, allowed=None):
        rows, _ = export.exact_index.search(
            vector[None], 10, np.ones(NUM_CONTENTS, bool) if allowed is None else allowed
        )
        return [export.content_ids[row] for row in rows[0] if row >= 0]

    def test_finds_what_exact_search_finds(self, filled, exports):
        for vector in exports[0].vectors[:20]:
            found = filled.reader.search(vector, 10)
            assert [content_id for content_id, _ in found] == self.exact(exports[0], vector)
            own = exports[0].content_ids.index(found[0][0])
            assert found[0][1] == pytest.approx(float(exports[0].vectors[own] @ vector), abs=1e-5)

    @pytest.mark.parametrize(
        ("name", "column", "wanted"),
        [
            ("tracks", "kind", lambda value: value == "track"),
            ("clean", "explicit", lambda value: value is not True),
            ("folk", "genres", lambda value: "folk" in (value or [])),
            ("cold", "train_positives", lambda value: value == 0),
            ("since_2010", "release_date", lambda value: value is not None and value.year >= 2010),
            ("released", "release_date", lambda value: value is None or value.year < 2010),
            ("not_withheld", "content_id", lambda value: value not in WITHHELD),
        ],
    )
    def test_filters(self, filled, exports, name, column, wanted):
        allowed = np.array([wanted(value) for value in exports[0].contents[column].to_pylist()])
        assert 0 < allowed.sum() < NUM_CONTENTS
        found = filled.reader.search(exports[0].vectors[3], 10, self.filters[name])
        assert [content_id for content_id, _ in found] == self.exact(exports[0], exports[0].vectors[3], allowed)

    def test_listeners_of_every_file(self, filled, exports):
        for row in (0, 29):
            user = filled.reader.user(f"u{row}")
            np.testing.assert_array_equal(np.array(user["vector"], np.float32), exports[0].vectors[row])
            assert user["num_events"] == row

    def test_progress_in_bounded_batches(self, engine, exports):
        told = []
        engine.write(exports[0], lambda *progress: told.append(progress), batch_size=100)
        assert [progress for progress in told if progress[0] == "sink contents"][-1][1:] == (240, 240)
        steps = np.diff([0, *(done for stage, done, _ in told if stage == "sink contents")])
        assert steps.max() <= 100
        assert told[-3:] == [("sink users", 30, 30), ("index users", 0, 0), ("index users", 30, 30)]

    def test_a_version_switches_and_the_third_drops_the_first(self, engine, exports):
        for export in exports:
            engine.write(export)
            assert engine.reader.version() == export.manifest["version"]
            found = engine.reader.search(export.vectors[5], 10)
            assert [content_id for content_id, _ in found] == self.exact(export, export.vectors[5])
        assert engine.reader.tables() == [
            "towers_contents_20260201_abc", "towers_contents_20260301_abc",
            "towers_users_20260201_abc", "towers_users_20260301_abc",
        ]  # fmt: skip

    def test_back_to_a_version_that_is_there(self, engine, exports):
        """Neither version is written again, and the one that served is kept; the next version takes its place."""
        for export in exports[:2]:
            engine.write(export)
        told = []
        assert exports[0].version in engine.write(exports[0], lambda *progress: told.append(progress))
        assert told == []
        assert engine.reader.version() == engine.made().served() == "20260101-abc"
        assert engine.versions() == ["20260101_abc", "20260201_abc"]
        engine.write(exports[2])
        assert engine.versions() == ["20260101_abc", "20260301_abc"]

    def test_filled_first_and_served_later(self, engine, exports):
        """A candidate is filled beside the served version and the one before it; one that was never promoted is
        removed.
        """
        assert engine.made().served() is None
        for export in exports[:2]:
            engine.write(export)
        told = engine.made().fill(exports[2], quietly)
        assert told.endswith("holds 20260301-abc: 240 contents and 30 users")
        assert engine.made().fill(exports[2], self.fail) == told
        assert engine.reader.version() == engine.made().served() == "20260201-abc"
        assert engine.versions() == ["20260101_abc", "20260201_abc", "20260301_abc"]
        engine.made().fill(exports[1], self.fail)
        assert engine.versions() == ["20260101_abc", "20260201_abc"]
        engine.made().fill(exports[2], quietly)
        assert engine.made().serve(exports[2]).endswith("20260301-abc")
        assert engine.reader.version() == engine.made().served() == "20260301-abc"
        assert engine.versions() == ["20260201_abc", "20260301_abc"]

    def test_what_is_not_filled_is_not_served(self, engine, exports):
        engine.write(exports[0])
        with pytest.raises(NotFilled, match="towers_contents_20260201_abc: not there; serving stays where it was"):
            engine.made().serve(exports[1])

        def interrupt(stage, done, total):
            if stage == "sink users":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            engine.made().fill(exports[1], interrupt)
        with pytest.raises(NotFilled, match=r"towers_users_20260201_abc: not (complete|there); serving stays"):
            engine.made().serve(exports[1])
        assert engine.reader.version() == "20260101-abc"

    def test_another_process_finds_it_whole(self, engine, exports):
        engine.write(exports[0])
        self.close(engine)
        engine.write(exports[0], self.fail)
        self.close(engine)
        found = engine.reader.search(exports[0].vectors[5], 10)
        assert [content_id for content_id, _ in found] == self.exact(exports[0], exports[0].vectors[5])

    def fail(self, stage, done, total):
        raise AssertionError("written again")

    def test_interrupted_between_rows(self, engine, exports):
        engine.write(exports[0])

        def interrupt(stage, done, total):
            if done > 100:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            engine.write(exports[1], interrupt)
        assert engine.reader.version() == "20260101-abc"
        engine.write(exports[1])
        assert engine.reader.version() == "20260201-abc"
        found = engine.reader.search(exports[1].vectors[0], 10)
        assert [content_id for content_id, _ in found] == self.exact(exports[1], exports[1].vectors[0])

    def test_what_a_killed_process_left_goes_with_the_next_version(self, engine, exports):
        engine.write(exports[0])
        self.close(engine)
        program = [sys.executable, "-m", "tests.publishing.killed_sink"]
        target = f"{engine.sink.__module__}.{engine.sink.__name__}"
        settings = json.dumps(engine.settings | {"batch_size": 15})
        killed = subprocess.run([*program, target, settings, exports[1].folder], cwd=ROOT, check=False, timeout=60)
        assert killed.returncode == -signal.SIGKILL
        assert engine.reader.version() == "20260101-abc"
        engine.write(exports[2])
        assert engine.reader.version() == "20260301-abc"
        assert engine.reader.tables() == [
            "towers_contents_20260101_abc", "towers_contents_20260301_abc",
            "towers_users_20260101_abc", "towers_users_20260301_abc",
        ]  # fmt: skip

    def close(self, engine):
        """Closes the reader where the engine admits one process at a time."""

    def test_a_canary_that_is_not_there(self, engine, exports, tmp_path):
        engine.write(exports[0])
        export = sink_export(tmp_path, "20260401-abc")
        (canary, *others) = export.manifest["canaries"]
        change_manifest(export.folder, canaries=[canary | {"vector": [1.0] + [0.0] * 7}, *others])
        with pytest.raises(UserError, match="the vector of content_id it's 0 is not the export's; serving stays"):
            engine.write(type(export)(export.folder))
        assert engine.reader.version() == "20260101-abc"
        assert "towers_contents_20260401_abc" not in engine.reader.tables()

    def test_tables_of_somebody_else_stay(self, engine, exports):
        engine.reader.make_foreign_table("towers_contents_backup")
        engine.write(exports[0])
        engine.write(exports[1])
        assert "towers_contents_backup" in engine.reader.tables()

    def test_no_listeners(self, engine, tmp_path):
        engine.write(sink_export(tmp_path, "1", num_users=0))
        assert engine.reader.version() == "1"

    def test_leading_dimensions_are_written_normalised_and_the_loss_is_told(self, engine, exports):
        export, dim = exports[0], 3
        told = engine.write(export, dim=dim)
        share = share_of_export(export, dim)
        assert told.endswith(f"20260101-abc in 3 of 8 dimensions, which keep {share:.1%} of listeners' nearest 20")
        assert engine.reader.facts()["dim"] == "3"
        assert float(engine.reader.facts()["kept@20"]) == pytest.approx(share, abs=1e-4)
        cut = leading(export.vectors, dim)
        user = engine.reader.user("u5")
        np.testing.assert_allclose(np.array(user["vector"], np.float32), cut[5], atol=1e-6)
        rows, _ = ExactIndex(cut).search(cut[5][None], 10, np.ones(NUM_CONTENTS, bool))
        found = [content_id for content_id, _ in engine.reader.search(cut[5], 10)]
        assert found == [export.content_ids[row] for row in rows[0]]

    def test_what_serving_is_led_to_stays_in_its_dimensions(self, engine, exports):
        engine.write(exports[0])
        assert "dim" not in engine.reader.facts()
        with pytest.raises(
            UserError, match=r"serving is led to it, but it is not of space space in 3 dim.*sink\.prefix"
        ):
            engine.write(exports[0], dim=3)
        engine.write(exports[0], dim=exports[0].dim)  # all of them
        engine.write(exports[1])
        engine.write(exports[0], dim=3)  # no longer served: filled anew
        assert engine.reader.facts()["dim"] == "3"
        with pytest.raises(UserError, match="it is not of space space in all dimensions"):
            engine.write(exports[0])

    def test_more_dimensions_than_there_are(self, engine, exports):
        with pytest.raises(
            UserError, match=r"^sink\.dim=9: the export's vectors have 8; give 1 to 8, or null for all$"
        ):
            engine.write(exports[0], dim=9)
        assert engine.reader.tables() == []

    def test_a_listener_is_forgotten_for_good(self, engine, exports, tmp_path):
        """Served rows are replaced by those of an export without them, and older tables go; not a byte stays."""
        gone = {"users": ["nobody", "u29"], "contents": []}
        assert engine.made().holding(gone) == {}
        for export in exports[:2]:
            engine.write(export)
        assert set(engine.made().holding(gone).values()) == {1}
        assert engine.named_in_files("u29")
        with pytest.raises(UserError, match=r"towers_users_20260201_abc: .* there is no export without"):
            engine.made().forget(gone, None, quietly)
        with pytest.raises(UserError, match=r"towers_users_20260301_abc: .* has these listeners, too"):
            engine.made().forget(gone, exports[2], quietly)
        without = sink_export(tmp_path, "20260301-abc-1", num_users=29)
        for _ in range(2):
            engine.made().forget(gone, without, quietly)
            assert engine.made().holding(gone) == {}
        assert engine.reader.version() == "20260301-abc-1"
        assert engine.reader.user("u28")["num_events"] == 28
        self.close(engine)
        assert engine.named_in_files("u28")
        assert not engine.named_in_files("u29")

    def test_what_is_not_served_is_forgotten_without_filling_anew(self, engine, exports, tmp_path):
        engine.write(exports[0])
        engine.write(sink_export(tmp_path, "20260201-abc", num_users=29))
        engine.made().forget({"users": ["u29"]}, None, quietly)
        assert engine.reader.version() == "20260201-abc"
        assert "towers_users_20260101_abc" not in engine.reader.tables()

    def test_whether_it_is_there_is_told_before_it_is_filled(self, engine, exports):
        engine.made().reach()
        assert not Path(engine.settings["uri"]).exists()
        engine.write(exports[0])
        self.close(engine)
        engine.made().reach()
        with pytest.raises(UserError, match=r"^sink\.uri=/proc/nowhere.*: cannot be written to \(/proc: "):
            engine.sink(**engine.settings | {"uri": "/proc/nowhere/engine.db"}).reach()

    def test_settings_that_do_not_fit(self, engine):
        for change in ({"prefix": "1-a"}, {"keep": 1}, {"batch_size": 0}, {"dim": 0}):
            (name,) = change
            with pytest.raises(UserError, match=rf"^sink\.{name}="):
                engine.sink(**engine.settings | change)

    def test_library_that_is_not_installed(self, engine, monkeypatch):
        name = engine.sink.__module__.rpartition(".")[2]
        monkeypatch.setitem(sys.modules, {"milvus": "pymilvus"}.get(name, name), None)
        with pytest.raises(UserError, match=rf"pip install 'towers-rec\[{name}\]'"):
            engine.sink(**engine.settings)


def foreign_rows() -> pa.Table:
    return pa.table({"name": ["something"]})
