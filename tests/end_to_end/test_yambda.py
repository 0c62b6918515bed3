"""A small Yambda experiment, from files in its form to an evaluation."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.command_line import ok
from towers.manifest import read_json

pytestmark = [pytest.mark.unhooked, pytest.mark.slow]
LAST, DAY, GAP = 26_000_000, 86_400, 1_800
"""Seconds of Yambda's time: the end of the set, its test, and the gap before it."""
LISTENERS, TRACKS, PLAYS = 60, 50, 30
SMALL = (
    "objective.candidates.num_uniform=16", "objective.candidates.max_in_batch=32", "datamodule.max_tokens=512",
    "user_tower.num_layers=1", "user_tower.dim=16", "content_tower.dim=16", "content_tower.hidden_dim=16",
    "trainer.max_epochs=1", "trainer.limit_train_batches=3", "trainer.progress=false", "logger=csv",
    "evaluation.min_users=2", "evaluation.tuning.max_trials=0", "placement.epochs=1",
)  # fmt: skip


def write(root):
    """Writes plays of a few listeners through all 300 days, on validation's day, in the gaps and on the last day."""
    generator = np.random.default_rng(0)
    train = generator.integers(0, (LAST - 2 * DAY - 2 * GAP) // 5, (LISTENERS, PLAYS)) * 5
    ends = [LAST - 2 * DAY - GAP - 5, LAST - DAY - GAP - 5, LAST - DAY - 5, LAST - DAY, LAST]
    times = np.sort(np.concatenate([train, np.tile(ends, (LISTENERS, 1))], axis=1), axis=1)
    shape = times.shape
    ratios = generator.choice([10, 49, 50, 100], shape, p=[0.1, 0.1, 0.3, 0.5])
    items = generator.integers(1, 1 + TRACKS, shape)
    table = pa.table({
        "uid": pa.array(np.repeat(np.arange(1, LISTENERS + 1) * 100, shape[1]), pa.uint32()),
        "timestamp": pa.array(times.ravel(), pa.uint32()),
        "item_id": pa.array(items.ravel(), pa.uint32()),
        "is_organic": pa.array(generator.integers(0, 2, shape).ravel(), pa.uint8()),
        "played_ratio_pct": pa.array(ratios.ravel(), pa.uint16()),
        "track_length_seconds": pa.array((items % 7 * 30 + 60).ravel(), pa.uint32()),
    })  # fmt: skip
    (root / "flat/50m").mkdir(parents=True)
    pq.write_table(table, root / "flat/50m/listens.parquet")
    known = np.arange(1, 1 + TRACKS, dtype=np.uint32)
    pq.write_table(pa.table({"artist_id": known % 9, "item_id": known}), root / "artist_item_mapping.parquet")
    vectors = pa.array(list(generator.normal(size=(TRACKS, 8)).astype(np.float32)), pa.list_(pa.float32()))
    pq.write_table(pa.table({"item_id": known, "normalized_embed": vectors}), root / "embeddings.parquet")
    return int((np.array(table["played_ratio_pct"]) >= 50).sum())


def test_prepares_trains_and_evaluates(tmp_path):
    num_positives = write(tmp_path / "raw")
    told = ok(tmp_path, "prepare", "experiment=yambda_50m", "data.root=raw")
    assert "audio vectors: audio_encoder=frozen audio_encoder.path=stores/yambda_50m_listens/vectors.parquet" in told
    manifest = read_json(tmp_path / "stores/yambda_50m_listens/current/manifest.json")
    assert manifest["counts"]["events"] == manifest["counts"]["positives"] == num_positives
    played = np.load(tmp_path / "stores/yambda_50m_listens/current/histories/played_fraction.npy")
    assert played.min() >= 0.5  # Listen+ in histories, too
    assert manifest["gap_us"] == GAP * 1_000_000
    assert [(each["name"], round(each["days"], 2)) for each in manifest["periods"]] == [
        ("training", 298.79), ("validation", 1.0), ("test", 1.0),
    ]  # fmt: skip
    assert 0 < sum(each["positives"] for each in manifest["periods"]) < num_positives  # some stand in the gaps
    for experiment in ("yambda_50m", "yambda_50m_sound"):
        chosen = ok(tmp_path, "train", f"experiment={experiment}", *SMALL)
        assert "the best after 1" in chosen
        ok(tmp_path, "train", f"experiment={experiment}", "train_until=test", *SMALL)
        ok(tmp_path, "evaluate", f"experiment={experiment}", *SMALL)
        (report,) = (tmp_path / "runs" / experiment).glob("*/evaluation-test/metrics.json")
        assert read_json(report)
        assert "train_until: test" in (report.parents[1] / "config.yaml").read_text()
