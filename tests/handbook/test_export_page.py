"""docs/export.md held to an export: every file, column, dtype, shape, input and field, and the backend's answers."""

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from tests.handbook.pages import ROOT, all_pages
from towers import api
from towers.contract import schema
from towers.retrieval import files

pytestmark = pytest.mark.unhooked
PAGE = "docs/export.md"
TEXT = (ROOT / PAGE).read_text()
GOLDEN = ROOT / "tests/golden/format-5/export"
"""An export with the files for which the demo's log is too short."""
DTYPES = ("float16", "float32", "float64", "int8", "int32", "int64", "bool")


@pytest.fixture(scope="module", params=["demo", "golden"])
def export(request: pytest.FixtureRequest) -> Path:
    if request.param == "golden":
        return GOLDEN
    folder, _ = request.getfixturevalue("demo")
    return (folder / "exports/current").resolve()


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    _, _, section = TEXT.partition(f"\n{heading}\n")
    assert section, heading
    table = re.search(r"(?:^\|.*\n)+", re.split(r"\n#+ ", section)[0], re.MULTILINE)
    assert table, heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def file_rows() -> dict[str, tuple[str, str]]:
    """Returns, by file, what it holds and when it exists."""
    return {name.strip("`"): (holds, there) for name, holds, there, _ in rows_of("## Files")}


def found(export: Path) -> set[str]:
    return {str(path.relative_to(export)) for path in export.rglob("*") if path.is_file()}


def as_written(name: str) -> str:
    """The name of a file as the page has it."""
    return "vocabularies/PART.parquet" if name.startswith("vocabularies/") else name


def test_every_file_of_an_export_is_told_and_none_is_missing(export: Path) -> None:
    told = file_rows()
    there = {as_written(name) for name in found(export)}
    assert there <= told.keys()
    assert {name for name, (_, when) in told.items() if when == "always"} <= there


def test_files_that_are_not_always_there_are_the_codes() -> None:
    names = {value for name, value in vars(files).items() if name.isupper() and isinstance(value, str)}
    for name, value in vars(files).items():
        if name.isupper() and isinstance(value, tuple):
            names |= {*value}
    for name, (_, when) in file_rows().items():
        if when != "always":
            assert name.rpartition("/")[2] in names or re.fullmatch(r"user_tower\.(int8|float16)\.onnx", name), name


def test_arrays_have_the_dtypes_and_shapes(export: Path) -> None:
    sizes: dict[str, int] = {}
    for name, (holds, _) in file_rows().items():
        if name.endswith(".npy") and (export / name).exists():
            array = np.load(export / name)
            dtype, dims = re.fullmatch(r"(\w+) `\[(.*)\]`", holds).groups()
            assert dtype in DTYPES
            assert str(array.dtype) == dtype, name
            for size, dim in zip(array.shape, dims.split(", "), strict=True):
                symbol, _, more = dim.partition(" + ")
                assert sizes.setdefault(symbol, size - int(more or 0)) == size - int(more or 0), (name, dim)
    manifest = json.loads((export / "manifest.json").read_text())
    assert (sizes["contents"], sizes["users"]) == (manifest["counts"]["contents"], manifest["counts"]["users"])
    assert (sizes["dim"], sizes["model_dim"], sizes["2"]) == (manifest["dim"], manifest["model_dim"], 2)


def tables(export: Path) -> Iterator[tuple[str, pa.Table, bool]]:
    """(heading, table, whether the page says that it has the space's metadata)."""
    headings = re.findall(r"^### `([\w./-]+)`(\*?)$", TEXT, re.MULTILINE)
    for name, star in headings:
        paths = sorted((export / "vocabularies").iterdir()) if "PART" in name else [export / name]
        for path in paths:
            is_arrow = path.suffix == ".arrow"
            table = pyarrow.ipc.open_file(str(path)).read_all() if is_arrow else pq.read_table(path)
            yield f"### `{name}`{star}", table, bool(star)


def test_tables_have_the_columns_and_types(export: Path) -> None:
    dim = json.loads((export / "manifest.json").read_text())["dim"]
    seen = set()
    for heading, table, has_space in tables(export):
        told = {name.strip("`"): (kind.replace("[dim]", f"[{dim}]"), null) for name, kind, null, _ in rows_of(heading)}
        assert {field.name: spelled(field.type) for field in table.schema} == {n: kind for n, (kind, _) in told.items()}
        for name, (_, null) in told.items():
            assert null in ("never", "may be")
            assert null == "may be" or table[name].null_count == 0, (heading, name)
        assert (b"space_id" in (table.schema.metadata or {})) == has_space, heading
        seen.add(heading.strip("#* `"))
    parquet = pq.read_table(export / "contents.parquet")
    assert parquet.column_names == [name.strip("`") for name, *_ in rows_of("### `contents.arrow`*")]
    assert {"contents.parquet"} | seen == {name for name, (holds, _) in file_rows().items() if holds == "table"}


def spelled(kind: pa.DataType) -> str:
    """A type as the page has it: Arrow and Parquet call the values of lists differently."""
    return re.sub(r"list<\w+: ", "list<", str(kind))


def test_actions_are_the_codes() -> None:
    (cell,) = (meaning for name, _, _, meaning in rows_of("### `histories/events.arrow`") if name == "`action`")
    assert re.findall(r"(\d) `(\w+)`", cell) == [(str(code), action) for code, action in enumerate(schema.ACTIONS)]


