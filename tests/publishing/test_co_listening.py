"""Neighbours by co-listening equal those of a cosine computed in full, in blocks of any size."""

from pathlib import Path

import numpy as np
import pytest

from tests.retrieval.small_export import content, small_export
from tests.retrieval.test_index import clustered
from towers.contract import schema
from towers.evaluation.baselines import heard
from towers.publishing.co_listening import chosen_lists, co_listening
from towers.retrieval.co_listening import Neighbours
from towers.retrieval.export import Export

ARTISTS, TRACKS, LISTENERS = 5, 30, 25


@pytest.fixture(scope="module")
def export(tmp_path_factory) -> Export:
    """Tracks of one or two artists, the last of an artist without a row; a playlist; and random choices of
    listeners.
    """
    draws = np.random.default_rng(3)
    rows = [content(f"a{place}", "artist", artist_ids=[f"a{place}"] if place else []) for place in range(ARTISTS)]
    for place in range(TRACKS):
        names = [f"a{draws.integers(ARTISTS)}", f"a{draws.integers(ARTISTS)}"] if place < TRACKS - 1 else ["nobody"]
        rows.append(content(f"t{place:02}", artist_ids=names))
    rows.append(content("p", "playlist"))
    chosen = {f"u{place}": draws.integers(0, len(rows) - 2, 12).tolist() for place in range(LISTENERS)}
    return small_export(tmp_path_factory.mktemp("export") / "v1", rows, clustered(len(rows)), chosen)


def in_full(counts: np.ndarray, damping: float) -> np.ndarray:
    """Computes `[contents, contents]` from `[listeners, contents]`."""
    norms = np.maximum(np.linalg.norm(counts, axis=0), 1e-12)
    together = (counts > 0).T.astype(float) @ (counts > 0)
    cosines = counts.T @ counts / np.outer(norms, norms) * together / np.maximum(together + damping, 1e-12)
    np.fill_diagonal(cosines, 0)
    return cosines


def counts_of(export: Export) -> tuple[np.ndarray, np.ndarray]:
    """Returns which listeners chose each track at all, and the log of how often each artist was chosen, by content
    row.
    """
    heard, plays = np.zeros((2, LISTENERS, len(export.contents)))
    artists = export.artist_rows
    for listener in range(LISTENERS):
        for row in export.chosen(listener).tolist():
            heard[listener, row] = export.kinds[row] == schema.KIND_CODES["track"]
            plays[listener, artists[row]] += 1
    return heard, np.log1p(plays)


@pytest.mark.parametrize("products", [1, 400, 1 << 24])
def test_weights_are_damped_cosines_of_the_same_kind(export, monkeypatch, products):
    monkeypatch.setattr(heard, "_PRODUCTS", products)
    near = co_listening(export, chosen_lists(export), neighbours=7, damping=2.0, artist_damping=3.0)
    heard_at_all, plays = counts_of(export)
    expected = in_full(heard_at_all, 2.0) + in_full(plays, 3.0)
    np.testing.assert_allclose(near.weights, -np.sort(-expected, axis=1)[:, :7], atol=1e-6)
    content, place = np.nonzero(near.rows >= 0)
    np.testing.assert_allclose(near.weights[content, place], expected[content, near.rows[content, place]], atol=1e-6)
    assert (near.rows[-1] == -1).all()  # a playlist
    assert (near.weights[near.rows == -1] == 0).all()
    artist = schema.KIND_CODES["artist"]
    assert ((export.kinds[near.rows[content, place]] == artist) == (export.kinds[content] == artist)).all()


def test_of_too_many_pairs_every_second_listener_counts(export, monkeypatch):
    chosen = chosen_lists(export)
    monkeypatch.setattr("towers.publishing.co_listening.MOST_PAIRS", 0.6 * (chosen.lengths**2).sum())
    some = co_listening(export, chosen)
    monkeypatch.undo()
    expected = co_listening(export, chosen.take(np.arange(0, LISTENERS, 2)))
    np.testing.assert_array_equal(some.rows, expected.rows)
    assert (some.rows != co_listening(export, chosen).rows).any()


def test_it_reads_as_it_was_written(export, tmp_path: Path):
    near = co_listening(export, chosen_lists(export))
    near.write(tmp_path / "near")
    again = Neighbours.read(tmp_path / "near")
    np.testing.assert_array_equal(again.rows, near.rows)
    np.testing.assert_array_equal(again.weights, near.weights)
    assert export.co_listening is None  # of format 1


def test_of_a_long_history_the_latest_count(export, monkeypatch):
    monkeypatch.setattr("towers.publishing.co_listening.LATEST", 5)
    lists = chosen_lists(export)
    for listener in range(LISTENERS):
        assert lists[listener].tolist() == export.chosen(listener)[-5:].tolist()


def test_an_artist_is_its_own_with_or_without_saying_so(export):
    artists = export.artist_rows
    assert [artists[row].tolist() for row in range(ARTISTS)] == [[row] for row in range(ARTISTS)]
    assert artists[ARTISTS + TRACKS - 1].tolist() == []
