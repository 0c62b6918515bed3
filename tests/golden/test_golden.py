"""Published exports can be read for ever: one of each version of the format, with the answers of its day."""

import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from towers.errors import UserError
from towers.policies.listener import Listener
from towers.policies.playlists.discover_weekly import DiscoverWeekly
from towers.policies.request import Request, Shared
from towers.retrieval.checksums import damaged_files, read_manifest
from towers.retrieval.export import Export
from towers.retrieval.export_files import FORMAT
from towers.retrieval.mixing import listeners_against
from towers.retrieval.original import original_of
from towers.retrieval.query import Query
from towers.retrieval.raw_contents import encode_content
from towers.retrieval.verify import problems

AS_IT_WAS = Query(k=5, skip_cooldown_days=0, released_by=date.max)
"""The question whose answers were kept: skips and days of release did not count then."""
FOLDERS = sorted(Path(__file__).parent.glob("format-*"))


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def golden(request: pytest.FixtureRequest) -> tuple[Export, dict]:
    return Export(request.param / "export"), json.loads((request.param / "answers.json").read_text())


def test_there_is_one_of_every_format() -> None:
    formats = [json.loads((folder / "export" / "manifest.json").read_text())["format"] for folder in FOLDERS]
    assert formats == [int(folder.name.removeprefix("format-")) for folder in FOLDERS]
    assert max(formats) == FORMAT


def test_it_verifies(golden: tuple[Export, dict]) -> None:
    assert list(problems(golden[0], 0.9)) == []


def test_listeners_are_recommended_what_they_were(golden: tuple[Export, dict]) -> None:
    export, answers = golden
    for user_id, expected in answers["recommend"].items():
        found = listeners_against(export, export).recommend(export.user_row(user_id), AS_IT_WAS)
        check(export, found.rows, found.scores, expected)


def test_the_chances_of_a_listen_are_what_they_were(golden: tuple[Export, dict]) -> None:
    """Two of the five contents were heard before."""
    export, answers = golden
    if "familiar" not in answers:
        assert export.listen_chance is None
        return
    for user_id, expected in answers["familiar"].items():
        user = export.user_row(user_id)
        found = listeners_against(export, export).recommend(user, replace(AS_IT_WAS, familiar=0.4))
        assert found.chances is not None
        check(export, found.rows, found.chances, expected)


def test_a_list_of_what_is_new_is_what_it_was(golden: tuple[Export, dict]) -> None:
    export, answers = golden
    if "discover_weekly" not in answers:
        assert export.mixture is None
        return
    shared = Shared(export)
    for user_id, expected in answers["discover_weekly"].items():
        listener = Listener.of_row(export, export.user_row(user_id))
        found = DiscoverWeekly(k=5).make(Request(shared=shared, listeners=(listener,)))
        check(export, found.rows, found.scores, expected)


def test_contents_have_the_neighbours_they_had(golden: tuple[Export, dict]) -> None:
    export, answers = golden
    for content_id, expected in answers["similar"].items():
        original = original_of(export, content=content_id)
        found = original.neighbours(export, replace(AS_IT_WAS, kind=original.kind))
        check(export, found.rows, found.scores, expected)


def test_contents_are_worth_later_what_they_were(golden: tuple[Export, dict]) -> None:
    export, answers = golden
    if "long_term" not in answers:
        assert export.long_term is None
        return
    told, kept = answers["long_term"], export.known_long_term()
    rows = np.array([export.content_row(name) for name in told["contents"]])
    assert kept.days == told["days"]
    np.testing.assert_allclose(kept.expected[rows], told["expected"], atol=1e-6)
    np.testing.assert_allclose(kept.deviation[rows], told["deviation"], atol=1e-6)
    np.testing.assert_allclose(kept.of_new(export.vectors[rows]), told["of_new"], atol=1e-6)


def test_a_history_is_encoded_as_it_was(golden: tuple[Export, dict]) -> None:
    export, answers = golden
    rows = np.array([export.content_row(name) for name in answers["history"]["contents"]])
    vector = export.encode_events(export.plays(rows))
    np.testing.assert_allclose(vector, answers["history"]["vector"], atol=1e-4)


def test_a_new_sound_is_encoded_as_it_was(golden: tuple[Export, dict]) -> None:
    export, answers = golden
    if "content" not in answers:
        with pytest.raises(UserError, match="no content tower"):
            encode_content(export, None, {})
        return
    told = answers["content"]
    times_s = np.arange(told["samples"]) / told["rate_hz"]
    tone = (0.5 * np.sin(2 * np.pi * told["tone_hz"] * times_s)).astype(np.float32)
    vector = encode_content(export, (tone, told["rate_hz"]), told["metadata"]).vector
    np.testing.assert_allclose(vector, told["vector"], atol=1e-4)


@pytest.mark.parametrize("golden", [FOLDERS[0], FOLDERS[-1]], ids=lambda folder: folder.name, indirect=True)
def test_every_byte_that_is_changed_is_found(golden: tuple[Export, dict], tmp_path: Path) -> None:
    """The first and last bytes of every file and some between them are changed, of the manifest more; opening the
    export finds the first and the last. `benchmarks/export/export_corruption.py --every=1` changes all.
    """
    copy = tmp_path / "export"
    shutil.copytree(golden[0].folder, copy)
    for path in sorted(path for path in copy.rglob("*") if path.is_file()):
        name, whole = str(path.relative_to(copy)), path.read_bytes()
        digest, last = golden[0].manifest.get("files", {}).get(name), len(whole) - 1
        step = max(1, len(whole) // (400 if digest is None else 12))
        for place in {*range(0, len(whole), step), last}:
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert is_found(copy, name, digest), (name, place)
            if place in (0, last):
                assert is_refused(copy), (name, place)
        path.write_bytes(whole)
        assert not is_found(copy, name, digest)
    assert not is_refused(copy)


def is_found(folder: Path, name: str, digest: str | None) -> bool:
    """Returns whether the file's checksum, or the manifest's where the manifest names none, is found to be wrong."""
    if digest is not None:
        return bool([line for line in damaged_files(folder, {"files": {name: digest}}) if line.startswith(f"{name}: ")])
    try:
        read_manifest(folder, FORMAT)
    except UserError:
        return True
    return False


def is_refused(folder: Path) -> bool:
    try:
        Export(folder)
    except UserError:
        return True
    return False


def check(export: Export, rows: np.ndarray, scores: np.ndarray, expected: list) -> None:
    assert [export.content_ids[row] for row in rows.tolist()] == expected[0]
    np.testing.assert_allclose(scores, expected[1], atol=1e-4)
