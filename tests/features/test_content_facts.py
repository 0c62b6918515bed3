"""Artists of contents, and how often an artist's contents were chosen."""

import numpy as np
import pyarrow as pa

from towers.features.content_facts import ContentFacts, artist_codes

ARTISTS = pa.chunked_array([[["ann", "ben"], None], [[], ["ben", None], ["cat"]]], pa.list_(pa.string()))


def test_artists_have_codes_and_null_is_nobody() -> None:
    codes = artist_codes(ARTISTS)
    assert codes.lengths.tolist() == [2, 0, 0, 1, 1]
    assert codes[0][1] == codes[3][0]
    assert len({*codes.values.tolist()}) == 3


def test_unknown_artists_are_none() -> None:
    codes = artist_codes(pa.chunked_array([pa.array([None, None], pa.list_(pa.string()))]))
    assert codes.lengths.tolist() == [0, 0]
    facts = ContentFacts(artists=codes, recent_positives=np.zeros(2, np.int64))
    assert facts.artist_plays(np.array([0, 1]), np.array([0, 1])).tolist() == [0, 0]


def test_plays_of_an_artist_are_those_of_all_their_contents() -> None:
    """Content 0 (ann, ben) was chosen twice, 3 (ben) once, 1 (no artist) once."""
    facts = ContentFacts(artists=artist_codes(ARTISTS), recent_positives=np.zeros(5, np.int64))
    plays = facts.artist_plays(np.array([0, 3, 0, 1]), np.array([4, 3, 0, 1]))
    assert plays.tolist() == [0, 3, 2 + 3, 0]
