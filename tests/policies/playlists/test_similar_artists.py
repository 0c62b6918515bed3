"""Artists similar to an artist."""

import numpy as np
import pytest

from tests.retrieval.small_export import content, small_export
from towers.errors import UserError
from towers.features.content_facts import ContentFacts
from towers.policies.playlists.similar_artists import SimilarArtistsSettings, similar_artists
from towers.retrieval.co_listening import Neighbours
from towers.retrieval.export import Export

ARTISTS = 5


@pytest.fixture
def export(tmp_path) -> Export:
    """Five artists whose angles grow from the first one's, each with a track at the same vector."""
    angles = np.deg2rad([0, 20, 40, 60, 170])
    vectors = np.zeros((2 * ARTISTS, 4), np.float32)
    vectors[:ARTISTS, 0], vectors[:ARTISTS, 1] = np.cos(angles), np.sin(angles)
    vectors[ARTISTS:] = vectors[:ARTISTS]
    contents = [
        content(f"a{row}", kind="artist", title=f"Artist {row}", artist_ids=[f"a{row}"]) for row in range(ARTISTS)
    ]
    contents += [content(f"c{row}", artist_ids=[f"a{row}"]) for row in range(ARTISTS)]
    return small_export(tmp_path / "export", contents, vectors)


def listening(export: Export, weights: dict[tuple[int, int], float]) -> None:
    """Makes neighbours by co-listening of those pairs."""
    rows, found = np.full((2 * ARTISTS, 3), -1, np.int32), np.zeros((2 * ARTISTS, 3), np.float32)
    for (of, to), weight in weights.items():
        place = int((rows[of] >= 0).sum())
        rows[of, place], found[of, place] = to, weight
    export.co_listening = Neighbours(rows=rows, weights=found)


def test_without_listeners_vectors_decide(export):
    found = similar_artists(export, 0, k=4)
    assert found.rows.tolist() == [1, 2, 3, 4]
    assert found.scores == pytest.approx([*np.cos(np.deg2rad([20, 40, 60])), 0], abs=1e-6)
    assert {(reason.kind, reason.because) for reason in found.reasons} == {("near", 0)}


def test_an_artist_whom_nobody_plays_goes_by_vectors_too(export):
    alone = similar_artists(export, 0)
    listening(export, {(1, 3): 0.5})
    found = similar_artists(export, 0)
    assert found.rows.tolist() == alone.rows.tolist()
    assert found.scores == pytest.approx(alone.scores)


def test_who_is_played_together_comes_first(export):
    listening(export, {(0, 3): 0.6, (0, 4): 0.1})
    found = similar_artists(export, 0, k=2, settings=SimilarArtistsSettings(vector_share=0.1))
    assert found.rows[0] == 3
    assert found.reasons[0].kind == "listened_with"
    # One neighbour of those two is near by vector at all: its weight is scaled to its cosine, 0.5.
    assert found.scores[0] == pytest.approx(0.5)


def test_by_vector_alone_or_by_listening_alone(export):
    listening(export, {(0, 3): 0.6, (0, 2): 0.5})
    assert similar_artists(export, 0, k=2, settings=SimilarArtistsSettings(vector_share=1)).rows.tolist() == [1, 2]
    assert similar_artists(export, 0, k=2, settings=SimilarArtistsSettings(vector_share=0)).rows.tolist() == [3, 2]


def test_of_two_as_near_the_one_who_is_played_more_comes_first(export):
    plays = np.zeros(2 * ARTISTS, np.int64)
    plays[ARTISTS + 2] = 1_000
    export.facts = ContentFacts(artists=export.facts.artists, recent_positives=plays)
    assert similar_artists(export, 0, settings=SimilarArtistsSettings(popularity=0)).rows[0] == 1
    found = similar_artists(export, 0, settings=SimilarArtistsSettings(popularity=0.1))
    assert found.rows[0] == 2
    assert found.scores[0] == pytest.approx(np.cos(np.deg2rad(40)) * 1_001**0.1)


def test_a_list_says_that_there_are_no_more(export):
    assert similar_artists(export, 0, k=9).remark == "there are only 4 other artists"


def test_a_track_is_no_artist(export):
    with pytest.raises(UserError, match="c1 is of kind track; give an artist"):
        similar_artists(export, ARTISTS + 1)
    with pytest.raises(UserError, match="k=0"):
        similar_artists(export, 0, k=0)


@pytest.mark.parametrize("wrong", [{"vector_share": 1.1}, {"vector_share": -0.1}, {"popularity": -1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))}="):
        SimilarArtistsSettings(**wrong)
