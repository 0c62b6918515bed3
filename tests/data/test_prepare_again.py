"""`prepare` a second time: parts that are kept, parts that are made again, and the remains of a kill."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.data import raw_set
from tests.data.read_back import assert_nothing_half_written, histories_by_id
from towers.data.sources.parquet_folder import ParquetFolder
from towers.data.splits.temporal import GlobalTemporal
from towers.data.store import CURRENT, Store
from towers.errors import UserError


@pytest.mark.parametrize("name", ['it\'s [1]* "q"', "a:b"])
def test_signs_in_the_stores_path(raw, tmp_path, make_builder, name):
    store, _ = make_builder(raw, tmp_path / name).build()
    assert store.folder.parent == tmp_path / name


def test_a_question_mark_in_the_stores_path(raw, tmp_path, make_builder):
    with pytest.raises(UserError, match=r"why\?: a store cannot be made below"):
        make_builder(raw, tmp_path / "why?").build()
    assert_nothing_half_written(tmp_path / "why?")


class TestRunAgain:
    def test_the_manifest_says_where_the_data_lies(self, raw, tmp_path, make_builder):
        first, _ = make_builder(raw, tmp_path / "stores").build()
        assert first.manifest["root"] == str(raw)
        moved = raw.rename(tmp_path / "moved")
        second, is_new = make_builder(moved, tmp_path / "stores").build()
        assert not is_new
        assert second.manifest == {**first.manifest, "root": str(moved)}
        third, is_new = make_builder(ParquetFolder(f"{moved}/"), tmp_path / "stores").build()
        assert not is_new
        assert third.manifest["root"] == f"{moved}/"  # as it was given

    def test_does_nothing(self, raw, tmp_path, make_builder):
        root = tmp_path / "stores"
        first, is_new = make_builder(raw, root).build()
        assert is_new
        before = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")}
        stages = []
        second, is_new = make_builder(raw, root, on_progress=lambda stage, *_: stages.append(stage)).build()
        assert not is_new
        assert stages == []
        assert second.folder == first.folder
        assert {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")} == before

    def test_a_changed_byte_makes_a_new_store(self, raw, tmp_path, make_builder):
        root = tmp_path / "stores"
        first, _ = make_builder(raw, root).build()
        path = raw / "users/part-0.parquet"
        content = path.read_bytes()
        assert content.count(b"fi") >= 1
        changed = content.replace(b"fi", b"se")
        assert len(changed) == len(content)
        path.write_bytes(changed)
        second, is_new = make_builder(raw, root).build()
        assert is_new
        assert second.fingerprint != first.fingerprint
        assert (root / CURRENT).resolve() == second.folder
        assert (first.folder / "manifest.json").exists()

    def test_a_changed_sound_makes_a_new_store(self, raw, tmp_path, make_builder):
        root = tmp_path / "stores"
        first, _ = make_builder(raw, root).build()
        soundfile.write(raw / "audio/a1.flac", raw_set.tone(500, 0.7), raw_set.RATE_HZ)
        second, is_new = make_builder(raw, root).build()
        assert is_new
        assert second.manifest["spectrograms"] != first.manifest["spectrograms"]

    def test_other_settings_make_another_store(self, raw, tmp_path, make_builder):
        root = tmp_path / "stores"
        first, _ = make_builder(raw, root).build()
        second, is_new = make_builder(raw, root, split=GlobalTemporal("2026-01-24", "2026-02-04")).build()
        assert is_new
        assert second.manifest["spectrograms"] == first.manifest["spectrograms"]


KILLED = """
import json, os, signal, sys
from pathlib import Path
from towers.data.build import StoreBuilder
from towers.data.rejecting import Limits
from towers.data.sources.parquet_folder import ParquetFolder
from towers.data.splits.temporal import GlobalTemporal
from towers.features.settings import FeatureSettings

def die(stage, *rest):
    if stage == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

StoreBuilder(
    root=Path(sys.argv[2]), source=ParquetFolder(sys.argv[1]), split=GlobalTemporal("2026-01-25", "2026-02-04"),
    features=FeatureSettings.from_dict(json.loads(sys.argv[4])), num_workers=1, on_progress=die,
    limits=Limits(
        max_rejected_fraction=0.0, max_duplicate_fraction=0.0, max_rejected_sounds_fraction=0.5,
        max_unlisted_fraction=0.5,
    ),
).build()
"""


@pytest.mark.unhooked
class TestKilled:
    @pytest.mark.parametrize("stage", ["spectrograms", "histories"])
    def test_a_run_after_a_kill_ends_well(self, stage, raw, tmp_path, make_builder, feature_settings):
        root = tmp_path / "stores"
        first, _ = make_builder(raw, root).build()
        soundfile.write(raw / "audio/a1.flac", raw_set.tone(500, 0.7), raw_set.RATE_HZ)
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, raw, root, stage, json.dumps(feature_settings.to_dict())],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            timeout=60,
        )
        assert killed.returncode == -signal.SIGKILL
        assert Store.open(root).folder == first.folder
        assert histories_by_id(Store.open(root)) == histories_by_id(first)
        assert list(root.rglob("*.partial"))  # it was in the middle

        second, is_new = make_builder(raw, root).build()
        assert is_new
        assert second.folder != first.folder
        assert Store.open(root).folder == second.folder
        assert histories_by_id(second) == histories_by_id(first)
        assert len(second.spectrograms.records) == 4
        assert np.isfinite(second.spectrograms.records).all()
        assert_nothing_half_written(root)
