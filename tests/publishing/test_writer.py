"""A version of an export is written completely or not at all, and holds its inputs."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.publishing.listening import DIM, unit, vectors_by_taste
from tests.publishing.trained_by_taste import SETTINGS, TrainedByTaste, in_blocks, write
from towers.data.store import Store
from towers.errors import UserError
from towers.publishing.card import model_card
from towers.publishing.held_out import HeldOutListening
from towers.publishing.onnx import towers
from towers.publishing.trained import Trained
from towers.publishing.writer import CURRENT, publish
from towers.retrieval import files
from towers.retrieval.export import Export
from towers.retrieval.verify import problems

pytestmark = [pytest.mark.unhooked, pytest.mark.usefixtures("graphs_traced_once")]
CUT = 3


@pytest.fixture(scope="module")
def make_trained(listening: Store) -> Callable[..., Trained]:
    return TrainedByTaste(listening).trained


@pytest.fixture(scope="module")
def written(make_trained, tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("writer") / "v1", make_trained())


def digests(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_vectors_stand_by_row_and_owners_where_their_members_are(written, listening):
    """The axes are orthogonal, so that inner products are those of the model."""
    expected, axes = vectors_by_taste(listening, 0), np.load(written / files.AXES)
    found = np.load(written / files.CONTENT_VECTORS)
    own = listening.train_positives > 0
    np.testing.assert_allclose(found[own], expected[own] @ axes.T, atol=1e-6)
    np.testing.assert_allclose(axes @ axes.T, np.eye(DIM), atol=1e-12)
    assert found.dtype == np.float32
    assert Export(written).content_ids[7] == listening.content_ids[7]


def test_listeners_stand_where_the_user_tower_puts_them(written, make_trained, listening):
    axes = np.load(written / files.AXES).astype(np.float32)
    rows, inputs = np.arange(len(listening.user_ids)), np.load(written / files.CONTENT_VECTORS) @ axes
    expected = make_trained().user_vectors(rows, inputs, "end") @ axes.T
    np.testing.assert_allclose(np.load(written / files.USER_VECTORS), expected, atol=1e-5)


def test_parquet_says_the_same_in_parts(written, listening):
    parts = sorted((written / files.CONTENT_EMBEDDINGS).iterdir())
    assert [pq.read_metadata(part).num_rows for part in parts] == [150, len(listening.content_ids) - 150]
    table = pa.concat_tables([pq.read_table(part) for part in parts])
    assert table["content_id"].to_pylist() == listening.content_ids.tolist()
    found = np.stack(table["embedding"].to_numpy(zero_copy_only=False))
    np.testing.assert_array_equal(found, np.load(written / files.CONTENT_VECTORS))


def test_the_manifest_counts_names_and_measures(written, listening):
    export = Export(written)
    counts = export.manifest["counts"]
    assert counts["contents"] == counts["tracks"] == len(listening.content_ids)
    assert counts["users"] == len(listening.user_ids)
    assert counts["events"] == len(listening.histories.content_row)
    assert export.manifest["version"] == "v1"
    assert export.manifest["towers"][files.USER_TOWER]["difference"] < 1e-4
    assert set(export.manifest["files"]) == set(digests(written)) - {files.MANIFEST, files.MANIFEST_DIGEST}
    assert not list(problems(export, 0.9))
    assert "v1" in (written / "README.md").read_text()


@pytest.mark.usefixtures("graphs_traced_anew")
@pytest.mark.slow
def test_the_same_bytes_from_blocks_of_any_size_on_any_number_of_threads(written, make_trained, tmp_path):
    again = write(tmp_path / "v1", make_trained(block=1), replace(SETTINGS, num_threads=1))
    assert digests(again) == digests(written)


def test_towers_are_exported_before_threads_start(make_trained, monkeypatch, tmp_path):
    """Threads share with torch's exporter the process's warning filters and, in Python 3.11.7, its parser's depth."""
    running: list[list[str]] = []
    graph = towers._graph

    def noting(*arguments: Any) -> Any:
        running.append([thread.name for thread in threading.enumerate() if "ThreadPool" in thread.name])
        return graph(*arguments)

    monkeypatch.setattr(towers, "_graph", noting)
    write(tmp_path / "v1", make_trained())
    assert running
    assert not any(running)


def test_leading_dimensions_are_normalised_and_the_tower_keeps_its_inputs(written, make_trained, tmp_path):
    cut = write(tmp_path / "v1", make_trained(), replace(SETTINGS, dim=CUT))
    whole, axes = np.load(written / files.CONTENT_VECTORS), np.load(written / files.AXES).astype(np.float32)
    np.testing.assert_allclose(np.load(cut / files.CONTENT_VECTORS), unit(whole[:, :CUT]), atol=1e-6)
    np.testing.assert_allclose(np.load(cut / files.CONTENT_INPUTS), whole @ axes, atol=1e-6)
    assert not (written / files.CONTENT_INPUTS).exists()
    assert Export(cut).manifest["space_id"] != Export(written).manifest["space_id"]


