"""Remasters and duplicates are found by title, artist, length and sound; contents that only share a title are not."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.retrieval.small_export import content, small_export
from tests.retrieval.test_index import clustered
from towers.publishing import recordings as module
from towers.publishing.recordings import recordings
from towers.retrieval.export import Export


def song(title: str | None, *artists: str, length_s: float | None = 200, kind: str = "track") -> dict:
    return {"title": title, "artist_ids": artists, "length_s": length_s, "kind": kind}


def export_of(folder: Path, songs: list[dict], sounds: np.ndarray | None = None) -> Export:
    rows = [content(f"c{place}", one["kind"], one["title"], one["artist_ids"]) for place, one in enumerate(songs)]
    export = small_export(folder / "export", rows, clustered(len(rows)))
    durations = pa.array(
        [None if one["length_s"] is None else int(1000 * one["length_s"]) for one in songs], pa.int64()
    )
    path = export.folder / "contents.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.schema.get_field_index("duration_ms"), "duration_ms", durations), path)
    if sounds is not None:
        np.save(export.folder / "sound_vectors.npy", sounds.astype(np.float16))
    return export


def at(*cosines: float | None) -> np.ndarray:
    """Returns unit vectors of these cosines with the first axis; None: no sound."""
    vectors = np.array([[0, 0] if cosine is None else [cosine, np.sqrt(1 - cosine**2)] for cosine in cosines])
    return np.concatenate([vectors, np.zeros((len(vectors), 6))], axis=1)


@pytest.mark.parametrize(
    ("second", "is_same"),
    [
        (song("SONG (Remastered 2011)", "b", "a"), True),
        (song("Song", "a", length_s=205.9), True),
        (song("Song", "a", length_s=206.3), False),  # more than 3 % of the longer
        (song("Song", "b"), False),
        (song("Song", "a", length_s=None), False),  # nothing heard, and no length
        (song("Song - Live", "a"), False),
        (song("Song (Part 2)", "a"), False),
        (song("Song", "a", kind="episode"), False),
        (song(None, "a"), False),
        (song("Song"), False),
    ],
)
def test_without_sound_title_artist_and_length_decide(tmp_path, second, is_same):
    found = recordings(export_of(tmp_path, [song("Song", "a"), second]))
    assert found.tolist() == ([0, 0] if is_same else [0, 1])


@pytest.mark.parametrize(
    ("second", "cosine", "is_same"),
    [
        (song("Song", "a"), 0.995, True),
        (song("Song", "a"), 0.98, False),
        (song("Song", "a", length_s=None), 0.995, True),
        (song("Song", "a", length_s=None), None, False),
        (song("Song", "a", length_s=250), 0.995, False),
        (song("Song (Live)", "a"), 0.995, True),  # the same recording under another name
        (song("Another", "a"), 0.999, False),
    ],
)
def test_sound_decides_where_there_is_some(tmp_path, second, cosine, is_same):
    found = recordings(export_of(tmp_path, [song("Song", "a"), second], at(1, cosine)))
    assert found.tolist() == ([0, 0] if is_same else [0, 1])


def test_short_ones_may_be_three_seconds_apart(tmp_path):
    songs = [song("Jingle", "a", length_s=length) for length in (10, 12.9, 16)]
    assert recordings(export_of(tmp_path, songs)).tolist() == [0, 0, 2]


def test_all_of_a_recording_lead_to_its_first(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 2)
    draws = np.random.default_rng(1)
    which = draws.integers(0, 6, 40)  # six recordings under one title and artist
    directions = np.linalg.qr(draws.normal(size=(8, 8)))[0][:6]
    found = recordings(export_of(tmp_path, [song("Prelude", "a") for _ in which], directions[which]))
    assert found.tolist() == [int(np.flatnonzero(which == one)[0]) for one in which]


def test_an_export_of_before_says_nothing(tmp_path):
    assert export_of(tmp_path, [song("Song", "a")]).recordings is None


def test_nothing_named_is_nothing_repeated(tmp_path):
    assert recordings(export_of(tmp_path, [song(None), song(None)])).tolist() == [0, 1]
