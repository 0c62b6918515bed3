"""The settings that a store's parts return, by the names of their keys, decide the store; private attributes do not
count.
"""

import inspect
import json
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from tests.data import raw_set
from towers.data.filters.collapse_repeats import CollapseRepeats
from towers.data.filters.k_core import KCore
from towers.data.filters.min_played_fraction import MinPlayedFraction
from towers.data.parts import settings_of
from towers.data.sources.ordered_pairs import OrderedPairs
from towers.data.sources.parquet_folder import ParquetFolder
from towers.data.sources.timed_events import TimedEvents
from towers.data.splits.last_session import LastSession
from towers.data.splits.leave_one_out import LeaveOneOut
from towers.data.splits.rolling_windows import RollingWindows
from towers.data.splits.temporal import GlobalTemporal

PLACES = {"path", "root"}
"""Keywords for the places of data."""
COLUMNS = {"user": "u", "content": "c", "artist": "a", "album": "b"}
PARTS = [
    (
        GlobalTemporal,
        {
            "validation_start": "2026-01-01", "test_start": "2026-02-01", "validation_days": 3.0, "test_days": 4.0,
            "share": 0.1, "min_days": 0.5, "max_days": 9.0, "gap_days": 1.5,
        },
    ),
    (LeaveOneOut, {}),
    (LastSession, {"pause_minutes": 7.0}),
    (RollingWindows, {"windows": 5, "days": 2.0, "window": 3}),
    (KCore, {"min_positives_per_listener": 3, "min_positives_per_content": 4}),
    (MinPlayedFraction, {"fraction": 0.3}),
    (CollapseRepeats, {}),
    (ParquetFolder, {}),
    (TimedEvents, {**COLUMNS, "timestamp": "t"}),
    (OrderedPairs, {**COLUMNS, "position": "p"}),
]  # fmt: skip


def made(kind, keywords):
    places = PLACES & set(inspect.signature(kind).parameters)
    return kind(**keywords, **dict.fromkeys(places, "somewhere"))


@pytest.mark.parametrize(("kind", "keywords"), PARTS)
def test_settings_are_the_constructors_keywords_but_for_places(kind, keywords):
    settings = made(kind, keywords).settings()
    assert settings == keywords
    assert set(settings) == set(inspect.signature(kind).parameters) - PLACES
    assert settings_of(made(kind, keywords)) == {"class": kind.__name__, **json.loads(json.dumps(settings))}


def test_every_part_of_the_configuration_is_here():
    found = set()
    for path in (Path(__file__).parents[2] / "configs/data").rglob("*.yaml"):
        if path.parent.name != "engine":  # has no effect on a store
            found |= targets(yaml.safe_load(path.read_text()))
    found -= {each for each in found if each.startswith("towers.data.sources.sets.")}  # see tests/data/sets
    assert found == {f"{kind.__module__}.{kind.__name__}" for kind, _ in PARTS}


def targets(node):
    if not isinstance(node, dict):
        return set()
    return {node["_target_"]} if "_target_" in node else set().union(*map(targets, node.values()))


def privately_other(kind):
    """Returns the class with another private attribute and another public one."""

    class Other(kind):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self._told, self.counted = object(), 3

    Other.__name__ = kind.__name__
    return Other


def test_an_attribute_of_no_meaning_makes_no_other_store(tmp_path, make_builder):
    raw_set.write_events(tmp_path / "raw", raw_set.EVENTS)
    raw_set.write_part(tmp_path / "raw", "users", pa.Table.from_pylist(raw_set.USERS))
    cuts = ("2026-01-25", "2026-02-04")
    first, _ = make_builder(tmp_path / "raw", tmp_path / "stores", split=GlobalTemporal(*cuts)).build()
    source = privately_other(ParquetFolder)(str(tmp_path / "raw"))
    split = privately_other(GlobalTemporal)(*cuts)
    second, is_new = make_builder(source, tmp_path / "stores", split=split).build()
    assert not is_new
    assert second.fingerprint == first.fingerprint
    assert first.manifest["split"] == settings_of(split)
    assert first.manifest["source"] == settings_of(source) == {"class": "ParquetFolder"}
