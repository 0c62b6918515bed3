"""`towers export as_of=`: an export as it would have been made at a time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.command_line import EXPORT, ok, refused, run_of
from towers.retrieval.export import Export
from towers.retrieval.query import Query, standing_of
from towers.retrieval.search import recommend

pytestmark = pytest.mark.unhooked


@pytest.fixture(scope="module")
def whole(demo: tuple[Path, str]) -> Export:
    return Export(demo[0] / "exports" / "current")


@pytest.fixture(scope="module")
def test_start(whole: Export) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=whole.manifest["test_start_us"])


@pytest.mark.slow
def test_listeners_are_as_of_that_time(demo, whole, test_start, tmp_path):
    run = f"checkpoint={run_of(demo[0])}"
    told = ok(demo[0], "export", run, f"paths.exports={tmp_path}", f"as_of={test_start.isoformat()}", *EXPORT)
    assert f"as of {test_start.isoformat()}, too little of the test before it to judge by" in told
    assert "verified" in ok(demo[0], "verify", f"export={tmp_path / 'current'}")
    cut = Export(tmp_path / "current")
    assert cut.last_day == test_start.date()
    as_of_us = whole.manifest["test_start_us"]
    is_like_before = []
    for row in range(len(whole.user_ids)):
        events, before = cut.events(row), whole.events(row).timestamp_us < as_of_us
        for name in ("content_row", "timestamp_us"):
            np.testing.assert_array_equal(getattr(events, name), getattr(whole.events(row), name)[before])
        np.testing.assert_array_equal(cut.sessions(row), whole.sessions(row)[before])
        np.testing.assert_allclose(cut.encode_events(events, cut.user_codes[row]), cut.user_vectors[row], atol=1e-4)
        is_like_before.append(before.all())
    turned, expected = cut.user_vectors @ cut.axes, whole.user_vectors @ whole.axes
    np.testing.assert_allclose(turned[is_like_before], expected[is_like_before], atol=1e-5)
    found = recommend(cut, cut.user_vectors[0], Query(k=10), standing_of(cut, 0))
    released = cut.contents["release_date"].to_pylist()
    assert all(released[row] is None or released[row] <= test_start.date() for row in found.rows)


@pytest.mark.slow
def test_again_there_is_nothing_to_do_and_another_time_is_another_version(demo, test_start, tmp_path):
    command = ("export", f"checkpoint={run_of(demo[0])}", f"paths.exports={tmp_path}", *EXPORT)
    first, later = test_start.isoformat(), (test_start + timedelta(days=1)).date().isoformat()
    ok(demo[0], *command, f"as_of={first}")
    assert "nothing to export" in ok(demo[0], *command, f"as_of={first}")
    assert "exported" in ok(demo[0], *command, f"as_of={later}")
    names = sorted(path.name for path in tmp_path.iterdir() if path.name != "current")
    assert len(names) == 2
    assert names[1].startswith(later.replace("-", ""))


def test_what_the_network_has_seen_is_refused(demo, test_start, tmp_path):
    command = ("export", f"checkpoint={run_of(demo[0])}", f"paths.exports={tmp_path / 'exports'}", *EXPORT)
    day = (test_start - timedelta(days=60)).date().isoformat()
    assert f"as_of={day}T00:00:00+00:00: training goes on until" in refused(demo[0], *command, f"as_of={day}")
    assert "as_of=then: not an ISO date or time" in refused(demo[0], *command, "as_of=then")
    assert not (tmp_path / "exports").exists()