@pytest.mark.parametrize(("heading", "name"), [("user", "user_tower.onnx"), ("content", "content_tower.onnx")])
def test_towers_have_the_inputs(export: Path, heading: str, name: str) -> None:
    session = onnxruntime.InferenceSession(str(export / name))
    parts = json.loads((export / "features.json").read_text())["content_parts"]
    told = {}
    for cell, kind, shape, _ in rows_of(f"## The {heading} tower"):
        for part in parts if cell == "`PART`" else [cell.strip("`")]:
            dims = re.fullmatch(r"`\[(.*)\]`", shape).group(1).replace("PART", part).split(", ")
            told[part] = (f"tensor({kind})", dims)
    inputs = {node.name: (node.type, node.shape) for node in session.get_inputs()}
    assert inputs.keys() <= told.keys()
    assert told.keys() - inputs.keys() <= {"audio_vector", "has_audio"}
    for each, (kind, shape) in inputs.items():
        assert kind == told[each][0]
        for dim, symbol in zip(shape, told[each][1], strict=True):
            assert dim == symbol or isinstance(dim, int), each
    (vector,) = session.get_outputs()
    dim = json.loads((export / "manifest.json").read_text())["dim"]
    assert (vector.name, vector.type, vector.shape) == ("vector", "tensor(float)", ["batch", dim])
    metadata = session.get_modelmeta().custom_metadata_map
    further = {"sample_rate", "record_s", "num_crops"} if heading == "content" else set()
    assert metadata.keys() == {"space_id", "opset", *further}


def test_the_manifest_has_the_fields(export: Path) -> None:
    manifest = json.loads((export / "manifest.json").read_text())
    told = [field for cell, _ in rows_of("## The manifest") for field in re.findall(r"`([^`]+)`", cell)]
    assert sorted(told) == sorted(manifest)
    assert manifest["format"] == 5
    assert manifest["files"].keys() == found(export) - {"manifest.json", "manifest.json.sha256"}


def test_norms_and_the_order_of_rows(export: Path) -> None:
    for name in ("content_vectors.npy", "user_vectors.npy"):
        assert np.linalg.norm(np.load(export / name), axis=1) == pytest.approx(1, abs=1e-6)
    sounds = np.linalg.norm(np.load(export / "sound_vectors.npy").astype(np.float64), axis=1)
    assert (np.isclose(sounds, 1, atol=2e-3) | (sounds == 0)).all()
    for what, column in (("content", "content_id"), ("user", "user_id")):
        ids = pyarrow.ipc.open_file(str(export / f"{what}s.arrow")).read_all()[column].to_pylist()
        assert [ids[row] for row in np.load(export / f"{what}_order.npy")] == sorted(ids)
        part = pq.read_table(export / f"{what}_embeddings/part-00000.parquet")
        assert part[column].to_pylist() == ids
        assert (np.stack(part["embedding"].to_numpy()) == np.load(export / f"{what}_vectors.npy")).all()


def test_the_user_tower_gives_the_exported_vectors(export: Path) -> None:
    """The page says enough of the inputs to compute every listener's vector."""
    manifest = json.loads((export / "manifest.json").read_text())
    events = pyarrow.ipc.open_file(str(export / "histories/events.arrow")).read_all()
    vectors, offsets = np.load(export / "content_vectors.npy"), np.load(export / "histories/offsets.npy")
    codes, expected = np.load(export / "histories/user_codes.npy"), np.load(export / "user_vectors.npy")
    session = onnxruntime.InferenceSession(str(export / "user_tower.onnx"))
    for user in range(0, len(expected), 7):
        mine = events.slice(offsets[user], offsets[user + 1] - offsets[user])
        row, action, time_us, fraction, context = (
            mine[name].to_numpy() for name in ("content_row", "action", "timestamp_us", "played_fraction", "context")
        )
        seconds = np.diff(time_us, prepend=time_us[:1]) / 1e6
        elapsed = np.minimum(25, 1 + np.floor(np.log2(seconds + 1)))
        elapsed[:1] = 0
        played = np.where(fraction < 0, 0, np.minimum(10, 1 + np.floor(np.float32(10) * fraction)))
        last = slice(-manifest["max_length"], None)
        read = np.where((row >= 0)[:, None], vectors[row], 0)[None, last]
        given = {name: each[None, last].astype(np.int64) for name, each in
                 {"action": action, "elapsed": elapsed, "played": played, "context": context}.items()}  # fmt: skip
        lengths = np.array([min(len(row), manifest["max_length"])])
        if not len(row):
            continue  # needs a place of padding
        (vector,) = session.run(
            None,
            {"content_vectors": read, **given, "user_codes": codes[user][None].astype(np.int64), "lengths": lengths},
        )
        assert vector[0] == pytest.approx(expected[user], abs=1e-5)


def test_the_backend_answers_as_the_api_does(demo: tuple[Path, str], tmp_path: Path, monkeypatch) -> None:
    (block,) = (block for block in all_pages()[PAGE].blocks if block.title == "backend.py")
    assert "towers" not in block.text
    body = [line for part in block.text.split("\n\n\n")[1:] for line in part.splitlines()[1:] if line.strip()]
    assert len(body) <= 15
    (tmp_path / "backend_of_the_page.py").write_text(block.text)
    folder, _ = demo
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(tmp_path)
    backend = importlib.import_module("backend_of_the_page")
    opened = api.open("exports/current")
    for user_id in backend.user_ids:
        assert_same(backend.recommend(user_id), opened.recommend(user=user_id))
    for content_id in backend.content_ids[::5]:
        assert_same(backend.similar(content_id), opened.similar(content=content_id))


def assert_same(answer: list, expected: list) -> None:
    assert [content_id for content_id, _ in answer] == [item["content_id"] for item in expected]
    assert [score for _, score in answer] == pytest.approx([item["score"] for item in expected], abs=1e-5)