def test_a_version_stays_in_the_space_of_the_one_before(written, make_trained, tmp_path):
    earlier = Export(written)
    again = write(tmp_path / "v2", make_trained(weights="others"), earlier=earlier)
    export = Export(again)
    assert export.space_id == earlier.space_id
    assert export.manifest["space"]["earlier"]["version"] == "v1"
    assert "; its vectors fit" in (again / files.MODEL_CARD).read_text()
    assert "**Its vectors do not fit**" in model_card({**export.manifest, "space_id": "another"})
    assert (again / files.DRIFT).exists()


def test_what_is_derived_is_there_and_regions_carry_on(written, make_trained, tmp_path):
    """Listeners of a taste choose its contents together, and lie where these do."""
    first = Export(written)
    tastes = np.array([int(content_id[1]) for content_id in first.content_ids])
    assert first.co_listening is not None
    near = first.co_listening.rows
    content, place = np.nonzero(near >= 0)
    assert (tastes[content] == tastes[near[content, place]]).all()
    assert first.recordings is not None
    assert first.recordings.tolist() == list(range(len(tastes)))  # nothing has a title
    assert first.styles is not None
    assert first.styles.names == ("track",)
    vectors = unit(vectors_by_taste(make_trained().store, 0) + 0.02)
    trained = make_trained(weights="others", content_blocks=lambda: in_blocks(vectors.astype(np.float32), 70))
    second = Export(write(tmp_path / "v2", trained, earlier=first))
    assert first.regions is not None
    assert second.regions is not None
    assert first.long_term is None
    assert first.manifest["long_term"] == {"reason": "export.long_term is null"}
    assert first.manifest["derived"]["regions"] == second.manifest["derived"]["regions"]
    same = first.regions.region_of_content == second.regions.region_of_content
    assert same.mean() > 0.9


def test_the_same_network_stays_where_it_stood(make_trained, tmp_path):
    """It has the axes of the version before to the last bit, also where too few listeners show what a map would
    cost.
    """
    settings = replace(SETTINGS, dim=CUT)
    first = write(tmp_path / "v1", make_trained(), settings)
    turned = Export(write(tmp_path / "v2", make_trained(weights="others"), settings, Export(first)))
    nobody = HeldOutListening(make_trained().store, min_users=1_000)
    again = Export(write(tmp_path / "v3", make_trained(weights="others", held_out=nobody), settings, turned))
    assert again.space_id == turned.space_id
    assert turned.space_id == Export(first).space_id
    np.testing.assert_array_equal(again.axes, turned.axes)
    np.testing.assert_array_equal(again.vectors, turned.vectors)


def test_the_card_says_what_dimensions_and_codes_are_worth(written, make_trained, tmp_path):
    facts = Export(written).manifest
    by_dimension = facts["space"]
    assert list(by_dimension["recall@20 by dimension"]) == [str(DIM)]
    assert by_dimension["share of the nearest 20 by dimension"] == {str(DIM): 1.0}
    assert {name: code["bytes"] for name, code in facts["codes"].items()} == {"float32": 32, "int8": 8, "one bit": 1}
    cut = Export(write(tmp_path / "v1", make_trained(), replace(SETTINGS, dim=CUT)))
    by_dimension = cut.manifest["space"]
    assert list(by_dimension["recall@20 by dimension"]) == [str(CUT), str(DIM)]
    assert list(by_dimension["share of the nearest 20 by dimension"]) == [str(CUT)]
    assert 0 < by_dimension["share of the nearest 20 by dimension"][str(CUT)] < 1
    card = (cut.folder / files.MODEL_CARD).read_text()
    assert f"The export has {CUT} of the model's {DIM}; the figures under Quality are for all of them." in card
    assert "| one bit | 1 | 0.1 GB | 200 |" in card
    assert "The export has" not in (written / files.MODEL_CARD).read_text()


@pytest.mark.parametrize("dim", [0, DIM + 1])
def test_dimensions_that_there_are_not(make_trained, tmp_path, dim):
    with pytest.raises(UserError, match=rf"^export\.dim={dim}: the model's vectors have {DIM}; give 1 to {DIM}$"):
        write(tmp_path / "v1", make_trained(), replace(SETTINGS, dim=dim))
    assert list(tmp_path.iterdir()) == []


def test_a_tower_that_is_not_torchs_is_no_export(make_trained, tmp_path):
    def others(rows, contents, until):
        return unit(np.random.default_rng(0).normal(size=(len(rows), DIM))).astype(np.float32)

    with pytest.raises(UserError, match=r"user_tower\.onnx differs from torch by "):
        write(tmp_path / "v1", make_trained(user_vectors=others))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lost", ["an error", "a block"])
def test_what_ends_early_leaves_nothing(make_trained, listening, tmp_path, lost):
    def blocks():
        yield vectors_by_taste(listening, 0)[:70]
        if lost == "an error":
            raise OSError("no space left on device")

    error, words = (
        (OSError, "no space left") if lost == "an error" else (RuntimeError, "70 vectors of 200 were written")
    )
    with pytest.raises(error, match=words):
        write(tmp_path / "v1", make_trained(content_blocks=blocks))
    assert list(tmp_path.iterdir()) == []


def test_current_moves_to_what_is_published(written, tmp_path):
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
        publish(tmp_path / name)
        assert (tmp_path / CURRENT).resolve() == (tmp_path / name).resolve()
    assert sorted(path.name for path in tmp_path.iterdir()) == [CURRENT, "v1", "v2"]
