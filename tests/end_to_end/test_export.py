"""`towers export` in use: repeated, truncated, beside an earlier version; and questions to these versions."""

from pathlib import Path

import numpy as np
import pytest

from tests.command_line import EXPORT, ok, refused, run_of
from towers.retrieval.export import Export
from towers.retrieval.query import Query, standing_of
from towers.retrieval.search import recommend

pytestmark = pytest.mark.unhooked


@pytest.fixture(scope="module")
def short(demo: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The demo's folder, and an export of sixteen of its vectors' dimensions, made after the whole one."""
    exports = tmp_path_factory.mktemp("short")
    run = f"checkpoint={run_of(demo[0])}"
    told = ok(demo[0], "export", "experiment=demo", run, "export.dim=16", f"paths.exports={exports}",
              "evaluation.min_users=2", "promote=true",
              f"export.align_to={demo[0] / 'exports' / 'current'}", "export.num_threads=1", "export.variants=[int8]",
              "export.min_variant_overlap=0")  # fmt: skip
    assert "the earlier version has 64 dimensions, the new one 16" in told
    return demo[0], exports / "current"


@pytest.mark.usefixtures("graphs_traced_anew")
@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(demo: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = demo
    first = (folder / "exports" / "current").resolve()
    run = f"checkpoint={run_of(folder)}"
    ok(folder, "export", "experiment=demo", run, f"paths.exports={tmp_path}", "export.num_threads=2", *EXPORT)
    again = tmp_path / first.name
    names = sorted(str(path.relative_to(first)) for path in first.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(again)) for path in again.rglob("*") if path.is_file())
    for name in names:
        assert (again / name).read_bytes() == (first / name).read_bytes(), name
    assert (tmp_path / "current").resolve().name == first.name


@pytest.mark.slow
def test_leading_dimensions_serve_alone(short: tuple[Path, Path]) -> None:
    whole, export = Export(short[0] / "exports" / "current"), Export(short[1])
    leading = whole.vectors[:, :16] / np.linalg.norm(whole.vectors[:, :16], axis=1, keepdims=True)
    np.testing.assert_allclose(export.vectors, leading, atol=1e-6)
    assert whole.axes is not None
    np.testing.assert_allclose(export.tower_inputs, whole.vectors @ whole.axes, atol=1e-6)
    vector = export.encode_events(export.plays(np.arange(3)))
    expected = whole.encode_events(whole.plays(np.arange(3)))[:16]
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)
    assert "verified" in ok(short[0], "verify", f"export={short[1]}")
    assert export.manifest["towers"]["user_tower.int8.onnx"]["overlap@20"] > 0
    assert (short[1] / "user_tower.int8.onnx").exists()


def test_what_is_out_of_range_is_refused_before_anything_is_written(demo: tuple[Path, str], tmp_path: Path) -> None:
    export = ("export", f"checkpoint={run_of(demo[0])}", f"paths.exports={tmp_path / 'exports'}", *EXPORT)
    sink = ("sink=lancedb", f"sink.uri={tmp_path / 'lance'}")
    assert "export.dim=65: the model's vectors have 64; give 1 to 64" in refused(demo[0], *export, "export.dim=65")
    assert "sink.dim=0: must be at least 1" in refused(demo[0], *export, *sink, "sink.dim=0")
    told = refused(demo[0], *export, *sink, "export.dim=16", "sink.dim=17")
    assert "sink.dim=17: the export's vectors have 16; give 1 to 16, or null for all" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_versions_of_two_spaces_are_not_mixed(short: tuple[Path, Path]) -> None:
    folder, export = short
    user = Export(export).user_ids[0]
    whole = folder / "exports" / "current"
    asked = ("recommend", f"user={user}", f"users={whole}", "k=3")
    assert "Recommended to" in ok(folder, *asked, f"export={whole}")
    assert "space" in refused(folder, *asked, f"export={export}")


@pytest.mark.slow
def test_a_sound_that_the_catalogue_does_not_have(short: tuple[Path, Path], tmp_path: Path) -> None:
    folder, export = short
    sound = next((folder / "worlds").rglob("*.flac"))
    metadata = "metadata={kind: null, genres: [folk], artist_ids: [nobody]}"
    similar = ("similar", f"export={export}")
    assert "Similar to" in ok(folder, *similar, f"audio={sound}", metadata, "k=3")
    (tmp_path / "noise.ogg").write_bytes(b"no sound")
    assert "does not decode" in refused(folder, *similar, f"audio={tmp_path / 'noise.ogg'}")
    refused(folder, *similar)


def test_a_denied_content_is_not_shown(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    export = Export(folder / "exports" / "current")
    found = recommend(export, export.user_vectors[0], Query(k=2, include_heard=True), standing_of(export, 0))
    first, second = (export.content_ids[row] for row in found.rows)
    printed = ok(folder, "recommend", f"user={export.user_ids[0]}", "include_heard=true", f"deny=[{first}]", "k=1")
    assert second in printed.split("Recommended to")[1]
    assert first not in printed.split("Recommended to")[1]
