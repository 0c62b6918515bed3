"""Every audio encoder on the command line, and vectors from elsewhere all the way into an export."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.command_line import EXPORT, SMALL_WORLD, ok, refused
from towers.errors import UserError
from towers.retrieval.export import Export
from towers.retrieval.raw_contents import encode_content

pytestmark = pytest.mark.unhooked
EXPERIMENT = ("experiment=demo", *SMALL_WORLD, "trainer.max_epochs=1")


def elsewhere(folder: Path) -> tuple[str, ...]:
    """A folder for the test's own results, beside the demo's, which is only read."""
    return tuple(f"paths.{name}={folder / name}" for name in ("runs", "exports", "evaluations"))


@pytest.mark.parametrize("encoder", [pytest.param("mobile", marks=pytest.mark.slow), "patch", "statistics"])
def test_trains(demo: tuple[Path, str], tmp_path: Path, encoder: str) -> None:
    augmentation = ("audio_encoder.augmentation.time_masks=1", "audio_encoder.augmentation.time_mask_frames=5")
    settings = () if encoder == "statistics" else ("datamodule.num_fresh_sounds=4", *augmentation)
    command = ("train", *EXPERIMENT, *elsewhere(tmp_path), f"audio_encoder={encoder}", *settings)
    *lines, trained = ok(demo[0], *command).splitlines()
    (described,) = [line for line in lines if " parameters, " in line]
    assert ("multiply-adds for a crop of 25 frames" in described) == (encoder != "statistics")
    assert "trained" in trained
    (metrics,) = [json.loads(path.read_text())["metrics"] for path in tmp_path.glob("runs/*/*/finished.json")]
    assert 0 <= metrics["validation/recall@20/cold_content"] <= 1


def contents_of(folder: Path) -> list[dict]:
    return pq.read_table(folder / "exports" / "current" / "contents.parquet").to_pylist()


def vectors_of_some(folder: Path, path: Path) -> None:
    """Writes vectors of 20 tracks and of a content that no store has."""
    ids = [row["content_id"] for row in contents_of(folder) if row["kind"] == "track"][:20]
    vectors = np.random.default_rng(0).normal(size=(len(ids) + 1, 6)).tolist()
    pq.write_table(pa.table({"content_id": [*ids, "nobody"], "vector": vectors}), path)


@pytest.mark.slow
def test_vectors_from_elsewhere_are_trained_evaluated_and_exported(demo: tuple[Path, str], tmp_path: Path) -> None:
    folder, path = demo[0], tmp_path / "clap.parquet"
    vectors_of_some(folder, path)
    experiment = (*EXPERIMENT, *elsewhere(tmp_path), "audio_encoder=frozen", f"audio_encoder.path={path}")
    printed = ok(folder, "train", *experiment)
    assert (
        f"vectors of 20 of {len(contents_of(folder))} contents; 1 vectors of contents that the store does not have"
        in printed
    )
    assert "nothing to train" in ok(folder, "train", *experiment)
    ok(folder, "evaluate", *experiment, "evaluation.baselines=null", "evaluation.slicings=null")
    assert "exported" in ok(folder, "export", *experiment, *EXPORT)
    assert "verified" in ok(folder, "verify", f"export={tmp_path}/exports/current")

    pq.write_table(pq.read_table(path).slice(1), path)
    assert "has changed since the run was trained" in refused(folder, "export", *experiment, *EXPORT)
    assert "vectors of 19 of" in ok(folder, "train", *experiment)  # another run
    assert len(list(tmp_path.glob("runs/*/*/finished.json"))) == 2
    path.unlink()
    assert f"audio_encoder.path={path}: cannot be read" in refused(folder, "train", *experiment)


@pytest.mark.slow
def test_joined_with_a_trained_encoder_they_are_served_by_a_file_or_a_vector(
    demo: tuple[Path, str], tmp_path: Path
) -> None:
    folder, path = demo[0], tmp_path / "clap.parquet"
    vectors_of_some(folder, path)
    parts = ("audio_encoder@audio_encoder.encoders.sound=conv", f"audio_encoder.encoders.vectors.path={path}")
    experiment = (*EXPERIMENT, *elsewhere(tmp_path), "audio_encoder=joined", *parts)
    printed = ok(folder, "train", *experiment)
    assert "vectors of 20 of" in printed
    assert "multiply-adds for a crop of 25 frames" in printed
    assert "nothing to train" in ok(folder, "train", *experiment)
    ok(folder, "evaluate", *experiment, "evaluation.baselines=null", "evaluation.slicings=null")
    printed = ok(folder, "export", *experiment, *EXPORT)
    assert "exported" in printed
    export = Export(tmp_path / "exports" / "current")
    parity = export.manifest["towers"]["content_tower.onnx"]
    assert parity["inputs"] == "16 files and vectors of sounds"
    sound = next(iter(sorted((folder / "worlds" / "world-0" / "audio").rglob("*.*"))))
    by_file = encode_content(export, sound, {}).vector
    by_vector = encode_content(export, np.ones(6, np.float32), {}).vector
    assert np.abs(by_file - by_vector).max() > 1e-3
    with pytest.raises(UserError, match="a vector of shape"):
        encode_content(export, np.ones(5, np.float32), {})

    pq.write_table(pq.read_table(path).slice(1), path)
    assert "has changed since the run was trained" in refused(folder, "export", *experiment, *EXPORT)


@pytest.mark.slow
def test_contents_are_placed_by_encoders_that_are_joined(demo: tuple[Path, str], tmp_path: Path) -> None:
    folder, path = demo[0], tmp_path / "clap.parquet"
    vectors_of_some(folder, path)
    placed = ("+audio_encoder@placement.audio_encoder=joined", f"placement.audio_encoder.encoders.vectors.path={path}")
    experiment = (*EXPERIMENT, *elsewhere(tmp_path), *placed)
    assert "placed by sound and metadata" in ok(folder, "train", *experiment)
    ok(folder, "evaluate", *experiment, "evaluation.baselines=null", "evaluation.slicings=null")
